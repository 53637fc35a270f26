//! Events that were written, and that the client's next attempt to connect may correct.
//!
//! A RST is reported within a fraction of a second; but brokers come back to each other
//! after a second (`replica.fetch.backoff.ms`), and only then are they refused by one that
//! has died.

use std::collections::VecDeque;

use crate::{
    classify::context::{Concurrent, REFUSAL_NS},
    event::{Cause, Finding, Id, Role, Verdict},
    facts::{Facts, Kind, State},
};

/// Events remembered.
const EVENTS: usize = 256;

/// An event that was written.
#[derive(Clone, Debug)]
pub struct Correctable {
    /// What it was judged on.
    pub facts: Facts,
    /// Its id.
    pub id: Id,
    /// What it said.
    pub finding: Finding,
}

/// The latest of them, oldest first.
#[derive(Debug, Default)]
pub struct Corrections(VecDeque<Correctable>);

/// Whether the next attempt to connect may show more of an event than was known when it was
/// judged: this host is the client, and has not tried since.
#[must_use]
pub fn is_open(facts: &Facts, concurrent: &Concurrent, finding: &Finding) -> bool {
    let unknown = !concurrent.refused && !concurrent.accepted;
    let is_shutdown =
        finding.verdict == Verdict::BrokerOriginated && finding.cause == Some(Cause::Shutdown);
    facts.kind == Kind::ResetReceived
        && facts.role == Role::Client
        && facts.state != Some(State::SynSent)
        && unknown
        && !is_shutdown
}

impl Corrections {
    /// Remembers an event.
    pub fn add(&mut self, written: Correctable) {
        if self.0.len() == EVENTS {
            self.0.pop_front();
        }
        self.0.push_back(written);
    }

    /// The events that `facts` may change, if those are of an attempt to connect that was
    /// refused. Each is given out once; one that was accepted settles them as they are.
    pub fn affected_by(&mut self, facts: &Facts) -> Vec<Correctable> {
        if self.0.is_empty() || facts.role != Role::Client {
            return Vec::new();
        }
        let is_refusal = facts.kind == Kind::ResetReceived && facts.state == Some(State::SynSent);
        if !is_refusal && facts.kind != Kind::Established {
            return Vec::new();
        }
        let mut affected = Vec::new();
        let since_ns = facts.at_ns.saturating_sub(REFUSAL_NS);
        for written in std::mem::take(&mut self.0) {
            if written.facts.at_ns < since_ns {
                continue;
            }
            if written.facts.path() != facts.path() {
                self.0.push_back(written);
            } else if is_refusal {
                affected.push(written);
            }
        }
        affected
    }
}
