//! Events as lines in a place.

use super::{Encoder, Place, Sink, SinkError};
use crate::event::Message;

/// As many bytes may wait before they are written without being asked.
const ENOUGH: usize = 64 * 1024;

/// Encodes events and writes them together.
#[derive(Debug)]
pub struct Stream<E, P> {
    encoder: E,
    place: P,
    /// Lines that have not reached the place; never much more than
    /// `ENOUGH`, however long the place takes none.
    waiting: Vec<u8>,
}

impl<E: Encoder, P: Place> Stream<E, P> {
    /// Events in the form of `encoder`, written to `place`.
    pub const fn new(encoder: E, place: P) -> Self {
        Self {
            encoder,
            place,
            waiting: Vec::new(),
        }
    }
}

impl<E: Encoder, P: Place> Sink for Stream<E, P> {
    fn write(&mut self, message: &Message) -> Result<(), SinkError> {
        if self.waiting.len() >= ENOUGH {
            self.flush()?;
        }
        let whole = self.waiting.len();
        self.encoder
            .encode(message, &mut self.waiting)
            .inspect_err(|_| self.waiting.truncate(whole))
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        match self.place.write_lines(&self.waiting) {
            Ok(()) => {
                self.waiting.clear();
                Ok(())
            }
            Err(stopped) => {
                self.waiting.drain(..stopped.written);
                Err(stopped.error)
            }
        }
    }

    fn check(&self) -> Result<(), SinkError> {
        self.place.check()
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        // What was taken before belongs into the old file, if that takes it.
        let flushed = self.flush();
        self.place.reopen()?;
        flushed.or_else(|_| self.flush())
    }
}
