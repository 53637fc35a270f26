//! How long ports refused: from the last end of a connection to the next that is accepted.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::{AT_ONCE_NS, Place};

/// Brokers remembered.
const BROKERS: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");
/// Without a refusal for longer than this, whether a port listens is not asked any more.
const ASKED_NS: u64 = 600_000_000_000;

/// What one port did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outage {
    /// The last FIN or RST by which the broker ended a connection before it accepted again;
    /// monotonic ns.
    ended_ns: Option<u64>,
    /// The last one at all.
    latest_end_ns: Option<u64>,
    /// The first refusal.
    pub(super) first_ns: Option<u64>,
    /// The latest one.
    pub(super) latest_ns: Option<u64>,
    /// When it accepted again.
    pub(super) accepted_ns: Option<u64>,
    /// The network namespace that refused, where that is on this host.
    here: Option<u32>,
    /// The fewest sockets that listened on its port since, on any address.
    listeners: Option<u32>,
}

impl Outage {
    /// When it began to refuse, and for how long it did; exact where it was seen to accept
    /// again. `None` where it did not refuse.
    #[must_use]
    pub(super) fn span(&self) -> Option<(u64, u64)> {
        let first = self.first_ns?;
        let is_near = |ended: &u64| ended.saturating_add(AT_ONCE_NS) >= first;
        let since = self.ended_ns.filter(is_near).unwrap_or(first);
        let until = self.accepted_ns.or(self.latest_ns)?;
        Some((since, until.saturating_sub(since)))
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Outages {
    brokers: LruCache<Place, Outage>,
    /// Brokers evicted because the table was full.
    pub(super) evicted: u64,
}

impl Default for Outages {
    fn default() -> Self {
        Self {
            brokers: LruCache::new(BROKERS),
            evicted: 0,
        }
    }
}

impl Outages {
    /// The broker ended a connection.
    pub(super) fn ended(&mut self, place: Place, at_ns: u64) {
        let outage = self.broker(place);
        outage.latest_end_ns = outage.latest_end_ns.max(Some(at_ns));
        if outage.accepted_ns.is_none_or(|accepted| at_ns <= accepted) {
            outage.ended_ns = outage.ended_ns.max(Some(at_ns));
        }
    }

    /// A connection turns out to have begun at `began_ns`.
    pub(super) fn began(&mut self, place: Place, began_ns: u64) {
        let outage = self.brokers.peek_mut(&place);
        let Some(outage) = outage.filter(|it| it.latest_ns.is_some_and(|at| at < began_ns)) else {
            return;
        };
        let before = outage.accepted_ns.unwrap_or(u64::MAX);
        outage.accepted_ns = Some(before.min(began_ns));
        // It may have ended since.
        outage.ended_ns = outage.ended_ns.filter(|ended| *ended < began_ns);
    }

    /// A new connection was refused; by the namespace `here`, if that is on this host.
    pub(super) fn refused(&mut self, place: Place, at_ns: u64, here: Option<u32>) {
        let outage = self.broker(place);
        if let Some(accepted) = outage.accepted_ns {
            if at_ns <= accepted {
                return;
            }
            *outage = Outage {
                ended_ns: outage.latest_end_ns,
                latest_end_ns: outage.latest_end_ns,
                ..Outage::default()
            };
        }
        outage.first_ns.get_or_insert(at_ns);
        outage.latest_ns = outage.latest_ns.max(Some(at_ns));
        outage.here = here.or(outage.here);
    }

    /// A new connection was accepted, or a socket listens.
    pub(super) fn accepted(&mut self, place: Place, at_ns: u64) {
        let outage = self.brokers.get_mut(&place);
        if let Some(outage) = outage.filter(|it| it.first_ns.is_some()) {
            outage.accepted_ns.get_or_insert(at_ns);
        }
    }

    /// What a port did last.
    #[must_use]
    pub(super) fn of(&self, place: Place) -> Option<Outage> {
        self.brokers.peek(&place).copied()
    }

    /// Whether more sockets listen on the port than did since it refuses; not known where
    /// another address refuses as well.
    pub(super) fn listens_since(&mut self, place: Place, netns: u32, listeners: u32) -> bool {
        let refuses = |it: &Outage| it.here == Some(netns) && it.accepted_ns.is_none();
        let others = self.brokers.iter().filter(|(other, it)| {
            **other != place && other.broker.port == place.broker.port && refuses(it)
        });
        let is_only_one = others.count() == 0;
        let Some(outage) = self.brokers.peek_mut(&place) else {
            return false;
        };
        let fewest = outage.listeners.unwrap_or(listeners).min(listeners);
        outage.listeners = Some(fewest);
        is_only_one && listeners > fewest
    }

    /// The ports of this host that refuse, with their network namespaces.
    pub(super) fn refusing_here(&self, now_ns: u64) -> impl Iterator<Item = (Place, u32)> {
        self.brokers.iter().filter_map(move |(place, outage)| {
            let is_recent = |latest: u64| now_ns.saturating_sub(latest) <= ASKED_NS;
            let refuses = outage.accepted_ns.is_none() && outage.latest_ns.is_some_and(is_recent);
            refuses.then_some((*place, outage.here?))
        })
    }

    fn broker(&mut self, place: Place) -> &mut Outage {
        if self.brokers.len() == BROKERS.get() && !self.brokers.contains(&place) {
            self.evicted += 1;
        }
        self.brokers.get_or_insert_mut(place, Outage::default)
    }
}
