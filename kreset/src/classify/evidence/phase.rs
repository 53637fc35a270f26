//! Connections that ended before their first exchange did: how far they had
//! come, and which side ended them. The causes are told apart by the first
//! bytes, the TLS alert and SASL.

use super::{Observation, broker_fin};
use crate::{
    classify::{
        case::Case,
        class::Class,
        phase::{Phase, first_request_unseen},
        weights::{HANDSHAKE, HARD, PROCESS_ENDED, STOPPED},
    },
    event::Role,
    facts::{Kind, State},
};

/// All causes of the handshake phase but `refused`.
pub(super) const HANDSHAKES: &[Class] = &[
    Class::PlaintextToTls,
    Class::TlsToPlaintext,
    Class::NotKafka,
    Class::TlsAlert,
    Class::Authentication,
    Class::ClosedByBroker,
];

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.phase.is_handshake() || case.facts.state == Some(State::SynSent) || case.gave_up() {
        return None;
    }
    let told = Observation::new("phase", case.phase.as_str());
    let by_broker = ended_by_broker(case);
    let reaped = by_broker && broker_fin::reaped_unanswered(case);
    // Whatever the client had said, it was not turned away for it.
    let ended = if by_broker && case.facts.broker_exited() {
        Some(PROCESS_ENDED)
    } else {
        (by_broker && !reaped && stopped(case)).then_some(STOPPED)
    };
    let told = match ended {
        Some(weight) => told
            .weigh(HARD, &[Class::BrokerShutdown])
            .weigh(weight, &[Class::BrokerShutdown]),
        None => told,
    };
    Some(match case.phase {
        _ if reaped => told.weigh(HARD, &[Class::BrokerIdleClose]),
        Phase::Connecting => told.weigh(
            HARD,
            &[if by_broker {
                Class::ClosedByBroker
            } else {
                Class::Probe
            }],
        ),
        Phase::Silent if by_broker => told.weigh(HARD, &[Class::ClosedByBroker]),
        Phase::Silent => told.weigh(HARD, &[Class::Probe]),
        _ if by_broker => {
            let told = told.weigh(HARD, HANDSHAKES);
            // Who has not seen the first bytes has no reason to prefer any.
            let packets = case.facts.packets.as_ref();
            if packets.is_some_and(|packets| !first_request_unseen(case.facts, packets)) {
                told.weigh(HANDSHAKE, &[Class::ClosedByBroker])
            } else {
                told
            }
        }
        // The client gave up. TLS and SASL tell why; plaintext does not.
        Phase::Tls | Phase::Sasl => told.weigh(HARD, HANDSHAKES),
        _ if case.client_closed_first() => told.weigh(HARD, &[Class::LateData]),
        _ => told.weigh(HARD, &[Class::ClientAborted]),
    })
}

/// As a client sees it: connections in use ended with this one, or nobody listens
/// since. A hop that resets this one resets those as well.
fn stopped(case: &Case<'_>) -> bool {
    /// Others that are no coincidence.
    const SEVERAL: usize = 2;
    let company = case.context.company;
    case.is_client() && !case.is_early_hop() && (company.refused_since || company.used >= SEVERAL)
}

/// The broker's side ended the connection: its FIN or its RST came first.
fn ended_by_broker(case: &Case<'_>) -> bool {
    match case.facts.fin {
        Some(fin) => fin.by_peer == (case.facts.role == Role::Client),
        None => (case.facts.kind == Kind::ResetSent) != case.is_client(),
    }
}
