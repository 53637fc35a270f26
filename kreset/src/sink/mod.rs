//! Where events go.
//!
//! A sink is a form ([`Encoder`]) and a place ([`Place`]) held together by
//! [`Stream`]. Adding a form or a place is adding a file.

mod escape;
mod file;
mod json;
mod place;
mod stdout;
mod stream;
mod text;

use std::{fmt, io, path::PathBuf};

pub use file::LineFile;
pub use json::Json;
pub use place::{Place, Stopped};
pub use stdout::Stdout;
pub use stream::Stream;
pub use text::Text;
use thiserror::Error;

use crate::{
    cli::{Format, Options, Output},
    event::Event,
};

/// Takes events.
///
/// Write every event that is waiting, then flush: a lone event is out at
/// once, and a burst costs one system call for many events.
pub trait Sink: Send {
    /// Takes `event`.
    ///
    /// # Errors
    /// When events taken earlier could not be written to make room. `event`
    /// is then not taken; the earlier ones are kept and tried again.
    fn write(&mut self, event: &Event) -> Result<(), SinkError>;

    /// Sees to it that every event taken has reached its place.
    ///
    /// # Errors
    /// When one could not be written. It is kept and tried again.
    fn flush(&mut self) -> Result<(), SinkError>;

    /// Asks whether the place would still take events, without writing any.
    /// The reader of a pipe may leave while nothing happens: ask now and then.
    ///
    /// # Errors
    /// With [`SinkError::Closed`] when the reader has gone.
    fn check(&self) -> Result<(), SinkError>;

    /// Starts the place anew: a file that was renamed away is created again.
    ///
    /// # Errors
    /// When it cannot be opened; the sink then goes on with the old one.
    fn reopen(&mut self) -> Result<(), SinkError>;
}

/// Turns an event into bytes.
pub trait Encoder: Send {
    /// Appends `event` to `out`, as one or more whole lines.
    ///
    /// # Errors
    /// When the event cannot be represented.
    fn encode(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), SinkError>;
}

/// The sink that the command line asks for.
///
/// # Errors
/// When the file under `--output` cannot be opened.
pub fn open(options: &Options) -> Result<Box<dyn Sink>, SinkError> {
    Ok(match &options.output {
        Output::Stdout => {
            let stdout = Stdout::open()?;
            let color = stdout.takes_color();
            with_encoder(options, color, stdout)
        }
        Output::File(path) => with_encoder(options, false, LineFile::open(path)?),
    })
}

fn with_encoder(options: &Options, color: bool, place: impl Place + 'static) -> Box<dyn Sink> {
    match options.format {
        Format::Json => Box::new(Stream::new(Json, place)),
        Format::Text => Box::new(Stream::new(Text::new(options.verbosity > 0, color), place)),
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
mod tests;
