//! The interface of outputs on this host.

use super::SinkError;

/// An output for lines.
pub trait Writer: Send {
    /// Writes whole lines, with one system call if the kernel accepts them at once,
    /// so that other processes' lines are not mixed into them.
    ///
    /// # Errors
    /// When it stopped early, with how much was written.
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), Stopped>;

    /// Checks whether lines would still be accepted, without writing any.
    ///
    /// # Errors
    /// With [`SinkError::Closed`] when the reader has closed the output.
    fn check(&self) -> Result<(), SinkError>;

    /// Reopens the file, if it is one.
    ///
    /// # Errors
    /// When it cannot be opened; the writer is then unchanged.
    fn reopen(&mut self) -> Result<(), SinkError>;
}

/// A write that stopped early.
#[derive(Debug)]
pub struct Stopped {
    /// Bytes that need not be written again.
    pub written: usize,
    /// Why it stopped.
    pub error: SinkError,
}
