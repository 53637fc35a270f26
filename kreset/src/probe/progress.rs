//! The interface that shows progress.

use std::time::Duration;

use super::rung::Rung;

/// Shows progress.
pub trait Progress {
    /// A new stage, which takes at most so long.
    fn stage(&self, what: &str, at_most: Duration);

    /// A connection was used, or ended.
    fn rung(&self, rung: &Rung);

    /// Another message.
    fn note(&self, text: &str);
}
