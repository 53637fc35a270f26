//! Places that lines are written to.

use std::{
    fs::File,
    io::{self, Write as _},
    thread,
    time::Duration,
};

use super::SinkError;

/// How long to wait before asking again for room in a pipe that does not
/// block.
const PIPE_PAUSE: Duration = Duration::from_millis(1);

/// Something that takes lines.
pub trait Place: Send {
    /// Writes whole lines: with one system call where the kernel takes them
    /// at once, so that the lines of other writers never land inside one.
    ///
    /// # Errors
    /// When it stopped early; says how much need not be written again.
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), Stopped>;

    /// Asks whether lines would still be taken, without writing any.
    ///
    /// # Errors
    /// With [`SinkError::Closed`] when whoever read them has gone.
    fn check(&self) -> Result<(), SinkError>;

    /// Starts anew, where that means anything.
    ///
    /// # Errors
    /// When it cannot be opened; the place then stays as it is.
    fn reopen(&mut self) -> Result<(), SinkError>;
}

/// A write that stopped early.
#[derive(Debug)]
pub struct Stopped {
    /// Bytes that reached the place for good.
    pub written: usize,
    /// Why no more did.
    pub error: SinkError,
}

/// Writes all of `bytes`, or says how many went out before which error.
pub(super) fn write_all(mut file: &File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process that shares the pipe or terminal made it
            // non-blocking; for us it is as slow as its reader.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PIPE_PAUSE),
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}
