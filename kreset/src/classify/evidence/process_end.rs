//! How the broker's process on this host ended, or that it was asked to: what its own end of a
//! connection does then is part of that.

use super::{Basis, Observation, kernel_reason::drawn_by_syn};
use crate::{
    classify::{
        case::Case,
        class::Class,
        context::ProcessEnd,
        process_end,
        weights::{PROCESS_ENDED, STOP_ASKED},
    },
    facts::State,
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    let end = case.context.process_end.as_ref()?;
    let observation = Observation::new("process_end", process_end::sentence(end));
    if !explains(case, end) {
        return Some(observation);
    }
    let weight = if end.is_over() {
        PROCESS_ENDED
    } else {
        STOP_ASKED
    };
    Some(
        observation
            .weigh(weight, &[Class::BrokerShutdown])
            .on(Basis::Named),
    )
}

/// The broker's own end of a connection in use was closed or reset by the broker, or this host
/// answered in its place, while it went.
fn explains(case: &Case<'_>, end: &ProcessEnd) -> bool {
    if case.is_client() || case.phase.is_handshake() || !end.is_going() || drawn_by_syn(case) {
        return false;
    }
    if case.facts.is_answer() {
        return end.is_over() && case.facts.is_had() && case.facts.state != Some(State::Listen);
    }
    case.broker_closed_first()
        || (case.sent() && case.facts.trigger.is_none() && !case.client_closed_first())
}
