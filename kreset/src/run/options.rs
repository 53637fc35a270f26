//! What one run does.

use std::{
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use crate::{
    event::{
        NamesShown,
        filter::{Filter, SinkFilter},
    },
    kernel::{
        feature::Feature,
        netns::{Namespace, NetnsError},
        plan::{MAX_CONNECTIONS, PacketChoice, Request},
    },
    run::enrich::Naming,
    sink::{FileConfig, Format, SinkConfig, StdoutConfig, Target, View},
    util::{host_names::HostNames, ports::PortSet},
};

/// The options of a run: every value checked, every default filled in.
#[derive(Clone, Debug)]
pub struct Options {
    /// The ports of the brokers; never empty.
    pub ports: PortSet,
    /// Output format.
    pub format: Format,
    /// Where the output goes.
    pub output: Output,
    /// End after this time.
    pub duration: Option<Duration>,
    /// End after this many findings were shown.
    pub count: Option<NonZeroU64>,
    /// Which events to show.
    pub filter: Filter,
    /// What of the clients' own names events have.
    pub names: NamesShown,
    /// Names of addresses.
    pub hosts: Option<Arc<HostNames>>,
    /// Events a minute of the same verdict, cause, broker and network of the peer.
    pub event_limit: Option<NonZeroU32>,
    /// Connections and listeners that are tracked at once, at most.
    pub max_connections: NonZeroU32,
    /// The only network namespace to trace, by name or path.
    pub netns: Option<String>,
    /// `connections.max.idle.ms` of the brokers.
    pub broker_max_idle: Duration,
    /// The source of packet evidence.
    pub packet_evidence: PacketChoice,
    /// Features without which the run must not start.
    pub require: Vec<Feature>,
    /// Interval of `summary` events before the last one.
    pub summary_interval: Option<Duration>,
    /// Record the kernel's raw records in this file.
    pub record: Option<PathBuf>,
    /// What text output shows, and how.
    pub view: View,
    /// The file that the options come from, where it is an agent that runs.
    pub config: Option<PathBuf>,
    /// The sinks of that file; empty for the one of `format` and `output`.
    pub configured: Vec<SinkConfig>,
    /// The directory for events that sinks have not delivered yet.
    pub spool: PathBuf,
    /// The maximum size of each sink's spool, bytes.
    pub spool_size: u64,
    /// Time limit for delivery at the end of a run.
    pub drain: Duration,
    /// Logs of brokers, for files that are judged.
    pub broker_logs: Vec<PathBuf>,
    /// Logs of clients, for files that are judged.
    pub client_logs: Vec<PathBuf>,
}

impl Options {
    /// The options for files that are judged for a report: all events, and no sink.
    #[must_use]
    pub fn of_files(ports: PortSet, broker_max_idle: Duration) -> Self {
        Self {
            ports,
            format: Format::default(),
            output: Output::Stdout,
            duration: None,
            count: None,
            filter: Filter {
                all: true,
                ..Filter::default()
            },
            names: NamesShown::default(),
            hosts: None,
            event_limit: None,
            max_connections: MAX_CONNECTIONS,
            netns: None,
            broker_max_idle,
            packet_evidence: PacketChoice::default(),
            require: Vec::new(),
            summary_interval: None,
            record: None,
            view: View::default(),
            config: None,
            configured: Vec::new(),
            spool: PathBuf::new(),
            spool_size: 0,
            drain: Duration::ZERO,
            broker_logs: Vec::new(),
            client_logs: Vec::new(),
        }
    }

    /// What the run asks of the kernel side.
    ///
    /// # Errors
    /// If `--netns` names no network namespace.
    pub fn kernel_request(&self) -> Result<Request, NetnsError> {
        let namespace = self.network_namespace()?;
        Ok(self.request_in(namespace.as_ref()))
    }

    /// The only network namespace to trace, held open.
    ///
    /// # Errors
    /// If `--netns` names none.
    pub fn network_namespace(&self) -> Result<Option<Namespace>, NetnsError> {
        self.netns.as_deref().map(Namespace::open).transpose()
    }

    /// What a run in `namespace` asks of the kernel side.
    #[must_use]
    pub fn request_in(&self, namespace: Option<&Namespace>) -> Request {
        Request {
            packet_evidence: self.packet_evidence,
            require: self.require.clone(),
            netns: namespace.map(Namespace::inode),
            debug: self.view.verbosity > 2,
            max_connections: self.max_connections,
            ..Request::default()
        }
    }

    /// Whether text is updated in place on a terminal.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        self.configured.is_empty()
            && self.output == Output::Stdout
            && self.format == Format::Text
            && self.view.is_updated_in_place()
    }

    /// How what an event is about is named.
    #[must_use]
    pub fn naming(&self) -> Naming {
        Naming {
            clients: self.names,
            hosts: self.hosts.clone(),
        }
    }

    /// The sinks of the run.
    #[must_use]
    pub fn sinks(&self) -> Vec<SinkConfig> {
        if !self.configured.is_empty() {
            return self.configured.clone();
        }
        let (format, view) = (self.format, self.view);
        let verbose = view.verbosity > 0;
        let target = match &self.output {
            Output::Stdout => Target::Stdout(StdoutConfig {
                format,
                verbose,
                view,
            }),
            Output::File(path) => {
                Target::File(FileConfig::unlimited(path.clone(), format, verbose))
            }
        };
        let name = target.kind().to_owned();
        vec![SinkConfig {
            name,
            filter: SinkFilter::default(),
            target,
        }]
    }
}

/// Where the output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}
