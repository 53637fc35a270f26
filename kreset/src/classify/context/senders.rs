//! RSTs that sockets of this host sent: the other end may be on this host, too, in the same
//! network namespace or in another one.

use std::num::NonZeroUsize;

use lru::LruCache;

use crate::{
    event::Endpoint,
    facts::{Facts, Kind},
};

/// Senders remembered.
const SENDERS: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");
/// How long: a RST needs no time to come from this host to this host, but it may wait for a
/// socket that is in use.
const ON_THE_WAY_NS: u64 = 1_000_000_000;

/// The latest of them, by sender and receiver.
#[derive(Debug)]
pub(super) struct Senders(LruCache<(Endpoint, Endpoint), Facts>);

impl Default for Senders {
    fn default() -> Self {
        Self(LruCache::new(SENDERS))
    }
}

impl Senders {
    /// Takes in a RST that a socket sent.
    pub(super) fn observe(&mut self, facts: &Facts) {
        if facts.kind == Kind::ResetSent && facts.id.is_some() {
            self.0.put((facts.local, facts.remote), facts.clone());
        }
    }

    /// Who on this host sent a RST that was received.
    #[must_use]
    pub(super) fn of(&mut self, facts: &Facts) -> Option<Facts> {
        if facts.kind != Kind::ResetReceived {
            return None;
        }
        let sender = self.0.get(&(facts.remote, facts.local))?;
        let since = facts.at_ns.abs_diff(sender.at_ns);
        // The next connection may have the same ports at once.
        let of_another = facts.flow.is_some() && sender.flow.is_some() && facts.flow != sender.flow;
        let fits = since < ON_THE_WAY_NS && sender.role != facts.role && !of_another;
        fits.then(|| sender.clone())
    }
}
