//! Why a sink fails.

use std::{fmt, io, net::SocketAddr, path::PathBuf};

use thiserror::Error;

use super::spool::SpoolError;

/// Why a sink failed.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The reader of standard output has gone. That is how `| head` ends a
    /// run, so it is no failure: end quietly with
    /// [`Exit::Done`](crate::util::exit::Exit::Done).
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
    pub(crate) fn write(place: impl Into<String>, source: io::Error) -> Self {
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
