//! The state that the RST found the connection in: the first split.

use super::{FORGED, Observation};
use crate::{
    classify::{
        case::Case,
        class::Class,
        phase::Phase,
        weights::{HARD, NOT_IDLE_ALONE, SHUTDOWN_ALONE},
    },
    facts::State,
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.received() {
        return None;
    }
    let state = case.facts.state?;
    let told = Observation::new("state", state.as_str());
    Some(match case.phase {
        _ if state == State::SynSent => told.weigh(HARD, &[Class::Refused]),
        _ if case.broker_closed_first() && case.is_client() && !case.phase.is_handshake() => told
            .weigh(
                HARD,
                &[
                    Class::BrokerIdleClose,
                    Class::BrokerShutdown,
                    Class::BrokerAborted,
                ],
            ),
        _ if case.client_closed_first() && !case.is_client() => {
            told.weigh(HARD, &[Class::LateData])
        }
        _ if case.is_early_hop() => told
            .weigh(HARD, FORGED)
            .weigh(NOT_IDLE_ALONE, &[Class::NotIdle]),
        phase if phase.is_handshake() => told,
        _ if case.is_client() => told
            .weigh(HARD, FORGED)
            .weigh(
                HARD,
                &[
                    Class::BrokerLost,
                    Class::BrokerAborted,
                    Class::BrokerShutdown,
                ],
            )
            .weigh(SHUTDOWN_ALONE, &[Class::BrokerShutdown])
            .weigh(NOT_IDLE_ALONE, &[Class::NotIdle]),
        Phase::InUse | Phase::Unknown => told
            .weigh(HARD, FORGED)
            .weigh(HARD, &[Class::ClientAborted, Class::ClientLost])
            .weigh(NOT_IDLE_ALONE, &[Class::NotIdle]),
        _ => told,
    })
}
