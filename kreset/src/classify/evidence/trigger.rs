//! What drew the RST, or that nothing did.

use super::{LOST, Observation};
use crate::{
    classify::{
        case::Case,
        class::Class,
        weights::{EXCLUDED, NEEDS_TRIGGER, SPONTANEOUS, TIMER_WHILE_PENDING},
    },
    event::ProvokedBy,
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.is_open() {
        return None;
    }
    let provoked_by = case.facts.idle?.provoked_by;
    let told = Observation::new("provoked_by", provoked_by.as_str());
    Some(match provoked_by {
        ProvokedBy::Data | ProvokedBy::Keepalive | ProvokedBy::Close => {
            told.weigh(TIMER_WHILE_PENDING, &[Class::IdleOnTimer])
        }
        ProvokedBy::Nothing => told
            .weigh(NEEDS_TRIGGER, LOST)
            .weigh(EXCLUDED, &[Class::IdleOnSend])
            .weigh(SPONTANEOUS, &[Class::IdleOnTimer]),
    })
}
