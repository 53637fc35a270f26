//! Connections that ended before their first exchange did. What the first
//! bytes tell of the cause is in rules of their own.

use super::Observation;
use crate::{
    classify::{case::Case, class::Class, phase::Phase, weights::HARD},
    facts::Kind,
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.phase.is_handshake() || case.phase == Phase::Connecting {
        return None;
    }
    let told = Observation::new("phase", case.phase.as_str());
    let by_broker = ended_by_broker(case);
    Some(match case.phase {
        Phase::Silent if by_broker => told.weigh(HARD, &[Class::ClosedByBroker]),
        Phase::Silent => told.weigh(HARD, &[Class::Probe]),
        _ if by_broker => told.weigh(HARD, &[Class::ClosedByBroker]),
        _ => told.weigh(HARD, &[Class::ClientAborted]),
    })
}

/// The broker's side ended the connection: its FIN or its RST came first.
fn ended_by_broker(case: &Case<'_>) -> bool {
    match case.facts.fin {
        Some(_) => case.broker_closed_first(),
        None => (case.facts.kind == Kind::ResetSent) != case.is_client(),
    }
}
