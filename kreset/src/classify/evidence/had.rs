//! This host's kernel answered for a connection that it never had: a handshake that was
//! never taken on, or a flow that was moved here on the way. Only what a host had can be
//! lost by it.

use super::{Basis, Observation, kernel_reason::is_anyones};
use crate::classify::{
    case::Case,
    class::Class,
    weights::{HARD, LOST_LONG_AGO, QUEUE_WAS_FULL, STRANGER_ALONE, TOGETHER},
};

/// What a packet belongs to that finds no socket on a broker's host that never had one.
const STRANGE: &[Class] = &[Class::BrokerLost, Class::Moved, Class::Rebound];
/// Others of its kind that make a failover.
const SEVERAL: usize = 2;
/// Data under way is sent again for about this long after its connection ended, ms.
const UNDER_WAY_MS: u32 = 120_000;

/// Whether this rule decides what an answer without a socket means.
pub(super) fn speaks(case: &Case<'_>) -> bool {
    case.never_had().is_some_and(|ms| {
        let is_data = case
            .facts
            .trigger
            .is_some_and(|trigger| !trigger.is_stray() && !trigger.is_syn());
        case.sent() && is_data && (!case.is_client() || ms >= UNDER_WAY_MS)
    })
}

/// Whether a packet that met no socket of a client's host may belong to a flow that this
/// host has under another address: as far back as it remembers, nothing of these ends
/// ended here, and that is longer than a lost packet takes to be sent again.
pub(super) fn may_be_untranslated(case: &Case<'_>) -> bool {
    const SENT_AGAIN_MS: u32 = 2_000;
    let answers_data = case
        .facts
        .trigger
        .is_some_and(|trigger| !trigger.is_stray() && !trigger.is_syn());
    case.sent()
        && case.is_client()
        && answers_data
        && case.never_had().is_some_and(|ms| ms >= SENT_AGAIN_MS)
}

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    // Whoever sends such packets may have made the connection up.
    observe(case).map(|observation| observation.forgeable_if(is_anyones(case)))
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let within_ms = case.never_had().filter(|_| speaks(case))?;
    let known = match within_ms {
        0 => "not as far as this host remembers".to_owned(),
        ms => format!("not in the last {} s", ms / 1_000),
    };
    if case.is_client() {
        // An untranslated packet of a flow that this host has under another address.
        return Some(
            Observation::new("had", known)
                .weigh(HARD, &[Class::Moved])
                .on(Basis::Shown),
        );
    }
    if case.facts.queue_full {
        return Some(
            Observation::new("had", format!("{known}, and the accept queue is full"))
                .weigh(HARD, STRANGE)
                .weigh(HARD, &[Class::ClosedByBroker])
                .weigh(QUEUE_WAS_FULL, &[Class::ClosedByBroker])
                .on(Basis::Shown),
        );
    }
    let observation = Observation::new("had", known)
        .weigh(HARD, STRANGE)
        .on(Basis::Shown);
    let settled = f64::from(within_ms) >= case.config.broker_max_idle.as_secs_f64() * 1_000.0;
    let observation = if settled {
        observation.weigh(LOST_LONG_AGO, &[Class::BrokerLost])
    } else {
        observation
    };
    Some(match case.context.concurrent.strangers {
        0 => observation.weigh(STRANGER_ALONE, &[Class::Rebound]),
        // A host that came back meets all that it had lost, too.
        SEVERAL.. if settled => observation.weigh(TOGETHER, &[Class::Moved]),
        _ => observation,
    })
}
