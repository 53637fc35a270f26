//! Events that wait for company before they are judged.
//!
//! Connections of one broker end within tens of milliseconds of each other,
//! clients reconnect as fast, and a FIN is often followed by the RST that is
//! the event proper.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::{
    event::Role,
    facts::{Facts, Kind, State, Tuple},
};

/// How long a RST waits. Well under the 100 ms within which it must be out.
const RESET_WAIT_NS: u64 = 60_000_000;
/// How long an answer of no socket waits: to a packet that comes while the socket
/// itself sends a RST, or while its process ends (kernel: `__tcp_close` takes the
/// socket out of the table before `tcp_send_active_reset`; 6.18).
const ANSWER_WAIT_NS: u64 = 10_000_000;
/// Room for so many of them stays.
const FEW_ANSWERS: usize = 256;
/// How long the end of a socket waits for a RST that is decoded after it.
const CLOSED_WAIT_NS: u64 = 60_000_000;
/// How long a FIN in the handshake waits for a RST, or for the socket to end:
/// the client may write once more before it notices.
const FIN_WAIT_NS: u64 = 1_000_000_000;

/// When an event is due, monotonic ns, and its number.
type Place = (u64, u64);

/// The events that wait, by when they are due.
#[derive(Debug, Default)]
pub struct Waiting {
    events: BTreeMap<Place, Facts>,
    /// Answers of no socket, as they came: there may be tens of thousands a second.
    answers: VecDeque<Facts>,
    /// Where those are that the end of their connection supersedes: with
    /// thousands waiting, none is looked for one by one.
    superseded: HashMap<Tuple, Vec<Place>>,
    admitted: u64,
}

impl Waiting {
    /// Takes an event in: gives it back if it is to be judged at once. What is
    /// no event of its own is dropped; what a new event supersedes leaves.
    pub fn admit(&mut self, facts: Facts) -> Option<Facts> {
        let wait_ns = match facts.kind {
            Kind::ResetReceived if facts.state == Some(State::SynSent) => 0,
            Kind::ResetReceived => RESET_WAIT_NS,
            // Its receiver is on this host, and is told right after: whether
            // that is this process decides whether this is an event at all.
            Kind::ResetSent if facts.local.address == facts.remote.address => RESET_WAIT_NS,
            // A broker that stops closes one connection after the other. Where
            // its process is at its end already, there is nothing to wait for,
            // and soon nothing to name it by.
            Kind::ResetSent
                if facts.role == Role::Broker && facts.trigger.is_none() && !facts.by_exit =>
            {
                RESET_WAIT_NS
            }
            Kind::ResetSent if facts.is_answer() => {
                self.supersede(&facts);
                self.answers.push_back(facts);
                return None;
            }
            Kind::ResetSent | Kind::Timeout => 0,
            Kind::Fin => FIN_WAIT_NS,
            Kind::Closed => CLOSED_WAIT_NS,
            Kind::Established | Kind::Survived => return None,
        };
        self.supersede(&facts);
        if wait_ns == 0 {
            return Some(facts);
        }
        self.admitted += 1;
        let place = (facts.at_ns.saturating_add(wait_ns), self.admitted);
        if is_ending(&facts) {
            self.superseded
                .entry(facts.tuple())
                .or_default()
                .push(place);
        }
        self.events.insert(place, facts);
        None
    }

    /// When the first one is due; monotonic ns. An answer of no socket is not
    /// worth waking up for `while_turning`: it is due with the turn.
    #[must_use]
    pub fn due_ns(&self, while_turning: bool) -> Option<u64> {
        let answer = self.answer_due_ns().filter(|_| !while_turning);
        let event = self.events.keys().next().map(|(due, _)| *due);
        [event, answer].into_iter().flatten().min()
    }

    /// The first one that is due by `until_ns`.
    pub fn next_due(&mut self, until_ns: u64) -> Option<Facts> {
        let event = self.events.keys().next().map(|(due, _)| *due);
        if let Some(due) = self.answer_due_ns()
            && event.is_none_or(|event| due < event)
        {
            return if due <= until_ns {
                self.next_answer()
            } else {
                None
            };
        }
        let first = self.events.first_entry()?;
        if first.key().0 > until_ns {
            return None;
        }
        let (place, facts) = first.remove_entry();
        if is_ending(&facts) {
            self.forget(facts.tuple(), place);
        }
        Some(facts)
    }

    fn next_answer(&mut self) -> Option<Facts> {
        let answer = self.answers.pop_front();
        if self.answers.is_empty() && self.answers.capacity() > FEW_ANSWERS {
            // A flood is over.
            self.answers = VecDeque::new();
        }
        answer
    }

    fn answer_due_ns(&self) -> Option<u64> {
        let first = self.answers.front()?;
        Some(first.at_ns.saturating_add(ANSWER_WAIT_NS))
    }

    /// A connection ends once: its RST, or else its end, stands for the FINs
    /// that went before.
    fn supersede(&mut self, facts: &Facts) {
        if self.superseded.is_empty() {
            return;
        }
        for place in self.superseded.remove(&facts.tuple()).into_iter().flatten() {
            self.events.remove(&place);
        }
    }

    fn forget(&mut self, tuple: Tuple, place: Place) {
        if let Some(places) = self.superseded.get_mut(&tuple) {
            places.retain(|it| *it != place);
            if places.is_empty() {
                self.superseded.remove(&tuple);
            }
        }
    }
}

const fn is_ending(facts: &Facts) -> bool {
    matches!(facts.kind, Kind::Fin | Kind::Closed)
}
