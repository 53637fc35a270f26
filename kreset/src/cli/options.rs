//! What a command line means.

use std::{num::NonZeroU64, path::PathBuf, time::Duration};

use super::Arguments;
use crate::{
    config::{SinkConfig, Target},
    filter::{Filter, SinkFilter},
    kernel::{feature::Feature, plan::PacketChoice},
    ports::PortSet,
};

/// How often an agent tells what it can vouch for.
const AGENT_SUMMARY: Duration = Duration::from_secs(10);

/// What a run is to do: every value checked, every default filled in.
#[derive(Clone, Debug)]
pub struct Options {
    /// The ports of the brokers; never empty.
    pub ports: PortSet,
    /// Form of the output.
    pub format: Format,
    /// Where the output goes.
    pub output: Output,
    /// End after this time.
    pub duration: Option<Duration>,
    /// End after this many findings were shown.
    pub count: Option<NonZeroU64>,
    /// Which events to show.
    pub filter: Filter,
    /// The only network namespace to trace, by name or path.
    pub netns: Option<String>,
    /// `connections.max.idle.ms` of the brokers.
    pub broker_max_idle: Duration,
    /// Where the packet evidence is to come from.
    pub packet_evidence: PacketChoice,
    /// Features without which the run must not start.
    pub require: Vec<Feature>,
    /// Interval of `summary` events before the last one.
    pub summary_interval: Option<Duration>,
    /// Keep the kernel's records in this file.
    pub record: Option<PathBuf>,
    /// How much more to tell: 0 nothing, 1 the evidence of each finding, 2
    /// and up the log of the kernel side too.
    pub verbosity: u8,
    /// The file that the options come from, where it is an agent that runs.
    pub config: Option<PathBuf>,
    /// The sinks of that file; empty for the one of `format` and `output`.
    pub configured: Vec<SinkConfig>,
    /// Where sinks keep what they have still to deliver.
    pub spool: PathBuf,
    /// The most that each of them keeps there, bytes.
    pub spool_size: u64,
    /// How long the end of a run may take to deliver what is left.
    pub drain: Duration,
}

impl Options {
    /// The sinks of the run.
    #[must_use]
    pub fn sinks(&self) -> Vec<SinkConfig> {
        if !self.configured.is_empty() {
            return self.configured.clone();
        }
        let (format, verbose) = (self.format, self.verbosity > 0);
        let target = match &self.output {
            Output::Stdout => Target::Stdout { format, verbose },
            Output::File(path) => Target::File {
                path: path.clone(),
                format,
                verbose,
            },
        };
        let name = target.kind().to_owned();
        vec![SinkConfig {
            name,
            filter: SinkFilter::default(),
            target,
        }]
    }
}

impl Options {
    /// What `arguments` mean, with the sinks of the configuration file if
    /// there is one.
    pub(super) fn new(arguments: Arguments, sinks: Option<Vec<SinkConfig>>) -> Self {
        let agent = arguments.config.is_some().then_some(AGENT_SUMMARY);
        let mut ports = PortSet::empty();
        for list in &arguments.port {
            ports.extend(list);
        }
        Self {
            ports,
            format: arguments.format,
            output: match arguments.output {
                Some(path) if path.as_os_str() != "-" => Output::File(path),
                _ => Output::Stdout,
            },
            duration: arguments.duration,
            count: arguments.count,
            filter: Filter {
                role: arguments.role.into(),
                all: arguments.all,
            },
            netns: arguments.netns,
            broker_max_idle: arguments.broker_max_idle,
            packet_evidence: arguments.packet_evidence,
            require: arguments.require,
            summary_interval: arguments.summary.or(agent),
            record: arguments.record,
            verbosity: arguments.verbose,
            config: arguments.config,
            configured: sinks.unwrap_or_default(),
            spool: arguments.spool,
            spool_size: arguments.spool_size,
            drain: arguments.drain,
        }
    }
}

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: aligned columns.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// One document of the Elastic Common Schema a line.
    Ecs,
}

/// Where the output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}
