//! The flags of a run.

use std::{
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::{
    ArgAction, Args,
    builder::{PossibleValuesParser, TypedValueParser as _},
};

use crate::{
    event::{
        NamesShown, Role, Verdict,
        filter::{Ends, Filter},
    },
    kernel::{
        feature::Feature,
        plan::{MAX_CONNECTIONS, PacketChoice},
    },
    run::options::{Options, Output},
    sink::{ColorChoice, Format, SinkConfig, View},
    util::{duration, host_names::HostNames, ports::PortSet, size},
};

/// Events a minute of one kind that an agent writes.
const AGENT_EVENT_LIMIT: u32 = 60;
/// How often an agent reports its coverage.
const AGENT_SUMMARY: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Read options and sinks from this TOML file
    ///
    /// Its keys have the names of these options. An option given here
    /// overrides the file, and --output or --format replaces all of its sinks.
    /// The file is reloaded on SIGHUP.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Ports of the brokers, such as 9092,9094-9096
    ///
    /// The end of a connection that has one of these ports is the broker.
    /// May be given more than once.
    #[arg(long, value_name = "LIST", default_value = "9092", value_parser = str::parse::<PortSet>)]
    port: Vec<PortSet>,

    /// Output format
    ///
    /// `text` is for people and may change; `json` is one object per line and
    /// a stable contract; `ecs` is one document of the Elastic Common Schema
    /// per line.
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

    /// Names that clients give themselves: `client-id`, `software`, both, or `none`
    ///
    /// They are in the first request of a connection. `client-id` is Kafka's client.id,
    /// `software` the client library and its version. User names of SASL are never read.
    #[arg(long, value_name = "LIST", default_value_t, value_parser = str::parse::<NamesShown>)]
    names: NamesShown,

    /// Names of addresses, from a file in the format of hosts(5)
    ///
    /// In text they stand in place of the addresses, and in the summary of each event; JSON has
    /// both (`host_names`, of incidents `named_hosts`). No resolver is asked.
    #[arg(long, value_name = "FILE", value_parser = HostNames::read)]
    hosts: Option<Arc<HostNames>>,

    /// Write at most so many similar events a minute; 0 for all
    ///
    /// Similar are events of the same verdict, cause, broker and network of the
    /// peer. The others are counted, and reported as one `loss`. The default is 60
    /// with --config, and 0 without.
    #[arg(long, value_name = "N", hide_short_help = true)]
    event_limit: Option<u32>,

    /// Track at most so many connections at once
    ///
    /// Each takes 721 bytes of the kernel's memory, which is charged to this process. What
    /// begins beyond that is not tracked: its end is not reported, and it is counted and
    /// reported as `loss`.
    #[arg(long, value_name = "N", default_value_t = MAX_CONNECTIONS, hide_short_help = true)]
    max_connections: NonZeroU32,

    /// Trace only this network namespace, by name or path
    ///
    /// A name is one of `ip netns list`; a path is such as
    /// /proc/1234/ns/net. Without it, all namespaces are traced.
    #[arg(long, value_name = "NAME|PATH")]
    netns: Option<String>,

    /// The brokers' connections.max.idle.ms
    ///
    /// Distinguishes a broker that closes idle connections from a device that
    /// drops them.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    broker_max_idle: Duration,

    /// Source of packet evidence (TTLs and first bytes)
    ///
    /// `auto` uses `cgroup_skb`, which sees most, or `fentry` if that is not
    /// possible, which costs nothing per packet. `off` costs least, and
    /// verdicts are less certain.
    #[arg(long, value_name = "SOURCE", default_value = "auto", value_parser = str::parse::<PacketChoice>)]
    packet_evidence: PacketChoice,

    /// Refuse to start without this feature
    ///
    /// Otherwise a feature that this kernel does not support is left out and
    /// listed in the first event. May be given more than once.
    #[arg(long, value_name = "FEATURE",
        value_parser = PossibleValuesParser::new(Feature::ALL.iter().map(|it| it.name()))
            .try_map(|name| name.parse::<Feature>()),
        hide_possible_values = true)]
    require: Vec<Feature>,

    /// Also print the counts so far at this interval
    ///
    /// The default is 10s with --config.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    summary: Option<Duration>,

    /// Also record the kernel's raw records, to report a wrong verdict
    ///
    /// They contain the first bytes that clients and brokers sent; only the
    /// file's owner can read it.
    #[arg(long, value_name = "PATH")]
    record: Option<PathBuf>,

    /// Also show routine closes: health checks, late data
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    ends: EndArguments,

    #[command(flatten)]
    view: ViewArguments,

    /// Directory for events that sinks have not delivered yet
    ///
    /// Each sink that sends over a socket has a directory there.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/kreset/spool",
        hide_short_help = true
    )]
    spool: PathBuf,

    /// Maximum size of each sink's spool, such as 256M or 2G
    ///
    /// When it is full, the oldest events are dropped and counted.
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = size::parse, hide_short_help = true)]
    spool_size: u64,

    /// Time limit for delivery at the end of a run
    ///
    /// The next run delivers what is left. A run that still writes to files and spools goes on for
    /// four times as long at most.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse, hide_short_help = true)]
    drain: Duration,
}

impl Arguments {
    /// The options of a run with these arguments, with the sinks of the
    /// configuration file if there is one.
    pub(super) fn into_options(self, sinks: Option<Vec<SinkConfig>>) -> Options {
        let is_agent = self.config.is_some();
        let agent = is_agent.then_some(AGENT_SUMMARY);
        let event_limit = self
            .event_limit
            .unwrap_or(if is_agent { AGENT_EVENT_LIMIT } else { 0 });
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
                ..self.ends.into_filter()
            },
            names: self.names,
            hosts: self.hosts,
            event_limit: NonZeroU32::new(event_limit),
            max_connections: self.max_connections,
            netns: self.netns,
            broker_max_idle: self.broker_max_idle,
            packet_evidence: self.packet_evidence,
            require: self.require,
            summary_interval: self.summary.or(agent),
            record: self.record,
            view: self.view.into_view(),
            config: self.config,
            configured: sinks.unwrap_or_default(),
            spool: self.spool,
            spool_size: self.spool_size,
            drain: self.drain,
            broker_logs: Vec::new(),
            client_logs: Vec::new(),
        }
    }
}

/// Which events are shown.
#[derive(Clone, Debug, Args)]
pub(super) struct EndArguments {
    /// Show only these verdicts, such as `middlebox_idle_reset`
    #[arg(long, value_name = "LIST", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(Verdict::ALL.iter().map(|it| it.as_str()))
            .try_map(|word| word.parse::<Verdict>()),
        hide_possible_values = true)]
    verdict: Vec<Verdict>,

    /// Show only clients with these addresses
    ///
    /// Such as 10.0.1.5, 10.0.1.0/24 or 10.0.1.5:43210, with commas between them.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = str::parse::<Ends>)]
    client: Vec<Ends>,

    /// Show only brokers with these addresses
    ///
    /// Such as 10.0.2.7, 10.0.2.0/24 or 10.0.2.7:9092, with commas between them.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = str::parse::<Ends>)]
    broker: Vec<Ends>,
}

impl EndArguments {
    pub(super) fn into_filter(self) -> Filter {
        Filter {
            verdicts: self.verdict,
            clients: self.client,
            brokers: self.broker,
            ..Filter::default()
        }
    }
}

/// How text is shown.
#[derive(Clone, Debug, Args)]
pub(super) struct ViewArguments {
    /// Say why and why not; twice: with all weights and facts
    ///
    /// Also shows all events of an incident, of which there are three otherwise. Three times
    /// also logs the BPF programs' decisions. Only text output changes; JSON always has all
    /// events and all evidence.
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// Show repeats one by one on a terminal
    ///
    /// Otherwise one block for each culprit, broker and cause counts them. Shows all events
    /// of an incident, too, in a pipe as well.
    #[arg(long)]
    every_event: bool,

    /// Show no start, summary and status line in text output
    #[arg(short, long)]
    quiet: bool,

    /// When to use colour
    ///
    /// `auto` is on a terminal, unless `NO_COLOR` is set; `FORCE_COLOR` and `CLICOLOR_FORCE`
    /// ask for it elsewhere too.
    #[arg(long, value_enum, default_value_t)]
    color: ColorChoice,
}

impl ViewArguments {
    pub(super) const fn into_view(self) -> View {
        View {
            verbosity: self.verbose,
            color: self.color,
            every_event: self.every_event,
            quiet: self.quiet,
        }
    }
}

/// The values of `--role`.
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
        .map_err(|_not_one| "expected a whole number of 1 or more")
}
