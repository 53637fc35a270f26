//! The interface of formats.

use super::{Glance, SinkError};
use crate::event::Message;

/// Encodes events in one format.
pub trait Encoder: Send {
    /// Appends `message` to `out`: in line formats as one or more whole lines.
    ///
    /// # Errors
    /// When the event cannot be encoded.
    fn encode(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), SinkError>;

    /// Appends what shows the state of the run, where the format has something that does.
    /// Called about twice a second.
    fn glance(&mut self, _glance: &Glance, _out: &mut Vec<u8>) {}
}
