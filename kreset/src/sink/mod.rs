//! Where events go.
//!
//! Each type of sink is one file: its keys in the configuration, its
//! constructor, and its code. A local sink is an [`Encoder`] and a [`Writer`]
//! with a queue of lines between them. A remote one is an [`Encoder`] and a
//! [`Remote`] with a spool between them. A new type of sink is a new file and
//! a line in `target.rs`.

mod ecs;
mod file;
mod format;
mod json;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(any(feature = "otlp", feature = "kafka"))]
mod keys;
mod lines;
mod object;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(feature = "metrics")]
mod prometheus;
mod receipt;
mod sentence;
mod stdout;
mod syslog;
mod target;
mod text;
mod view;

use std::{path::Path, sync::Arc};

pub use ecs::Ecs;
pub use file::{FileConfig, LineFile};
pub use format::{Body, Format};
pub use json::Json;
#[cfg(feature = "kafka")]
pub use kafka::{Kafka, KafkaConfig, KafkaEncoder};
#[cfg(feature = "otlp")]
pub use otlp::{Otlp, OtlpConfig, OtlpEncoder};
#[cfg(feature = "metrics")]
pub use prometheus::PrometheusConfig;
#[cfg(test)]
pub(crate) use receipt::unacknowledged;
use serde::de::DeserializeOwned;
pub use stdout::{Stdout, StdoutConfig};
pub use syslog::{Facility, SETTLE, Syslog, SyslogAddress, SyslogConfig, SyslogEncoder};
pub use target::Target;
pub(crate) use text::wrap::{with_commands, wrap};
pub use text::{Layout, Size, Text, TextOptions, Update};
pub use view::{ColorChoice, View};

use crate::{
    delivery::{Encoder, Health, Observer, OnFailure, Remote, Sink, SinkError, SpoolSlot, Writer},
    event::filter::SinkFilter,
};

/// One sink: its name, what it gets, and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkConfig {
    /// Unique among the sinks of a run.
    pub name: String,
    /// What it gets.
    pub filter: SinkFilter,
    /// Where it goes.
    pub target: Target,
}

/// What all sinks of a run share.
#[derive(Clone, Copy, Debug)]
pub struct HostSettings<'a> {
    /// The directory of the spools.
    pub spool: &'a Path,
    /// The size limit of each spool, bytes.
    pub spool_size: u64,
    /// What a failed write to standard output or a file means.
    pub on_failure: OnFailure,
    /// The state of the event loop, for health checks.
    pub health: &'a Arc<Health>,
}

/// What a type of sink consists of.
enum Parts {
    /// Lines in this format, written here.
    Local(Box<dyn Encoder>, Box<dyn Writer>),
    /// Events in this format, spooled and sent there.
    Remote(Box<dyn Encoder>, Box<dyn Remote>),
    /// Sees events as they pass.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(dead_code, reason = "only Prometheus observes")
    )]
    Observer(Box<dyn Observer>),
}

/// The keys of a type of sink, and what they mean.
trait Settings: DeserializeOwned {
    /// Whether the sink gets events one by one, so that it can be given a filter.
    const IS_FILTERED: bool = true;
    /// The required keys, each with an example of its value.
    const REQUIRED: &[(&str, &str)] = &[];

    /// Refuses keys that do not fit together, in a sentence.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    /// Where the events go, in a few words and without secrets.
    fn destination(&self) -> String;

    /// Checks whether [`Settings::open`] would find what the keys name, without
    /// creating, locking or connecting to anything.
    fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Opens the files that the keys name; connects to nothing.
    fn open(&self, host: &HostSettings<'_>) -> Result<Parts, SinkError>;
}

impl SinkConfig {
    /// Opens the sink.
    ///
    /// # Errors
    /// When its file, its spool or a file that its settings name cannot be opened.
    pub fn open(&self, host: &HostSettings<'_>) -> Result<Sink, SinkError> {
        Ok(match self.target.open(host)? {
            Parts::Local(encoder, writer) => Sink::Local {
                encoder,
                writer,
                on_failure: host.on_failure,
            },
            Parts::Remote(encoder, remote) => {
                // With its type: a name may be given to another sink later.
                let name = format!("{}.{}", self.name, self.target.kind());
                let spool = SpoolSlot::open(&host.spool.join(name), host.spool_size)?;
                Sink::Remote {
                    encoder,
                    remote,
                    spool: Box::new(spool),
                }
            }
            Parts::Observer(observer) => Sink::Observer(observer),
        })
    }

    /// Checks whether [`SinkConfig::open`] would find what the settings name,
    /// without creating, locking or connecting to anything.
    ///
    /// # Errors
    /// When it would not.
    pub fn check(&self) -> Result<(), SinkError> {
        self.target.check()
    }
}

#[cfg(test)]
mod template_tests;
#[cfg(test)]
mod tests;
