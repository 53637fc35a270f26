//! What one host remembers between events, so that an event can be judged together
//! with related ones. Pure: time is the events' own.

mod closings;
mod endings;
mod paths;
mod processes;
mod senders;

pub use closings::{Closing, Closings};
pub use endings::{Concurrent, Endings, REFUSAL_NS};
pub use paths::{Death, PathView, Paths, alike};
pub use processes::{Fate, ProcessEnd, Processes, Request};

use senders::Senders;

use smol_str::SmolStr;

use super::{case::Case, class::Class};
use crate::facts::{
    Facts, Kind, PathKey, State,
    process::{Memory as MemoryOfProcess, ProcessFacts, ProcessId},
};

/// Everything remembered. Bounded: the least recently used goes first, and is
/// counted.
#[derive(Debug, Default)]
pub struct Memory {
    paths: Paths,
    endings: Endings,
    closings: Closings,
    senders: Senders,
    processes: Processes,
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
    /// If the other end is on this host and sent the RST, what follows for it.
    pub other_end: Option<OtherEnd>,
    /// What became of the broker's process, where that is on this host.
    pub process_end: Option<ProcessEnd>,
}

/// What the end of a connection makes of the RST that it sent to the other end on this host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OtherEnd {
    /// Every class with its share.
    pub shares: Vec<(Class, f64)>,
    /// Why it was sent, in the kernel's words.
    pub why: SmolStr,
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
                // Many at once, drawn on purpose, say nothing about other connections.
                if facts.kreset_probe().is_none() {
                    self.endings.ended(facts);
                }
            }
            Kind::Timeout => {
                self.paths.survived(facts);
                self.endings.unanswered(facts);
            }
            Kind::Closed => self.paths.survived(facts),
            Kind::Unobserved | Kind::GaveUp => {}
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

    /// Takes in that a device reset a connection in use, and others with it.
    pub fn failed_over(&mut self, facts: &Facts) {
        self.paths.failed_over(facts);
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
            process_end: self.processes.of(facts),
        }
    }

    /// Takes in what happened to a process.
    pub fn observe_process(&mut self, facts: &ProcessFacts) {
        self.processes.observe(facts);
    }

    /// Takes in what the host shows of a process's memory.
    pub fn observe_memory(&mut self, process: ProcessId, memory: &MemoryOfProcess) {
        self.processes.observe_memory(process, memory);
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
