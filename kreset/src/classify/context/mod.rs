//! What one host remembers between events, so that an event can be judged together
//! with related ones. Pure: time is the events' own.

mod closings;
mod endings;
mod paths;
mod senders;

pub use closings::{Closing, Closings};
pub use endings::{Concurrent, Endings};
pub use paths::{Death, PathView, Paths, alike};

use senders::Senders;

use super::{case::Case, class::Class};
use crate::facts::{Facts, Kind, PathKey, State};

/// Everything remembered. Bounded: the least recently used goes first, and is
/// counted.
#[derive(Debug, Default)]
pub struct Memory {
    paths: Paths,
    endings: Endings,
    closings: Closings,
    senders: Senders,
}

/// What the memory says of one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The path that the connection took.
    pub path: PathView,
    /// Other endings at the same broker about now.
    pub concurrent: Concurrent,
    /// How this connection was closed, if a FIN went before.
    pub closing: Option<Closing>,
    /// If the other end is on this host and sent the RST, what follows for it: every class
    /// with its share.
    pub other_end: Option<Vec<(Class, f64)>>,
}

impl Memory {
    /// Takes an event in. To be called once for each, before it is judged; with
    /// the cause of a FIN that ended a handshake and how sure it is.
    pub fn observe(&mut self, case: &Case<'_>, closed_in_handshake: Option<(Class, f64)>) {
        let facts = case.facts;
        self.paths.distance(facts);
        self.senders.observe(facts);
        match facts.kind {
            Kind::Survived => self.paths.survived(facts),
            Kind::Established => self.endings.accepted(facts),
            Kind::Fin => {
                self.closings.observe(case, closed_in_handshake);
                self.endings.ended(facts);
            }
            Kind::ResetReceived if facts.state == Some(State::SynSent) => {
                self.endings.refused(facts);
            }
            Kind::ResetReceived | Kind::ResetSent => {
                self.paths.survived(facts);
                self.endings.ended(facts);
            }
            Kind::Timeout | Kind::Closed => self.paths.survived(facts),
        }
    }

    /// Takes in that a silence was fatal, once it has been judged so.
    pub fn died(&mut self, facts: &Facts, on_timer: bool) {
        self.paths.died(facts, on_timer);
    }

    /// Takes in that a silence may have been fatal, though other causes fit.
    pub fn suspect(&mut self, facts: &Facts) {
        self.paths.suspect(facts);
    }

    /// What is known that bears on an event.
    #[must_use]
    pub fn context(&mut self, facts: &Facts) -> Context {
        let closing = self.closings.of(facts);
        Context {
            path: self.paths.view(&facts.path()),
            concurrent: self.endings.concurrent(facts, closing.as_ref()),
            closing,
            other_end: None,
        }
    }

    /// Who on this host sent a RST that was received.
    #[must_use]
    pub fn sender(&mut self, facts: &Facts) -> Option<Facts> {
        self.senders.of(facts)
    }

    /// What is known of a path.
    #[must_use]
    pub fn path(&mut self, key: &PathKey) -> PathView {
        self.paths.view(key)
    }

    /// Entries evicted because a table was full.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.paths.evicted + self.endings.evicted + self.closings.evicted
    }
}
