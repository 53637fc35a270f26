//! What a run is doing, for formats that show it.

use std::time::Duration;

use smol_str::SmolStr;

use crate::event::Watched;

/// The state of a run now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// How long it has been attached.
    pub attached: Duration,
    /// Traced ports, each a port or a range.
    pub ports: Vec<SmolStr>,
    /// Open connections and their brokers, where that is known.
    pub watched: Option<Watched>,
    /// Findings so far, without noise.
    pub events: u64,
}
