//! A beginning that was not observed: without its packets, a socket that answered
//! and was answered a few times may have been in use, or still in TLS or SASL. And one that TLS
//! hides: what the broker said last may be a session ticket, or the first answer.

use super::{Observation, kernel_reason::own_abort};
use crate::classify::{
    case::Case,
    class::Class,
    phase::{Phase, hides_first_answer},
    weights::{HARD, LIVE_SOCKET, UNREAD_AT_CLOSE},
};

/// What ends in the middle of an exchange that goes both ways.
const UNSEEN: &[Class] = &[Class::TlsAlert, Class::Authentication];

/// A broker that serves no client ends the connection this soon after it spoke, ms.
const AT_ONCE_MS: f64 = 1_000.0;

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    let closed_early = case.sent()
        && case
            .context
            .closing
            .is_some_and(|closing| closing.may_be_handshake);
    let unseen = closed_early || case.may_be_handshake();
    let packets = case.facts.packets.as_ref();
    let hidden = case.phase == Phase::InUse
        && packets.is_some_and(|packets| hides_first_answer(case.facts, packets))
        && case
            .facts
            .idle
            .is_none_or(|idle| idle.data_ms <= AT_ONCE_MS);
    if case.facts.by_exit || !(unseen || hidden) {
        return None;
    }
    let live = case
        .facts
        .counters
        .is_some_and(|counters| counters.reset_timestamps == Some(true));
    let after_fin = case.facts.fin.is_some_and(|fin| fin.by_peer);
    // As much as a connection in use gets for the same facts.
    let weight = match (case.sent(), case.received()) {
        (true, _) if case.facts.trigger.is_none() => HARD + own_abort(case).1,
        (true, _) => HARD,
        (_, true) if after_fin && live => HARD + UNREAD_AT_CLOSE,
        (_, true) if after_fin => HARD,
        (_, true) if live => HARD + LIVE_SOCKET,
        _ => return None,
    };
    Some(if unseen {
        Observation::new("beginning", "not seen, and soon over").weigh(weight, UNSEEN)
    } else {
        Observation::new("beginning", "a session ticket, or an answer")
            .weigh(weight, &[Class::ClosedByBroker])
    })
}
