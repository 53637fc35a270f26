//! Standard output.

use std::{
    fs::File,
    io::{self, IsTerminal as _},
    os::fd::AsFd as _,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::lines::write_all;
use crate::delivery::{SinkError, Stopped, Writer};

/// What errors call this place.
const NAME: &str = "standard output";

/// Standard output, without the standard library's own buffer: lines come in
/// as large pieces as there is to write.
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
            place: NAME.to_owned(),
            source,
        })?;
        Ok(Self::on(fd.into()))
    }

    /// Takes `file` for standard output.
    pub(super) const fn on(file: File) -> Self {
        Self { file }
    }

    /// Whether it is a terminal whose user wants colour: `NO_COLOR`,
    /// `CLICOLOR=0` and `TERM=dumb` say no.
    #[must_use]
    pub fn takes_color(&self) -> bool {
        self.file.is_terminal()
            && !anstyle_query::no_color()
            && anstyle_query::clicolor().unwrap_or(true)
            && anstyle_query::term_supports_ansi_color()
    }
}

impl Writer for Stdout {
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), Stopped> {
        write_all(&self.file, lines).map_err(|(written, error)| Stopped {
            // What is out cannot be taken back, so a line that was cut goes
            // on where it stopped.
            written,
            error: match error.kind() {
                io::ErrorKind::BrokenPipe => SinkError::Closed,
                _ => SinkError::write(NAME, error),
            },
        })
    }

    fn check(&self) -> Result<(), SinkError> {
        // Asked for nothing, poll still tells of a reader that has gone.
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
