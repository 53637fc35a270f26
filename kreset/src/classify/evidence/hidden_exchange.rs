//! A SASL exchange inside TLS, which only its ends can read: the broker turns a
//! client away with an orderly close, and soon.

use super::{Basis, Observation, kernel_reason::CLOSED};
use crate::{
    classify::{
        case::Case,
        class::Class,
        phase::{TLS_CLOSE_NOTIFY_AT_MOST, TLS_RESTED_MS},
        weights::{HARD, HIDDEN_SASL, HIDDEN_SASL_CONCURRENT},
    },
    facts::Kind,
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !is_hidden(case) {
        return None;
    }
    // A broker that stops closes others as well, and connections that are in use.
    let weight = if case.context.concurrent.count == 0 && !had_paused(case) {
        HIDDEN_SASL
    } else {
        HIDDEN_SASL_CONCURRENT
    };
    let observation = Observation::new("hidden_exchange", "in TLS, and soon closed by the broker")
        .weigh(HARD, &[Class::Authentication])
        .weigh(weight, &[Class::Authentication])
        .on(Basis::Shown);
    Some(if ended_by_fins(case) {
        // No RST shows that there was more to it than a close.
        observation.weigh(HARD, CLOSED)
    } else {
        observation
    })
}

/// The connection came through a pause that no login takes. Measured: 0.6 s, where a Java client
/// did its first TLS handshake on a busy host.
fn had_paused(case: &Case<'_>) -> bool {
    let packets = case.facts.packets.as_ref();
    packets.is_some_and(|packets| packets.survived_ms.is_some_and(|ms| ms >= TLS_RESTED_MS))
}

/// Both sides closed in order.
const fn ended_by_fins(case: &Case<'_>) -> bool {
    matches!(case.facts.kind, Kind::Fin | Kind::Closed)
}

/// Others that were closed about then may have failed likewise: they are no burst.
pub(super) fn is_hidden(case: &Case<'_>) -> bool {
    let closed_early = case
        .context
        .closing
        .is_some_and(|closing| closing.may_be_sasl);
    let may_be = closed_early || case.may_be_hidden_sasl();
    may_be
        && if ended_by_fins(case) {
            !client_left_first(case)
        } else {
            is_late_answer(case)
        }
}

/// The broker's last words answered the client's `close_notify`.
fn client_left_first(case: &Case<'_>) -> bool {
    case.facts.packets.as_ref().is_some_and(|packets| {
        packets.broker_spoke_last && packets.latest_request_len <= TLS_CLOSE_NOTIFY_AT_MOST
    })
}

/// The broker had closed in order, and answers what came too late. A broker reads what
/// a client has sent before it turns it away, so that it does not abort, unless the client
/// answers its `close_notify` before its socket is closed.
fn is_late_answer(case: &Case<'_>) -> bool {
    if case.aborted_on_close_notify() {
        true
    } else if case.is_client() {
        // Or the client closes with the broker's `close_notify` unread.
        (case.received() && case.facts.reset_is_live() == Some(false))
            || (case.sent() && case.broker_closed_first())
    } else {
        case.is_rejected_client()
            || (case.sent() && case.facts.trigger.is_some() && !case.facts.by_exit)
    }
}
