//! Documented devices whose idle timer and behaviour fit this silence.

use super::{IDLE, Observation};
use crate::classify::{case::Case, context::PathView, devices, weights::KNOWN_TIMER};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.is_open() {
        return None;
    }
    let idle_ms = case.facts.idle?.wire_ms;
    // As if this silence had been fatal.
    let path = PathView {
        fatal_ms: Some(
            case.context
                .path
                .fatal_ms
                .map_or(idle_ms, |ms| ms.min(idle_ms)),
        ),
        ..case.context.path.clone()
    };
    let names: Vec<&str> = IDLE
        .iter()
        .flat_map(|class| devices::candidates(*class, &path))
        .map(|device| device.name.as_str())
        .collect();
    if names.is_empty() {
        return None;
    }
    Some(Observation::new("known_timers", names.join(", ")).weigh(KNOWN_TIMER, IDLE))
}
