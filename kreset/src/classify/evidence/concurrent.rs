//! What happened at the same broker at the same time.

use super::{
    Basis, IDLE, Observation, hidden_exchange::is_hidden, kernel_reason::drawn_by_syn,
    reset_shape::is_odd_answer,
};
use crate::{
    classify::{
        case::Case,
        class::{Class, round},
        weights::{NOT_TOGETHER, NOW_ACCEPTED, NOW_REFUSED, SCATTERED, TOGETHER},
    },
    event::ProvokedBy,
};

/// Other endings within a second that make a burst.
const BURST: usize = 2;

/// The broker's own ends.
const BROKER: &[Class] = &[Class::BrokerShutdown, Class::BrokerLost];
/// What ends many connections of one broker at once, however long each was
/// silent: the broker, its host, or a device that fails over.
const ALL_AT_ONCE: &[Class] = &[Class::BrokerShutdown, Class::BrokerLost, Class::NotIdle];

pub(super) fn together(case: &Case<'_>) -> Option<Observation> {
    if !is_in_use(case) || !is_burst(case) || is_hidden(case) || case.never_had().is_some() {
        return None;
    }
    let concurrent = case.context.concurrent;
    let value = format!("{} others within a second", concurrent.count);
    let observation = Observation::new("together", value).on(Basis::Shown);
    let many = more_than_two(concurrent.count);
    let undrawn = case
        .facts
        .idle
        .is_some_and(|idle| idle.provoked_by == ProvokedBy::Nothing);
    Some(if concurrent.idle_spread {
        observation
            .weigh(TOGETHER, ALL_AT_ONCE)
            .weigh(many, ALL_AT_ONCE)
            .weigh(SCATTERED, IDLE)
    } else if undrawn {
        // Silences this close may still be one timer, of a device that looks at
        // its table now and then.
        observation
            .weigh(TOGETHER, BROKER)
            .weigh(many, BROKER)
            .weigh(NOT_TOGETHER, IDLE)
    } else {
        observation
            .weigh(TOGETHER, ALL_AT_ONCE)
            .weigh(many, ALL_AT_ONCE)
            .weigh(NOT_TOGETHER, IDLE)
    })
}

/// Each doubling of the others makes a coincidence half as likely.
fn more_than_two(others: usize) -> f64 {
    let others = u32::try_from(others).unwrap_or(u32::MAX).max(2);
    round((f64::from(others) / 2.0).ln())
}

/// Several connections of one broker ended at once, and no timer of theirs explains it.
pub(super) const fn is_burst(case: &Case<'_>) -> bool {
    let concurrent = case.context.concurrent;
    let closed = case.context.closing.is_some() && concurrent.closed_mixed > 0;
    closed || (concurrent.count >= BURST && concurrent.mixed_idle)
}

/// A connection that was refused says nothing of others: it is what they are asked about.
fn is_in_use(case: &Case<'_>) -> bool {
    !case.phase.is_handshake() && !drawn_by_syn(case)
}

pub(super) fn reconnect(case: &Case<'_>) -> Option<Observation> {
    if !is_in_use(case) || case.never_had().is_some() {
        return None;
    }
    let concurrent = case.context.concurrent;
    if concurrent.refused {
        let observation = Observation::new("reconnect", "refused").on(Basis::Shown);
        // What answers data as no host does may have refused the connection as well.
        Some(if case.received() && is_odd_answer(case) {
            observation
        } else {
            observation.weigh(NOW_REFUSED, BROKER)
        })
    } else if concurrent.accepted {
        Some(
            Observation::new("reconnect", "established")
                .weigh(NOW_ACCEPTED, IDLE)
                .weigh(-NOW_ACCEPTED, &[Class::BrokerShutdown]),
        )
    } else {
        None
    }
}
