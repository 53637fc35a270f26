//! Who is shown how it goes.

use std::time::Duration;

use super::rung::Rung;

/// Who is shown how it goes.
pub trait Watcher {
    /// A new stage, which takes at most so long.
    fn stage(&self, what: &str, at_most: Duration);

    /// A connection was used, or ended.
    fn rung(&self, rung: &Rung);

    /// Something else to be said.
    fn say(&self, text: &str);
}
