//! Why a sink fails.

use std::{fmt, io, net::SocketAddr, path::PathBuf};

use thiserror::Error;

use super::spool::SpoolError;

/// Why a sink failed.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The reader of standard output has closed it, as `| head` does. This is not
    /// a failure: the run ends with
    /// [`Exit::Done`](crate::util::exit::Exit::Done).
    #[error("standard output was closed by its reader")]
    Closed,
    /// The file cannot be opened.
    #[error("cannot open {}: {source}; choose another file with --output", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// No space or quota is left.
    #[error("cannot write to {path}: no space is left; free some or choose another --output")]
    Full {
        /// The file's path, or `standard output`.
        path: String,
        /// The error of the system call.
        source: io::Error,
    },
    /// Writing failed for another reason.
    #[error("cannot write to {path}: {source}")]
    Write {
        /// The file's path, or `standard output`.
        path: String,
        /// The error of the system call.
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
    /// A setting that librdkafka rejects.
    #[error("librdkafka rejected the Kafka sink's settings: {0}")]
    Kafka(String),
    /// The spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The address for metrics cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system call.
        source: io::Error,
    },
    /// The system cannot start a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The event cannot be encoded.
    #[error("cannot encode an event: {0}")]
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
    /// A failed write to `path`.
    pub(crate) fn write(path: impl Into<String>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full { path, source },
            _ => Self::Write { path, source },
        }
    }

    /// Whether the reader closed the output, which ends a run without failure.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}
