//! The flags of a run, and what they mean.

use std::{num::NonZeroU64, path::PathBuf, time::Duration};

use clap::{ArgAction, Args};

use super::size;
use crate::{
    event::{Role, filter::Filter},
    kernel::{feature::Feature, plan::PacketChoice},
    run::options::{Options, Output},
    sink::{Format, SinkConfig},
    util::{duration, ports::PortSet},
};

/// How often an agent reports its coverage.
const AGENT_SUMMARY: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Read options and sinks from this TOML file
    ///
    /// Its keys are named as these options are; an option given here wins
    /// over the file, and --output or --format over all of its sinks. The
    /// file is read again on SIGHUP.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Ports of the brokers, such as 9092,9094-9096
    ///
    /// The end of a connection that has one of these ports is the broker.
    /// May be given more than once.
    #[arg(long, value_name = "LIST", default_value = "9092", value_parser = str::parse::<PortSet>)]
    port: Vec<PortSet>,

    /// Form of the output
    ///
    /// `text` is for people and may change; `json` is one object a line and
    /// a stable contract; `ecs` is a document of the Elastic Common Schema a
    /// line.
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Append to this file instead of standard output
    ///
    /// `-` is standard output.
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,

    /// End after this time, such as 30s, 10m or 1h30m
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    duration: Option<Duration>,

    /// End after this many events
    ///
    /// Counts the resets, closes and timeouts that are shown.
    #[arg(long, value_name = "N", value_parser = count)]
    count: Option<NonZeroU64>,

    /// Show only connections in which this host is the client or the broker
    #[arg(long, value_enum, default_value_t)]
    role: RoleChoice,

    /// Trace only this network namespace, by name or path
    ///
    /// A name is one of `ip netns list`; a path is such as
    /// /proc/1234/ns/net. Without it, all namespaces are traced.
    #[arg(long, value_name = "NAME|PATH")]
    netns: Option<String>,

    /// The brokers' connections.max.idle.ms
    ///
    /// Tells a broker that closes idle connections from a device that
    /// forgets them.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    broker_max_idle: Duration,

    /// How to see packets: their TTLs and first bytes
    ///
    /// `auto` takes `cgroup_skb`, which sees most; where that is not
    /// possible, `fentry`, which costs nothing per packet. `off` costs
    /// least, and verdicts are less certain.
    #[arg(long, value_name = "SOURCE", default_value = "auto", value_parser = str::parse::<PacketChoice>)]
    packet_evidence: PacketChoice,

    /// Refuse to start without this feature
    ///
    /// A feature that this kernel does not allow is otherwise left out and
    /// named in the first event. May be given more than once.
    #[arg(long, value_name = "FEATURE", value_parser = str::parse::<Feature>)]
    require: Vec<Feature>,

    /// Also print the counts so far at this interval
    ///
    /// With --config every 10s by default.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    summary: Option<Duration>,

    /// Also keep the kernel's records, for a report of a wrong verdict
    ///
    /// They hold the first bytes that clients and brokers said; only the
    /// file's owner can read it.
    #[arg(long, value_name = "PATH")]
    record: Option<PathBuf>,

    /// Also show everyday teardown: health checks, late data
    #[arg(long)]
    all: bool,

    /// Show what each verdict rests on; twice: log the kernel side's decisions
    ///
    /// Under each event of text output; JSON always has all of it.
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// Where sinks keep what they have still to deliver
    ///
    /// Each sink but standard output and files has a directory there.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/kreset/spool",
        hide_short_help = true
    )]
    spool: PathBuf,

    /// The most that each sink keeps there, such as 256M or 2G
    ///
    /// When that is reached the oldest go, and are counted.
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = size::parse, hide_short_help = true)]
    spool_size: u64,

    /// At the end, deliver for at most this time
    ///
    /// What is left then is delivered by the next run.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse, hide_short_help = true)]
    drain: Duration,
}

impl Arguments {
    /// What a run with these arguments does, with the sinks of the configuration
    /// file if there is one.
    pub(super) fn into_options(self, sinks: Option<Vec<SinkConfig>>) -> Options {
        let agent = self.config.is_some().then_some(AGENT_SUMMARY);
        let mut ports = PortSet::empty();
        for list in &self.port {
            ports.extend(list);
        }
        Options {
            ports,
            format: self.format,
            output: match self.output {
                Some(path) if path.as_os_str() != "-" => Output::File(path),
                _ => Output::Stdout,
            },
            duration: self.duration,
            count: self.count,
            filter: Filter {
                role: self.role.into(),
                all: self.all,
            },
            netns: self.netns,
            broker_max_idle: self.broker_max_idle,
            packet_evidence: self.packet_evidence,
            require: self.require,
            summary_interval: self.summary.or(agent),
            record: self.record,
            verbosity: self.verbose,
            config: self.config,
            configured: sinks.unwrap_or_default(),
            spool: self.spool,
            spool_size: self.spool_size,
            drain: self.drain,
        }
    }
}

/// `--role`, where `any` is a choice too.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum RoleChoice {
    Client,
    Broker,
    #[default]
    Any,
}

impl From<RoleChoice> for Option<Role> {
    fn from(choice: RoleChoice) -> Self {
        match choice {
            RoleChoice::Client => Some(Role::Client),
            RoleChoice::Broker => Some(Role::Broker),
            RoleChoice::Any => None,
        }
    }
}

fn count(text: &str) -> Result<NonZeroU64, &'static str> {
    text.parse()
        .map_err(|_not_one| "a count is a whole number, 1 or more")
}
