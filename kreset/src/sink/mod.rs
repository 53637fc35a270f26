//! Where events go.
//!
//! A local sink is a form ([`Encoder`]) and a place ([`Writer`]) with a queue of
//! lines between them. A remote one is a form and a receiver ([`Remote`]) with a
//! spool between them. Adding a form, a place or a receiver is adding a file.

mod ecs;
mod file;
mod json;
#[cfg(feature = "kafka")]
mod kafka;
mod lines;
mod object;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(feature = "metrics")]
pub mod prometheus;
mod receipt;
mod sentence;
mod stdout;
mod syslog;
mod text;

pub use ecs::Ecs;
pub use file::LineFile;
pub use json::Json;
#[cfg(feature = "kafka")]
pub use kafka::{Kafka, KafkaEncoder};
#[cfg(feature = "otlp")]
pub use otlp::{Otlp, OtlpEncoder};
#[cfg(test)]
pub(crate) use receipt::unacknowledged;
pub use stdout::Stdout;
pub use syslog::{SETTLE, Syslog, SyslogEncoder};
pub use text::Text;

use std::path::Path;

use crate::{
    config::{Format, SinkConfig, Target},
    delivery::{Encoder, OnFailure, Outlet, Remote, SinkError, Writer, spool::Spool},
};

/// What all sinks of a run share.
#[derive(Clone, Copy, Debug)]
pub struct HostSettings<'a> {
    /// The directory of the spools.
    pub spool: &'a Path,
    /// The size limit of each spool, bytes.
    pub spool_size: u64,
    /// What a failed write to standard output or a file means.
    pub on_failure: OnFailure,
}

/// Opens a sink; `None` for one that events do not go to, but are counted
/// for.
///
/// # Errors
/// When its file, its spool or something that its settings name cannot be
/// opened.
pub fn open(sink: &SinkConfig, host: &HostSettings<'_>) -> Result<Option<Outlet>, SinkError> {
    let on_failure = host.on_failure;
    let local = |encoder: Box<dyn Encoder>, place: Box<dyn Writer>| {
        Ok(Some(Outlet::Local {
            encoder,
            place,
            on_failure,
        }))
    };
    let remote = |encoder: Box<dyn Encoder>, remote: Box<dyn Remote>| {
        // Of its type too: a name may come to mean another sink.
        let directory = host
            .spool
            .join(format!("{}.{}", sink.name, sink.target.kind()));
        let spool = Box::new(Spool::open(&directory, host.spool_size)?);
        Ok(Some(Outlet::Remote {
            encoder,
            remote,
            spool,
        }))
    };
    match &sink.target {
        Target::Stdout { format, verbose } => {
            let stdout = Stdout::open()?;
            let color = stdout.takes_color();
            local(encoder(*format, *verbose, color), Box::new(stdout))
        }
        Target::File {
            path,
            format,
            verbose,
        } => local(
            encoder(*format, *verbose, false),
            Box::new(LineFile::open(path)?),
        ),
        Target::Syslog(config) => remote(
            Box::new(SyslogEncoder::new(config.facility, config.body)),
            Box::new(Syslog::new(config.address.clone())),
        ),
        #[cfg(feature = "otlp")]
        Target::Otlp(config) => remote(Box::new(OtlpEncoder), Box::new(Otlp::new(config)?)),
        #[cfg(feature = "kafka")]
        Target::Kafka(config) => remote(
            Box::new(KafkaEncoder(config.body)),
            Box::new(Kafka::new(config)?),
        ),
        // What this build has no code for was refused with the file.
        #[cfg(not(feature = "otlp"))]
        Target::Otlp(_) => Ok(None),
        #[cfg(not(feature = "kafka"))]
        Target::Kafka(_) => Ok(None),
        Target::Prometheus { .. } => Ok(None),
    }
}

/// Looks whether [`open`] would find what the sink's settings name, without
/// creating, locking or connecting to anything.
///
/// # Errors
/// When it would not.
pub fn check(sink: &SinkConfig) -> Result<(), SinkError> {
    match &sink.target {
        Target::File { path, .. } => {
            let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
            let failed = |source| SinkError::Open {
                path: path.clone(),
                source,
            };
            directory.map_or(Ok(()), |it| it.metadata().map(drop).map_err(failed))
        }
        #[cfg(feature = "otlp")]
        Target::Otlp(config) => Otlp::new(config).map(drop),
        #[cfg(feature = "kafka")]
        Target::Kafka(config) => Kafka::new(config).map(drop),
        _ => Ok(()),
    }
}

fn encoder(format: Format, verbose: bool, color: bool) -> Box<dyn Encoder> {
    match format {
        Format::Json => Box::new(Json),
        Format::Ecs => Box::new(Ecs),
        Format::Text => Box::new(Text::new(verbose, color)),
    }
}

#[cfg(test)]
mod template_tests;
#[cfg(test)]
mod tests;
