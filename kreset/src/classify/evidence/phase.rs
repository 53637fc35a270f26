//! Connections that ended before their first exchange did: how far they had
//! come, and which side ended them. The causes are distinguished by the first
//! bytes, the TLS alert and SASL.

use super::{Basis, Observation, broker_fin, sasl, tls_alert};
use crate::{
    classify::{
        case::Case,
        class::Class,
        context::ProcessEnd,
        phase::{Phase, first_request_unseen},
        weights::{HANDSHAKE, HARD, PROCESS_ENDED, STOP_ASKED, STOPPED},
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
    let by_broker = ended_by_broker(case);
    let observation = Observation::new("phase", case.phase.as_str()).on(basis(case, by_broker));
    let reaped = by_broker && broker_fin::reaped_unanswered(case);
    // Whatever the client had said, it was not turned away for it.
    let ended = if by_broker && case.facts.broker_exited() {
        Some(PROCESS_ENDED)
    } else if by_broker && !case.is_client() && is_going(case) {
        Some(STOP_ASKED)
    } else {
        (by_broker && !reaped && stopped(case)).then_some(STOPPED)
    };
    let observation = match ended {
        Some(weight) => observation
            .weigh(HARD, &[Class::BrokerShutdown])
            .weigh(weight, &[Class::BrokerShutdown]),
        None => observation,
    };
    Some(match case.phase {
        _ if reaped => observation.weigh(HARD, &[Class::BrokerIdleClose]),
        Phase::Connecting => observation.weigh(
            HARD,
            &[if by_broker {
                Class::ClosedByBroker
            } else {
                Class::Probe
            }],
        ),
        Phase::Silent if by_broker => observation.weigh(HARD, &[Class::ClosedByBroker]),
        Phase::Silent => observation.weigh(HARD, &[Class::Probe]),
        _ if by_broker => {
            let observation = observation.weigh(HARD, HANDSHAKES);
            // A host that does not know the flow, moved to it by a balancer, answers as
            // barely as a listener.
            let observation = if case.received() && case.facts.reset_is_live() == Some(false) {
                observation.weigh(HARD, &[Class::NotIdle])
            } else {
                observation
            };
            // Who has not seen the first bytes has no reason to prefer any.
            let packets = case.facts.packets.as_ref();
            if packets.is_some_and(|packets| !first_request_unseen(case.facts, packets)) {
                observation.weigh(HANDSHAKE, &[Class::ClosedByBroker])
            } else {
                observation
            }
        }
        // The client gave up. TLS, SASL and a foreign answer show why; a request that
        // was not answered does not.
        Phase::Tls if tls_alert::gave_up(case) => observation.weigh(HARD, &[Class::LateData]),
        Phase::Sasl if sasl::gave_up(case) => observation.weigh(HARD, &[Class::LateData]),
        Phase::Foreign | Phase::Tls | Phase::Sasl => observation.weigh(HARD, HANDSHAKES),
        _ if case.client_closed_first() => observation.weigh(HARD, &[Class::LateData]),
        _ => observation.weigh(HARD, &[Class::ClientAborted]),
    })
}

/// The broker's process on this host had been asked to end.
fn is_going(case: &Case<'_>) -> bool {
    let end = case.context.process_end.as_ref();
    case.facts.id.is_some() && end.is_some_and(ProcessEnd::is_going)
}

/// This host's kernel names its own socket; the peer's shows by a FIN or a live RST,
/// and of a bare one only the moment is known. The broker's reason is not in it.
fn basis(case: &Case<'_>, by_broker: bool) -> Basis {
    if case.facts.broker_exited() || (case.sent() && !by_broker) {
        Basis::Named
    } else if case.received()
        && case.facts.fin.is_none()
        && case.facts.reset_is_live() == Some(false)
    {
        Basis::Absence
    } else {
        Basis::Shown
    }
}

/// As a client sees it: connections in use ended with this one, or no socket listens
/// since. A hop that resets this one resets those as well.
fn stopped(case: &Case<'_>) -> bool {
    /// Others that are no coincidence.
    const SEVERAL: usize = 2;
    let concurrent = case.context.concurrent;
    case.is_client()
        && !case.may_be_forged_early()
        && (concurrent.refused_since || concurrent.used >= SEVERAL)
}

/// The broker's side ended the connection: its FIN or its RST came first.
fn ended_by_broker(case: &Case<'_>) -> bool {
    match case.facts.fin {
        Some(fin) => fin.by_peer == (case.facts.role == Role::Client),
        None => (case.facts.kind == Kind::ResetSent) != case.is_client(),
    }
}
