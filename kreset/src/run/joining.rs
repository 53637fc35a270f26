//! Both ends of one connection on one host, in one network namespace or in two: their
//! records are of one ending.

use std::{collections::HashMap, hash::Hash, num::NonZeroUsize};

use lru::LruCache;

use crate::{
    event::{Endpoint, Role},
    facts::{Facts, Flow, Kind},
};

/// How far apart both ends may see one ending: a RST needs no time on one host, but it may
/// wait for a socket that is in use, and a FIN is held for as long.
const APART_NS: u64 = 1_000_000_000;
/// RSTs that were written from one end alone and are remembered.
const WRITTEN: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");

/// Whether two records are of one ending, each seen from one end.
#[must_use]
pub fn are_one(a: &Facts, b: &Facts) -> bool {
    Seen::of(a).is_as(&Seen::of(b))
}

/// One record of both.
///
/// Of a RST it is the receiver's, whose socket knows the connection even where the sender has
/// none, and the client's if something between sent one to both; of a FIN that of the end
/// that closed first, which knows why.
#[must_use]
pub fn join(a: Facts, b: Facts) -> Facts {
    let (main, other) = if rank(&b) > rank(&a) { (b, a) } else { (a, b) };
    Facts {
        other_end: Some(Box::new(other)),
        ..main
    }
}

fn rank(facts: &Facts) -> (bool, bool) {
    let is_main = match facts.kind {
        Kind::ResetReceived => true,
        Kind::Fin | Kind::Closed | Kind::GaveUp => facts.fin.is_some_and(|fin| !fin.by_peer),
        _ => false,
    };
    (is_main, facts.role == Role::Client)
}

/// What names an ending.
#[derive(Clone, Copy, Debug)]
struct Seen {
    kind: Kind,
    role: Role,
    at_ns: u64,
    local: Endpoint,
    remote: Endpoint,
    flow: Option<Flow>,
    sequence: Option<u32>,
    has_socket: bool,
}

impl Seen {
    const fn of(facts: &Facts) -> Self {
        Self {
            kind: facts.kind,
            role: facts.role,
            at_ns: facts.at_ns,
            local: facts.local,
            remote: facts.remote,
            flow: facts.flow,
            sequence: facts.reset_sequence,
            has_socket: facts.id.is_some(),
        }
    }

    fn is_as(&self, other: &Self) -> bool {
        let fits = match (self.kind, other.kind) {
            (Kind::ResetSent, Kind::ResetReceived) => self.is_what_came_to(other),
            (Kind::ResetReceived, Kind::ResetSent) => other.is_what_came_to(self),
            (Kind::ResetReceived, Kind::ResetReceived)
            | (Kind::Fin | Kind::Closed, Kind::Fin | Kind::Closed)
            | (Kind::GaveUp, Kind::GaveUp) => true,
            _ => false,
        };
        let same_flow = self.flow.is_some() && self.flow == other.flow;
        let same_ends = (self.local, self.remote) == (other.remote, other.local);
        fits && self.role != other.role
            && self.at_ns.abs_diff(other.at_ns) < APART_NS
            && (same_flow || same_ends && !self.is_of_another_flow(other))
    }

    fn is_of_another_flow(&self, other: &Self) -> bool {
        self.flow.is_some() && other.flow.is_some() && self.flow != other.flow
    }

    /// A socket sends one RST, but what still was under way may draw more, with other
    /// numbers, and the peer accepts one of them. What no socket sent has the number of its
    /// packet, or, after a FIN, the one before or after (kernel: `tcp_reset_check`, 6.18).
    const fn is_what_came_to(&self, receiver: &Self) -> bool {
        match (self.sequence, receiver.sequence) {
            (Some(sent), Some(received)) if !self.has_socket => {
                sent.wrapping_sub(received).wrapping_add(1) <= 2
            }
            _ => true,
        }
    }
}

/// Where the held record of each end is, by what names its connection.
#[derive(Debug)]
pub(super) struct Held<P> {
    ends: HashMap<(Endpoint, Endpoint), P>,
    /// The same on both ends, even where this host translates addresses.
    flows: HashMap<(Flow, Role), P>,
}

impl<P> Default for Held<P> {
    fn default() -> Self {
        Self {
            ends: HashMap::new(),
            flows: HashMap::new(),
        }
    }
}

impl<P: Copy + PartialEq> Held<P> {
    /// Remembers where `facts` are held, if the other end's may join them.
    pub(super) fn add(&mut self, facts: &Facts, place: P) {
        if may_be_joined(facts) {
            self.ends.insert((facts.local, facts.remote), place);
            if let Some(flow) = facts.flow {
                self.flows.insert((flow, facts.role), place);
            }
        }
    }

    /// `facts` are no longer held there.
    pub(super) fn remove(&mut self, facts: &Facts, place: P) {
        remove(&mut self.ends, &(facts.local, facts.remote), &place);
        if let Some(flow) = facts.flow {
            remove(&mut self.flows, &(flow, facts.role), &place);
        }
    }

    /// Where the other end's record may be held.
    pub(super) fn other_end(&self, facts: &Facts) -> Option<P> {
        if !may_be_joined(facts) {
            return None;
        }
        let role = facts.role.other();
        let by_flow = facts.flow.and_then(|flow| self.flows.get(&(flow, role)));
        by_flow
            .or_else(|| self.ends.get(&(facts.remote, facts.local)))
            .copied()
    }
}

fn remove<K: Eq + Hash, P: PartialEq>(places: &mut HashMap<K, P>, key: &K, place: &P) {
    if places.get(key) == Some(place) {
        places.remove(key);
    }
}

/// Whether the other end may see the same ending, and was not found yet.
const fn may_be_joined(facts: &Facts) -> bool {
    let of_ending = matches!(
        facts.kind,
        Kind::ResetSent | Kind::ResetReceived | Kind::Fin | Kind::Closed | Kind::GaveUp
    );
    of_ending && facts.other_end.is_none()
}

/// RSTs that were written from one end alone, in case that the other end's record comes late.
#[derive(Debug)]
pub(super) struct OneEnded(LruCache<(Endpoint, Endpoint), Seen>);

impl Default for OneEnded {
    fn default() -> Self {
        Self(LruCache::new(WRITTEN))
    }
}

impl OneEnded {
    /// Remembers what was written.
    pub(super) fn add(&mut self, facts: &Facts) {
        let is_reset = matches!(facts.kind, Kind::ResetSent | Kind::ResetReceived);
        if is_reset && facts.other_end.is_none() {
            self.0.put((facts.local, facts.remote), Seen::of(facts));
        }
    }

    /// Whether the ending of `facts` was written, as the other end saw it.
    pub(super) fn has(&mut self, facts: &Facts) -> bool {
        let seen = Seen::of(facts);
        let other = self.0.get(&(facts.remote, facts.local));
        facts.other_end.is_none() && other.is_some_and(|other| other.is_as(&seen))
    }
}
