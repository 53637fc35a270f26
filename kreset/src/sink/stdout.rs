//! Standard output.

use std::{fs::File, io, os::fd::AsFd as _};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;

use super::{Format, HostSettings, Parts, Settings, View, lines::write_all};
use crate::delivery::{SinkError, Stopped, Writer};

/// Its name in errors.
const NAME: &str = "standard output";

/// The keys of a sink that writes to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StdoutConfig {
    /// Output format.
    #[serde(default = "Format::of_a_sink")]
    pub format: Format,
    /// Whether text says why and why not.
    #[serde(default)]
    pub verbose: bool,
    /// What text shows where the command line asks for it.
    #[serde(skip)]
    pub view: View,
}

impl Settings for StdoutConfig {
    fn destination(&self) -> String {
        NAME.to_owned()
    }

    fn open(&self, _: &HostSettings<'_>) -> Result<Parts, SinkError> {
        let stdout = Stdout::open()?;
        let view = View {
            verbosity: self.view.verbosity.max(u8::from(self.verbose)),
            ..self.view
        };
        let encoder = self.format.encoder_of_stdout(view);
        Ok(Parts::Local(encoder, Box::new(stdout)))
    }
}

/// Standard output without the standard library's buffer: lines already come in
/// pieces as large as possible.
#[derive(Debug)]
pub struct Stdout {
    file: File,
}

impl Stdout {
    /// This process's standard output.
    ///
    /// # Errors
    /// When it is closed.
    pub fn open() -> Result<Self, SinkError> {
        let fd = io::stdout().as_fd().try_clone_to_owned();
        let fd = fd.map_err(|source| SinkError::Write {
            path: NAME.to_owned(),
            source,
        })?;
        Ok(Self::on(fd.into()))
    }

    /// Uses `file` as standard output.
    pub(super) const fn on(file: File) -> Self {
        Self { file }
    }
}

impl Writer for Stdout {
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), Stopped> {
        write_all(&self.file, lines).map_err(|(written, error)| Stopped {
            // Written bytes cannot be taken back, so a line that was cut off is
            // continued.
            written,
            error: match error.kind() {
                io::ErrorKind::BrokenPipe => SinkError::Closed,
                _ => SinkError::write(NAME, error),
            },
        })
    }

    fn check(&self) -> Result<(), SinkError> {
        // poll() reports a closed reader even if no event is requested.
        let mut fds = [PollFd::new(&self.file, PollFlags::empty())];
        let known = poll(&mut fds, Some(&Timespec::default())).unwrap_or_default();
        let gone = fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP);
        if known > 0 && gone {
            Err(SinkError::Closed)
        } else {
            Ok(())
        }
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
