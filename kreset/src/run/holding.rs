//! Holds events briefly so that related ones can be correlated.
//!
//! Connections of one broker end within tens of milliseconds of each other,
//! clients reconnect as fast, and a FIN is often followed by the RST that is
//! the event to report.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::{
    event::Role,
    facts::{Facts, Kind, State, Tuple},
};

/// How long a RST is held. Well under the 100 ms within which it must be reported.
const RESET_WAIT_NS: u64 = 60_000_000;
/// How long a RST is held whose cause a reconnect may still show: clients come back after
/// 50 ms (`reconnect.backoff.ms` of Kafka's own) to 150 ms (librdkafka's, of 100 ms, and
/// half of it by chance).
const RECONNECT_WAIT_NS: u64 = 250_000_000;
/// How long a RST that no socket sent is held: to a packet that comes while the socket
/// itself sends a RST, or while its process ends (kernel: `__tcp_close` takes the
/// socket out of the table before `tcp_send_active_reset`; 6.18).
const ANSWER_WAIT_NS: u64 = 10_000_000;
/// The queue of such RSTs keeps room for this many.
const FEW_ANSWERS: usize = 256;
/// How long the end of a socket is held for a RST that is decoded after it.
const CLOSED_WAIT_NS: u64 = 60_000_000;
/// How long a FIN in the handshake is held for a RST, or for the socket to end:
/// the client may write once more before it notices.
const FIN_WAIT_NS: u64 = 1_000_000_000;

/// When an event is due, monotonic ns, and its number.
type Due = (u64, u64);

/// The held events, by when they are due.
#[derive(Debug, Default)]
pub struct Holding {
    events: BTreeMap<Due, Facts>,
    /// RSTs that no socket sent, in order: there may be tens of thousands a second.
    answers: VecDeque<Facts>,
    /// The events that the end of their connection supersedes, by connection: with
    /// thousands held, a search would be too slow.
    superseded: HashMap<Tuple, Vec<Due>>,
    admitted: u64,
}

impl Holding {
    /// Holds an event, or returns it if it is to be judged at once. Records that
    /// are not events are dropped, as are events that this one supersedes.
    pub fn admit(&mut self, facts: Facts) -> Option<Facts> {
        let wait_ns = match facts.kind {
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
        let due = (facts.at_ns.saturating_add(wait_ns), self.admitted);
        if is_ending(&facts) {
            self.superseded.entry(facts.tuple()).or_default().push(due);
        }
        self.events.insert(due, facts);
        None
    }

    /// When the first one is due; monotonic ns. A RST that no socket sent is not
    /// worth waking up for `while_turning`: it is released at the turn's end.
    #[must_use]
    pub fn due_ns(&self, while_turning: bool) -> Option<u64> {
        let answer = self.answer_due_ns().filter(|_| !while_turning);
        let event = self.events.keys().next().map(|(due, _)| *due);
        [event, answer].into_iter().flatten().min()
    }

    /// The first one that is due by `until_ns`.
    fn next_due(&mut self, until_ns: u64) -> Option<Facts> {
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
        let (due, facts) = first.remove_entry();
        if is_ending(&facts) {
            self.forget(facts.tuple(), due);
        }
        Some(facts)
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
            self.admitted += 1;
            self.events.insert((longer_ns, self.admitted), facts);
        }
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

    /// A connection ends once: its RST, or else its end, replaces the FINs before.
    fn supersede(&mut self, facts: &Facts) {
        if self.superseded.is_empty() {
            return;
        }
        for due in self.superseded.remove(&facts.tuple()).into_iter().flatten() {
            self.events.remove(&due);
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

const fn is_ending(facts: &Facts) -> bool {
    matches!(facts.kind, Kind::Fin | Kind::Closed)
}
