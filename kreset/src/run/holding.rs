//! Holds events briefly so that related ones can be correlated.
//!
//! Connections of one broker end within tens of milliseconds of each other,
//! clients reconnect as fast, and a FIN is often followed by the RST that is
//! the event to report.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    num::NonZeroUsize,
};

use lru::LruCache;

use super::joining::{Held, are_one, join};
use crate::{
    classify::incident::{Place, is_refusal},
    event::Role,
    facts::{Facts, Kind, State, Tuple},
};

/// How long a RST is held. Well under the 100 ms within which it must be reported.
const RESET_WAIT_NS: u64 = 60_000_000;
/// How long a RST is held whose cause a reconnect may still show: clients come back after
/// 50 ms (`reconnect.backoff.ms` of Kafka's own) to 150 ms (librdkafka's, of 100 ms, and
/// half of it by chance).
const RECONNECT_WAIT_NS: u64 = 250_000_000;
/// How long any other RST that this host sent is held: its receiver may be on this host as
/// well. One that no socket sent may answer a packet that comes while the socket itself
/// sends a RST, or while its process ends (kernel: `__tcp_close` takes the socket out of the
/// table before `tcp_send_active_reset`; 6.18).
const SENT_WAIT_NS: u64 = 10_000_000;
/// The queue of such RSTs keeps room for this many.
const FEW_SENT: usize = 256;
/// How long the end of a socket is held for a RST that is decoded after it.
const CLOSED_WAIT_NS: u64 = 60_000_000;
/// How long a FIN in the handshake is held for a RST, or for the socket to end:
/// the client may write once more before it notices.
const FIN_WAIT_NS: u64 = 1_000_000_000;

/// Brokers whose held endings are remembered.
const BROKERS: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// Refusals that wait for such endings, at most.
const REFUSALS: usize = 1_024;

/// When an event is due, monotonic ns, and its number.
type Due = (u64, u64);

/// Where an event is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    /// Among those that are due at different times.
    Event(Due),
    /// In the queue, by its number.
    Queue(u64),
}

/// The held events, by when they are due.
#[derive(Debug, Default)]
pub struct Holding {
    events: BTreeMap<Due, Facts>,
    sent: Queue,
    /// The events that the end of their connection supersedes, by connection: with
    /// thousands held, a search would be too slow.
    superseded: HashMap<Tuple, Vec<Due>>,
    /// What the record of the other end may join.
    ends: Held<Spot>,
    endings: Endings,
    admitted: u64,
}

/// When the held endings of each broker are due: a refusal is judged after the end that
/// explains it.
#[derive(Debug)]
struct Endings {
    due_ns: LruCache<Place, u64>,
    /// When the refusals that wait are due.
    refusals: VecDeque<u64>,
}

impl Default for Endings {
    fn default() -> Self {
        Self {
            due_ns: LruCache::new(BROKERS),
            refusals: VecDeque::new(),
        }
    }
}

impl Endings {
    /// An ending is held until `due_ns`.
    fn hold(&mut self, facts: &Facts, due_ns: u64) {
        let due = self.due_ns.get_or_insert_mut(Place::of(facts), || due_ns);
        *due = due_ns.max(*due);
    }

    /// How long a refusal waits for the endings of its broker, if any are held.
    fn wait_of(&mut self, refusal: &Facts) -> Option<u64> {
        let due_ns = *self.due_ns.peek(&Place::of(refusal))?;
        let wait_ns = due_ns.checked_sub(refusal.at_ns).filter(|wait| *wait > 0)?;
        while self
            .refusals
            .front()
            .is_some_and(|due| *due <= refusal.at_ns)
        {
            self.refusals.pop_front();
        }
        if self.refusals.len() >= REFUSALS {
            return None;
        }
        self.refusals.push_back(due_ns);
        Some(wait_ns)
    }
}

impl Holding {
    /// Holds an event, or returns it if it is to be judged at once. Records that
    /// are not events are dropped, as are events that this one supersedes. Where the other
    /// end's record of the same ending is held, both become one.
    pub fn admit(&mut self, facts: Facts) -> Option<Facts> {
        if matches!(facts.kind, Kind::Established | Kind::Survived) {
            return None;
        }
        self.supersede(&facts);
        let facts = self.join_reset(facts)?;
        let facts = self.join_given_up(facts);
        let waits_ns = is_refusal(&facts)
            .then(|| self.endings.wait_of(&facts))
            .flatten();
        let wait_ns = match facts.kind {
            _ if let Some(wait_ns) = waits_ns => wait_ns,
            Kind::ResetReceived if facts.state == Some(State::SynSent) => 0,
            Kind::ResetReceived => RESET_WAIT_NS,
            // Its receiver is on this host, and its record follows: whether that is
            // this process decides whether this is an event at all.
            Kind::ResetSent if facts.local.address == facts.remote.address => RESET_WAIT_NS,
            // A broker that stops closes one connection after the other. If its
            // process is already exiting, there is nothing to wait for, and its name
            // will soon be gone.
            Kind::ResetSent
                if facts.role == Role::Broker && facts.trigger.is_none() && !facts.by_exit =>
            {
                RESET_WAIT_NS
            }
            Kind::ResetSent => {
                let number = self.sent.next_number();
                self.ends.add(&facts, Spot::Queue(number));
                self.sent.push(facts);
                return None;
            }
            Kind::Fin => FIN_WAIT_NS,
            // Its other end may be on this host as well.
            Kind::Closed | Kind::GaveUp => CLOSED_WAIT_NS,
            // Another connection may be given up in the same moment, and tell what this one died
            // of.
            Kind::Timeout if facts.state != Some(State::SynSent) => RESET_WAIT_NS,
            Kind::Timeout | Kind::Unobserved | Kind::Established | Kind::Survived => 0,
        };
        if wait_ns == 0 {
            return Some(facts);
        }
        self.hold(facts, wait_ns);
        None
    }

    /// When the first one is due; monotonic ns. A RST in the queue is not worth waking up for
    /// `while_turning`: it is released at the turn's end.
    #[must_use]
    pub fn due_ns(&self, while_turning: bool) -> Option<u64> {
        let sent = self.sent.due_ns().filter(|_| !while_turning);
        let event = self.events.keys().next().map(|(due, _)| *due);
        [event, sent].into_iter().flatten().min()
    }

    /// The first one that is due by `until_ns` and to be judged: what `may_yet_learn` is held
    /// for longer, once.
    pub fn next_to_judge(
        &mut self,
        until_ns: u64,
        mut may_yet_learn: impl FnMut(&Facts) -> bool,
    ) -> Option<Facts> {
        loop {
            let facts = self.next_due(until_ns)?;
            let longer_ns = facts.at_ns.saturating_add(RECONNECT_WAIT_NS);
            if until_ns >= longer_ns || !may_yet_learn(&facts) {
                return Some(facts);
            }
            self.hold(facts, RECONNECT_WAIT_NS);
        }
    }

    /// The first one that is due by `until_ns`.
    fn next_due(&mut self, until_ns: u64) -> Option<Facts> {
        let event = self.events.keys().next().copied();
        let spot = match (event, self.sent.due_ns()) {
            (Some(due), sent) if sent.is_none_or(|sent| due.0 <= sent) => {
                (due.0 <= until_ns).then_some(Spot::Event(due))
            }
            (_, Some(due)) => (due <= until_ns).then_some(Spot::Queue(self.sent.first)),
            _ => None,
        }?;
        let facts = self.take(spot)?;
        Some(self.join_close(facts))
    }

    fn hold(&mut self, facts: Facts, wait_ns: u64) {
        self.admitted += 1;
        let due = (facts.at_ns.saturating_add(wait_ns), self.admitted);
        if !is_refusal(&facts) {
            self.endings.hold(&facts, due.0);
        }
        if facts.is_close() {
            self.superseded.entry(facts.tuple()).or_default().push(due);
        }
        self.ends.add(&facts, Spot::Event(due));
        self.events.insert(due, facts);
    }

    /// Holds an event no longer.
    fn take(&mut self, spot: Spot) -> Option<Facts> {
        let facts = match spot {
            Spot::Event(due) => self.events.remove(&due)?,
            Spot::Queue(number) => self.sent.take(number)?,
        };
        self.ends.remove(&facts, spot);
        if let Spot::Event(due) = spot
            && facts.is_close()
        {
            self.forget(facts.tuple(), due);
        }
        Some(facts)
    }

    /// The held record of the other end of the same connection, of the same ending.
    fn other_end(&self, facts: &Facts) -> Option<Spot> {
        let spot = self.ends.other_end(facts)?;
        let held = match spot {
            Spot::Event(due) => self.events.get(&due),
            Spot::Queue(number) => self.sent.get(number),
        };
        held.filter(|held| are_one(held, facts)).map(|_| spot)
    }

    /// A RST with the record of the other end; `None` where that is held for longer.
    ///
    /// The receiver's may come first: kernel: `tcp_send_active_reset` is traced after the RST
    /// has gone through loopback (6.18).
    fn join_reset(&mut self, facts: Facts) -> Option<Facts> {
        if !matches!(facts.kind, Kind::ResetSent | Kind::ResetReceived) {
            return Some(facts);
        }
        let Some(spot) = self.other_end(&facts) else {
            return Some(facts);
        };
        if facts.kind == Kind::ResetReceived {
            let other = self.take(spot)?;
            return Some(join(facts, other));
        }
        if let Spot::Event(due) = spot
            && let Some(receiver) = self.events.get_mut(&due)
        {
            self.ends.remove(receiver, spot);
            receiver.other_end = Some(Box::new(facts));
        }
        None
    }

    /// The FIN of a client that gave up with the record of the other end. At the client the end
    /// of its socket follows at once.
    fn join_given_up(&mut self, facts: Facts) -> Facts {
        if facts.kind != Kind::GaveUp {
            return facts;
        }
        let other = self.other_end(&facts).and_then(|spot| self.take(spot));
        match other {
            Some(other) => join(facts, other),
            None => facts,
        }
    }

    /// A FIN, or the end of a socket, with the record of the other end.
    fn join_close(&mut self, facts: Facts) -> Facts {
        if !facts.is_close() {
            return facts;
        }
        let other = self.other_end(&facts).and_then(|spot| self.take(spot));
        match other {
            Some(other) => join(facts, other),
            None => facts,
        }
    }

    /// A connection ends once: its RST, or else its end, replaces the FINs before. Those from
    /// before it began are of another one, that had the same ports.
    fn supersede(&mut self, facts: &Facts) {
        if self.superseded.is_empty() {
            return;
        }
        let tuple = facts.tuple();
        let began_ns = facts.began_ns().unwrap_or(0);
        let mut of_others = Vec::new();
        for due in self.superseded.remove(&tuple).into_iter().flatten() {
            let held = self.events.get(&due);
            if held.is_some_and(|held| held.at_ns < began_ns) {
                of_others.push(due);
            } else if let Some(superseded) = self.events.remove(&due) {
                self.ends.remove(&superseded, Spot::Event(due));
            }
        }
        if !of_others.is_empty() {
            self.superseded.insert(tuple, of_others);
        }
    }

    fn forget(&mut self, tuple: Tuple, due: Due) {
        if let Some(dues) = self.superseded.get_mut(&tuple) {
            dues.retain(|it| *it != due);
            if dues.is_empty() {
                self.superseded.remove(&tuple);
            }
        }
    }
}

/// RSTs that are all held for as long, in order: there may be tens of thousands a second.
#[derive(Debug, Default)]
struct Queue {
    /// Without those that were taken before their turn; the first is there.
    held: VecDeque<Option<Facts>>,
    /// The number of the first.
    first: u64,
}

impl Queue {
    fn next_number(&self) -> u64 {
        self.first + self.held.len() as u64
    }

    fn push(&mut self, facts: Facts) {
        self.held.push_back(Some(facts));
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    fn get(&self, number: u64) -> Option<&Facts> {
        self.held.get(self.index(number)?)?.as_ref()
    }

    fn take(&mut self, number: u64) -> Option<Facts> {
        let index = self.index(number)?;
        let facts = self.held.get_mut(index)?.take();
        while matches!(self.held.front(), Some(None)) {
            self.held.pop_front();
            self.first += 1;
        }
        if self.held.is_empty() && self.held.capacity() > FEW_SENT {
            // A flood is over.
            self.held = VecDeque::new();
        }
        facts
    }

    fn due_ns(&self) -> Option<u64> {
        let first = self.held.front()?.as_ref()?;
        Some(first.at_ns.saturating_add(SENT_WAIT_NS))
    }
}
