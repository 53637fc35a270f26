//! What happened at the same broker at the same time.

use super::{IDLE, Observation};
use crate::classify::{
    case::Case,
    class::Class,
    weights::{NOW_ACCEPTED, NOW_REFUSED, SCATTERED, TOGETHER},
};

/// Other endings within a second that make a burst.
const BURST: usize = 2;

/// The broker's own ends.
const BROKER: &[Class] = &[Class::BrokerShutdown, Class::BrokerLost];

pub(super) fn together(case: &Case<'_>) -> Option<Observation> {
    let company = case.context.company;
    let closed = case.context.closing.is_some() && company.closed_unlike > 0;
    if case.phase.is_handshake() || !(closed || (company.together >= BURST && company.unlike)) {
        return None;
    }
    let value = format!("{} others within a second", company.together);
    let told = Observation::new("together", value).weigh(TOGETHER, BROKER);
    Some(if company.scattered {
        told.weigh(SCATTERED, IDLE)
    } else {
        told.weigh(-1.0, IDLE)
    })
}

pub(super) fn reconnect(case: &Case<'_>) -> Option<Observation> {
    if case.phase.is_handshake() {
        return None;
    }
    let company = case.context.company;
    if company.refused {
        Some(Observation::new("reconnect", "refused").weigh(NOW_REFUSED, BROKER))
    } else if company.accepted {
        Some(
            Observation::new("reconnect", "established")
                .weigh(NOW_ACCEPTED, IDLE)
                .weigh(-NOW_ACCEPTED, &[Class::BrokerShutdown]),
        )
    } else {
        None
    }
}
