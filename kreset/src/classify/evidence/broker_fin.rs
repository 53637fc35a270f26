//! The broker's FIN came first: was it the broker's idle timer, or its end?

use super::{Basis, Observation, concurrent::is_burst, kernel_reason::workers_end};
use crate::classify::{
    case::Case,
    class::Class,
    phase::Phase,
    weights::{
        CLOSED_ALIKE, CLOSED_ALONE, CLOSED_FOR_ITSELF, EXCLUDED, FITS_BROKER_TIMER,
        MISSES_BROKER_TIMER, NOW_REFUSED, ONE_TIMER, OTHER_TIMER, PROCESS_ENDED, ROUND_TIMER,
        STILL_LISTENS, UNREAD_AT_CLOSE,
    },
};

/// Kafka looks at its idle connections once per poll of the network thread,
/// 300 ms at most (`SocketServer.poll`), and an answer may still be under way.
const EARLY_MS: f64 = 50.0;
/// A timer does not close what was silent for less, ms.
const PAUSE_MS: f64 = 1_000.0;
/// How late the broker may be, ms and share of the timer.
const LATE_MS: f64 = 1_500.0;
const LATE_SHARE: f64 = 0.02;

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if case.phase.is_handshake() {
        return None;
    }
    let Some(closing) = case.context.closing else {
        // Sockets are left in CLOSE_WAIT by clients that were not using them.
        return (case.received() && case.is_client() && case.broker_closed_first()).then(|| {
            Observation::new("broker_fin", "before the tracer began")
                .weigh(ONE_TIMER, &[Class::BrokerIdleClose])
        });
    };
    let silence_ms = closing.silence_ms;
    let timer_ms = timer_ms(case);
    let fits = fits_timer(case, silence_ms);
    let value = format!(
        "{silence_ms:.0} ms of silence before the broker's FIN, connections.max.idle.ms is \
         {timer_ms:.0}"
    );
    let concurrent = case.context.concurrent;
    let burst = is_burst(case) || concurrent.refused;
    let observation =
        Observation::new("broker_fin", value).weigh(CLOSED_FOR_ITSELF, &[Class::BrokerClosed]);
    let observation = match closing.listened {
        _ if closing.by_exit || workers_end(case) => observation
            .weigh(PROCESS_ENDED, &[Class::BrokerShutdown])
            .on(Basis::Shown),
        _ if burst => observation,
        Some(true) => observation
            .weigh(STILL_LISTENS, &[Class::BrokerShutdown])
            .on(Basis::Shown),
        Some(false) => observation.weigh(NOW_REFUSED, &[Class::BrokerShutdown]),
        None if concurrent.used > 0 => observation,
        None => observation.weigh(CLOSED_ALONE, &[Class::BrokerShutdown]),
    };
    let paused = silence_ms >= PAUSE_MS;
    let quiet = concurrent.closed_mixed == 0 && !burst;
    Some(if fits {
        observation
            .weigh(FITS_BROKER_TIMER, &[Class::BrokerIdleClose])
            .on(Basis::Shown)
    } else if paused && quiet && concurrent.closes_alike {
        observation
            .weigh(CLOSED_ALIKE, &[Class::BrokerIdleClose])
            .on(Basis::Shown)
    } else if paused && quiet && is_round(silence_ms) {
        observation.weigh(ROUND_TIMER, &[Class::BrokerIdleClose])
    } else if paused && quiet && concurrent.count == 0 {
        observation.weigh(OTHER_TIMER, &[Class::BrokerIdleClose])
    } else if paused && quiet {
        observation.weigh(ONE_TIMER, &[Class::BrokerIdleClose])
    } else {
        observation.weigh(MISSES_BROKER_TIMER, &[Class::BrokerIdleClose])
    })
}

/// A whole number of seconds, as timers are set to: proxies fire within some milliseconds
/// (`HAProxy`'s `timeout client`, `nginx`'s `proxy_timeout`: 4 to 12), and ticks are up to 10.
fn is_round(silence_ms: f64) -> bool {
    const NEAR_MS: f64 = 25.0;
    const LEAST_MS: f64 = 1_900.0;
    let seconds = (silence_ms / 1_000.0).round();
    silence_ms >= LEAST_MS && (silence_ms - seconds * 1_000.0).abs() <= NEAR_MS
}

fn timer_ms(case: &Case<'_>) -> f64 {
    case.config.broker_max_idle.as_secs_f64() * 1_000.0
}

/// The silence before a FIN of the broker's is its idle timer.
pub(in crate::classify) fn fits_timer(case: &Case<'_>, silence_ms: f64) -> bool {
    let timer_ms = timer_ms(case);
    silence_ms >= timer_ms.mul_add(0.99, -EARLY_MS)
        && silence_ms <= timer_ms.mul_add(1.0 + LATE_SHARE, LATE_MS)
}

/// The broker's idle timer closed the connection, whatever was unread.
pub(in crate::classify) fn after_its_timer(case: &Case<'_>) -> bool {
    let closing = case.context.closing;
    closing.is_some_and(|closing| fits_timer(case, closing.silence_ms))
}

/// The broker's idle timer closed a connection that had not got an answer yet:
/// Kafka reaps those that never said a word, and those that it muted, like all
/// others (`Selector.maybeCloseOldestConnection`).
pub(super) fn reaped_unanswered(case: &Case<'_>) -> bool {
    matches!(case.phase, Phase::Silent | Phase::Unanswered)
        && case.facts.fin.is_some_and(|fin| {
            fin.by_peer == case.is_client() && !fin.by_exit && fits_timer(case, fin.silence_ms)
        })
}

/// What came after the broker's FIN: its live socket's abort (it closed with
/// data unread), or the bare answer to a late write of ours.
pub(super) fn reset_after(case: &Case<'_>) -> Option<Observation> {
    if !case.received()
        || !case.is_client()
        || !case.broker_closed_first()
        || case.phase.is_handshake()
    {
        return None;
    }
    if case.aborted_on_close_notify() {
        return Some(
            Observation::new("reset_after_fin", "an abort, with only close_notify unread")
                .weigh(EXCLUDED, &[Class::BrokerAborted]),
        );
    }
    Some(if case.facts.reset_is_live()? {
        let observation =
            Observation::new("reset_after_fin", "an abort of the broker's live socket")
                .weigh(UNREAD_AT_CLOSE, &[Class::BrokerAborted])
                .on(Basis::Shown);
        if after_its_timer(case) {
            // The timer says when, and the unread request why: it had muted the client.
            observation.weigh(-FITS_BROKER_TIMER, &[Class::BrokerIdleClose])
        } else {
            observation
        }
    } else {
        Observation::new("reset_after_fin", "a bare answer to a late write")
            .weigh(EXCLUDED, &[Class::BrokerAborted])
    })
}
