//! `kreset-trace probe`.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::Args;

use crate::{
    probe::{
        Trigger,
        clients::{Like, Settings},
        options::Options,
    },
    sink::{ColorChoice, Format, View},
    util::duration,
};

/// Shown under `probe --help`.
pub(super) const AFTER_HELP: &str = "\
Examples:
  kreset-trace probe broker-3:9092
      Measure the idle timeout of a device on the path, and find its hop.
  kreset-trace probe broker-3:9092 --up-to 6m --connections 12 --format json
      Measure silences of up to six minutes, with fewer connections.
  kreset-trace probe broker-3:9092 --keepalive 100s --up-to 10m
      Prove that this keepalive keeps connections alive.
  kreset-trace probe broker-3:9092 --like java --up-to 10m
      Hold connections as a Java client on this host does, after a changed setting.
  kreset-trace probe --from-event event.json
      Measure the interval that an event names, and prove its advice.

Exit codes:
  0  no device found up to the limit, or all connections with keepalives lived
  1  the timeout could not be measured; the reason is printed
  2  the command line is wrong; nothing was started
  4  something ends idle connections, or connections with keepalives died";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The broker, as HOST:PORT; port 9092 by default
    ///
    /// A name with several addresses is probed at each of them. Connects
    /// directly, never through a SOCKS or HTTP proxy; proxy variables of the
    /// environment are ignored.
    #[arg(value_name = "BROKER", required_unless_present = "from_event")]
    broker: Option<String>,

    /// Measure the interval of this event, and prove its advice
    ///
    /// A file of JSON events, of which the last one with a fatal silence is
    /// used; `-` is standard input. Its broker is probed unless another is
    /// given.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["up_to", "from"])]
    from_event: Option<PathBuf>,

    /// Probe only this address of the broker
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,

    /// Connections at once, to each address
    #[arg(long, value_name = "N", default_value_t = 24)]
    connections: usize,

    /// Allow more than 64 connections at once
    #[arg(long)]
    yes_many: bool,

    /// The longest silence, such as 20m
    ///
    /// With --keepalive or --like: how long connections are held.
    #[arg(long, value_name = "TIME", default_value = "20m", value_parser = duration::parse)]
    up_to: Duration,

    /// The shortest silence
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    from: Duration,

    /// How wide the measured interval may be
    ///
    /// Never more than one hundredth of the timeout.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    precision: Duration,

    /// How long to wait for an answer before a connection counts as dropped
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration::parse)]
    give_up: Duration,

    /// Connections opened in a second
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,

    /// How a connection is used after its silence
    ///
    /// A keepalive probe works with plaintext, TLS and SASL alike, and sends
    /// no byte to the broker's application. A request (`ApiVersions`) works
    /// with listeners without TLS.
    #[arg(long = "use", value_enum, default_value_t)]
    trigger: TriggerChoice,

    /// Do not look for the device's hop
    #[arg(long)]
    no_locate: bool,

    /// Look for the device's hop; the default
    #[arg(long, conflicts_with = "no_locate")]
    locate: bool,

    /// Look up the names of hops in DNS
    #[arg(long)]
    names: bool,

    /// The broker's connections.max.idle.ms
    ///
    /// Distinguishes a broker that closes idle connections from a proxy.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    broker_max_idle: Duration,

    /// Prove a keepalive: silence before the first probe, such as 100s
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    keepalive: Option<Duration>,

    /// Time between keepalive probes; the host's setting by default
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    keepalive_interval: Option<Duration>,

    /// Hold connections as this client does on this host
    ///
    /// `java` sends keepalives by the host's `net.ipv4.tcp_keepalive_*`;
    /// `librdkafka` sends none unless --keepalive stands for
    /// socket.keepalive.enable=true; `kafkajs` sends them after 60s.
    #[arg(long, value_enum)]
    like: Option<LikeChoice>,

    /// The client's connections.max.idle.ms, for --like librdkafka
    #[arg(long, value_name = "TIME", value_parser = duration::parse, requires = "like")]
    max_idle: Option<Duration>,

    /// Output format
    ///
    /// `text` is for people; `json` is one event of type probe for each
    /// address.
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,

    /// Show each connection under the result
    #[arg(short, long)]
    verbose: bool,

    /// When to use colour
    #[arg(long, value_enum, default_value_t)]
    color: ColorChoice,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum TriggerChoice {
    #[default]
    Keepalive,
    Request,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LikeChoice {
    Java,
    Librdkafka,
    Kafkajs,
}

impl Arguments {
    /// How the result is shown.
    pub(super) fn view(&self) -> View {
        View {
            verbosity: u8::from(self.verbose),
            color: self.color,
            ..View::default()
        }
    }

    /// What they mean.
    pub(super) fn options(self) -> Options {
        Options {
            target: self.broker,
            from_event: self.from_event,
            address: self.address,
            connections: self.connections,
            yes_many: self.yes_many,
            from: self.from,
            up_to: self.up_to,
            precision: self.precision,
            give_up: self.give_up,
            rate: self.rate,
            trigger: match self.trigger {
                TriggerChoice::Keepalive => Trigger::Keepalive,
                TriggerChoice::Request => Trigger::Request,
            },
            locate: !self.no_locate,
            names: self.names,
            broker_max_idle: self.broker_max_idle,
            settings: Settings {
                like: self.like.map(|like| match like {
                    LikeChoice::Java => Like::Java,
                    LikeChoice::Librdkafka => Like::Librdkafka,
                    LikeChoice::Kafkajs => Like::Kafkajs,
                }),
                keepalive: self.keepalive,
                interval: self.keepalive_interval,
                max_idle: self.max_idle,
            },
        }
    }
}
