//! Where events go.
//!
//! A local sink is a form ([`Encoder`]) and a place ([`Place`]) with a queue of
//! lines between them. A remote one is a form and a receiver ([`Remote`]) with a
//! spool between them. Adding a form, a place or a receiver is adding a file.

mod ecs;
pub(crate) mod escape;
mod file;
mod json;
#[cfg(feature = "kafka")]
mod kafka;
mod object;
#[cfg(feature = "otlp")]
mod otlp;
mod place;
mod receipt;
mod sentence;
mod stdout;
mod syslog;
mod text;

use std::{fmt, io, net::SocketAddr, path::PathBuf};

pub use ecs::Ecs;
pub use file::LineFile;
pub use json::Json;
#[cfg(feature = "kafka")]
pub use kafka::{Kafka, KafkaEncoder};
#[cfg(feature = "otlp")]
pub use otlp::{Otlp, OtlpEncoder};
pub use place::{Place, Stopped};
#[cfg(test)]
pub(crate) use receipt::unacknowledged;
pub use stdout::Stdout;
pub use syslog::{SETTLE, Syslog, SyslogEncoder};
pub use text::Text;
use thiserror::Error;

use crate::{
    cli::{Format, Options},
    config::{SinkConfig, Target},
    delivery::{
        OnFailure, Outlet, Remote,
        spool::{Spool, SpoolError},
    },
    event::Message,
};

/// Turns an event into bytes.
pub trait Encoder: Send {
    /// Appends `message` to `out`: to text forms as one or more whole lines.
    ///
    /// # Errors
    /// When the event cannot be represented.
    fn encode(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), SinkError>;
}

/// Opens a sink; `None` for one that events do not go to, but are counted
/// for.
///
/// # Errors
/// When its file, its spool or something that its settings name cannot be
/// opened.
pub fn open(sink: &SinkConfig, options: &Options) -> Result<Option<Outlet>, SinkError> {
    // Somebody waits for a command, nobody for an agent.
    let on_failure = if options.configured.is_empty() {
        OnFailure::EndRun
    } else {
        OnFailure::Retry
    };
    let local = |encoder: Box<dyn Encoder>, place: Box<dyn Place>| {
        Ok(Some(Outlet::Local {
            encoder,
            place,
            on_failure,
        }))
    };
    let remote = |encoder: Box<dyn Encoder>, remote: Box<dyn Remote>| {
        // Of its type too: a name may come to mean another sink.
        let directory = options
            .spool
            .join(format!("{}.{}", sink.name, sink.target.kind()));
        let spool = Box::new(Spool::open(&directory, options.spool_size)?);
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

/// Why a sink failed.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The reader of standard output has gone. That is how `| head` ends a
    /// run, so it is no failure: end quietly with
    /// [`Exit::Done`](crate::exit::Exit::Done).
    #[error("nobody reads standard output any more")]
    Closed,
    /// The file cannot be opened.
    #[error("cannot open {}: {source}; choose another file with --output", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// No space, or no quota, is left.
    #[error("cannot write to {place}: no space is left; free some or choose another --output")]
    Full {
        /// The file's path, or `standard output`.
        place: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// Writing failed otherwise.
    #[error("cannot write to {place}: {source}")]
    Write {
        /// The file's path, or `standard output`.
        place: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// A certificate or key that the settings name cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// A setting that librdkafka refuses.
    #[error("librdkafka refuses the settings of the Kafka sink: {0}")]
    Kafka(String),
    /// The spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The address for metrics cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// The system has no thread for a sink.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The event cannot be represented.
    #[error("cannot represent an event: {0}")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<serde_json::Error> for SinkError {
    fn from(error: serde_json::Error) -> Self {
        Self::Encode(Box::new(error))
    }
}

impl From<fmt::Error> for SinkError {
    fn from(error: fmt::Error) -> Self {
        Self::Encode(Box::new(error))
    }
}

impl SinkError {
    /// A failed write to `place`.
    fn write(place: impl Into<String>, source: io::Error) -> Self {
        let place = place.into();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full { place, source },
            _ => Self::Write { place, source },
        }
    }

    /// Whether the reader has gone, which ends a run without failure.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

#[cfg(test)]
mod template_tests;
#[cfg(test)]
mod tests;
