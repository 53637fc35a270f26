//! What turns events into bytes.

use super::SinkError;
use crate::event::Message;

/// Turns an event into bytes.
pub trait Encoder: Send {
    /// Appends `message` to `out`: to text forms as one or more whole lines.
    ///
    /// # Errors
    /// When the event cannot be represented.
    fn encode(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), SinkError>;
}
