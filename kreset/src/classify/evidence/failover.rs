//! What a device forgot when it failed over: a connection that was silent then meets that with its
//! next packet, however long after.

use super::{Basis, IDLE, Observation};
use crate::{
    classify::{
        case::Case,
        class::Class,
        weights::{LOST_MEANWHILE, NOT_ITS_SILENCE},
    },
    util::units::precise,
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    let ago_ms = ago_ms(case)?;
    let value = format!("{} before, while this one was silent", precise(ago_ms));
    Some(
        Observation::new("failover", value)
            .weigh(LOST_MEANWHILE, &[Class::NotIdle])
            .weigh(NOT_ITS_SILENCE, IDLE)
            .on(Basis::Shown),
    )
}

/// How long ago a device of this path reset several connections in use at once, if this one has
/// been silent since before.
pub(super) fn ago_ms(case: &Case<'_>) -> Option<f64> {
    if !case.is_open() {
        return None;
    }
    let idle_ms = case.facts.idle?.wire_ms;
    let ago_ns = case
        .facts
        .at_ns
        .checked_sub(case.context.path.failed_over_ns?)?;
    #[expect(clippy::cast_precision_loss, reason = "a span of milliseconds")]
    let ago_ms = ago_ns as f64 / 1e6;
    (ago_ms > 0.0 && ago_ms < idle_ms).then_some(ago_ms)
}
