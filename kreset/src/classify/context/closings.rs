//! How connections were closed whose sockets are gone by the time that a late
//! packet draws a RST.

use std::num::NonZeroUsize;

use lru::LruCache;

use crate::{
    classify::{case::Case, class::Class},
    event::Role,
    facts::{Facts, Tuple},
};

/// Closed connections remembered.
const CLOSINGS: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// How a connection was closed by the broker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Closing {
    /// When; monotonic ns.
    pub at_ns: u64,
    /// Milliseconds without data before the FIN.
    pub silence_ms: f64,
    /// The kernel sent it when it closed the sockets of the broker's process, which ended.
    pub by_exit: bool,
    /// The same of another process on the broker's host.
    pub by_other_exit: bool,
    /// Whether a socket listened on the broker's port then, on this host.
    pub listened: Option<bool>,
    /// Why it was closed, where that was in its handshake, and how sure that is.
    pub in_handshake: Option<(Class, f64)>,
    /// The close may fall inside a handshake that was not observed.
    pub may_be_handshake: bool,
    /// The close may fall inside a SASL exchange that TLS hid.
    pub may_be_sasl: bool,
}

/// All of them.
#[derive(Debug)]
pub struct Closings {
    closings: LruCache<Tuple, Closing>,
    /// Closings evicted because the table was full.
    pub evicted: u64,
}

impl Default for Closings {
    fn default() -> Self {
        Self {
            closings: LruCache::new(CLOSINGS),
            evicted: 0,
        }
    }
}

impl Closings {
    /// Takes in the broker's FIN.
    pub fn observe(&mut self, case: &Case<'_>, in_handshake: Option<(Class, f64)>) {
        let facts = case.facts;
        let Some(fin) = facts.fin else {
            return;
        };
        if fin.by_peer != (facts.role == Role::Client) {
            return;
        }
        let closing = Closing {
            at_ns: facts.at_ns,
            silence_ms: fin.silence_ms,
            by_exit: fin.by_exit,
            by_other_exit: fin.by_other_exit,
            listened: facts.listened,
            in_handshake,
            may_be_handshake: case.may_be_handshake(),
            may_be_sasl: case.may_be_hidden_sasl(),
        };
        let evicted = self.closings.push(facts.tuple(), closing);
        if evicted.is_some_and(|(evicted, _)| evicted != facts.tuple()) {
            self.evicted += 1;
        }
    }

    /// How the connection of an event was closed by the broker: by the FIN that
    /// its own socket remembers, else by one seen before.
    #[must_use]
    pub fn of(&mut self, facts: &Facts) -> Option<Closing> {
        let own = facts
            .fin
            .filter(|fin| fin.by_peer == (facts.role == Role::Client));
        own.map(|fin| Closing {
            at_ns: facts.at_ns,
            silence_ms: fin.silence_ms,
            by_exit: fin.by_exit,
            by_other_exit: fin.by_other_exit,
            listened: facts.listened,
            in_handshake: None,
            may_be_handshake: false,
            may_be_sasl: false,
        })
        .or_else(|| {
            // One from before it began was another connection's, of the same ports.
            let began_ns = facts.began_ns().unwrap_or(0);
            let seen = self.closings.get(&facts.tuple()).copied();
            seen.filter(|closing| closing.at_ns >= began_ns)
        })
    }
}
