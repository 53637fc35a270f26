//! The state that the RST found the connection in: the first split.

use super::{Basis, FORGED, Observation};
use crate::{
    classify::{
        case::Case,
        class::Class,
        phase::Phase,
        weights::{HARD, MOVED_ALONE, NOT_IDLE_ALONE, REBOUND_ALONE, SHUTDOWN_ALONE},
    },
    facts::State,
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.received() {
        return None;
    }
    let state = case.facts.state?;
    let observation = Observation::new("state", state.as_str());
    let observation = match case.phase {
        _ if state == State::SynSent => {
            return Some(observation.weigh(HARD, &[Class::Refused]).on(Basis::Named));
        }
        _ if case.broker_closed_first() && case.is_client() && !case.phase.is_handshake() => {
            let closed = &[
                Class::BrokerIdleClose,
                Class::BrokerShutdown,
                Class::BrokerClosed,
                Class::BrokerAborted,
            ];
            return Some(observation.weigh(HARD, closed).on(Basis::Shown));
        }
        _ if case.client_closed_first() && !case.is_client() && case.phase != Phase::Foreign => {
            return Some(observation.weigh(HARD, &[Class::LateData]).on(Basis::Shown));
        }
        _ if case.is_rejected_client() => return Some(observation),
        _ if case.may_be_forged_early() => {
            let observation = observation.weigh(HARD, FORGED);
            return Some(observation.weigh(NOT_IDLE_ALONE, &[Class::NotIdle]));
        }
        phase if phase.is_handshake() => return Some(observation),
        _ if case.is_client() => observation
            .weigh(HARD, FORGED)
            .weigh(
                HARD,
                &[
                    Class::BrokerLost,
                    Class::BrokerAborted,
                    Class::BrokerShutdown,
                ],
            )
            .weigh(SHUTDOWN_ALONE, &[Class::BrokerShutdown]),
        Phase::InUse | Phase::Unknown => observation
            .weigh(HARD, FORGED)
            .weigh(HARD, &[Class::ClientAborted, Class::ClientLost]),
        Phase::Connecting
        | Phase::Silent
        | Phase::Unanswered
        | Phase::Foreign
        | Phase::Tls
        | Phase::Sasl
        | Phase::Second => return Some(observation),
    };
    Some(by_another_host(observation))
}

/// What applies to both ends: the RST of a host that never had the connection looks like
/// that of one which lost it.
fn by_another_host(observation: Observation) -> Observation {
    observation
        .weigh(NOT_IDLE_ALONE, &[Class::NotIdle])
        .weigh(HARD, &[Class::Moved, Class::Rebound])
        .weigh(MOVED_ALONE, &[Class::Moved])
        .weigh(REBOUND_ALONE, &[Class::Rebound])
}
