//! No RST at all: what was sent after a silence went unanswered until the
//! kernel, or the application, gave up.

use super::{Observation, state::is_timeout};
use crate::classify::{
    case::Case,
    class::Class,
    weights::{BUSY, HARD, LONG_IDLE, SOME_IDLE, VERY_LONG_IDLE},
};

/// A peer whose host has died is as silent as a device that drops. Rate.
const HOST_DIED: f64 = -1.2;
/// Silent for less than this, the connection was in use, ms.
const BUSY_MS: f64 = 1_000.0;

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !is_timeout(case) {
        return None;
    }
    let idle_ms = case.facts.idle?.wire_ms;
    let retransmits = case.facts.counters?.retransmits;
    let value = format!("unanswered after {idle_ms:.0} ms of silence, {retransmits} timeouts");
    let lost = if case.is_client() {
        Class::BrokerLost
    } else {
        Class::ClientLost
    };
    // A path that died under a busy flow is no idle drop, and looks like a host
    // that died: there is no telling.
    let died = if idle_ms < BUSY_MS { BUSY } else { HOST_DIED };
    let weight = match idle_ms {
        ms if ms < BUSY_MS => BUSY,
        ms if ms < 10_000.0 => SOME_IDLE,
        ms if ms < 60_000.0 => LONG_IDLE,
        _ => VERY_LONG_IDLE,
    };
    Some(
        Observation::new("timeout", value)
            .weigh(HARD, &[Class::Blackholed, lost])
            .weigh(weight, &[Class::Blackholed])
            .weigh(died, &[lost]),
    )
}
