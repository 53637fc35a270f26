//! What lines are written to.

use super::SinkError;

/// Something that takes lines.
pub trait Writer: Send {
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
    /// When it cannot be opened; the writer then stays as it is.
    fn reopen(&mut self) -> Result<(), SinkError>;
}

/// A write that stopped early.
#[derive(Debug)]
pub struct Stopped {
    /// Bytes that were written for good.
    pub written: usize,
    /// Why no more did.
    pub error: SinkError,
}
