//! How long the wire had been silent, and whether the path has come through
//! as much before.

use super::{IDLE, Observation, concurrent::is_burst, failover};
use crate::classify::{
    case::Case,
    class::Class,
    weights::{BARELY_IDLE, BUSY, LONG_IDLE, OUTLIVED, SOME_IDLE, UNTRIED_SILENCE, VERY_LONG_IDLE},
};

/// Bounds of the weights, ms of silence.
const BUSY_MS: f64 = 200.0;
const BARELY_MS: f64 = 1_000.0;
const SOME_MS: f64 = 10_000.0;
const LONG_MS: f64 = 55_000.0;

/// How much longer than this silence a survived one must be to outlive it:
/// a device's timer is a tick coarse.
const OUTLIVED_BY: f64 = 1.02;
/// How much longer than any survived one a silence must be to be untried.
const UNTRIED_BY: f64 = 1.5;

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.is_open() {
        return None;
    }
    let idle_ms = case.facts.idle?.wire_ms;
    let weight = match idle_ms {
        ms if ms < BUSY_MS => BUSY,
        ms if ms < BARELY_MS => BARELY_IDLE,
        ms if ms < SOME_MS => SOME_IDLE,
        ms if ms < LONG_MS => LONG_IDLE,
        _ => VERY_LONG_IDLE,
    };
    let observation = Observation::new("idle", format!("{idle_ms:.0} ms")).weigh(weight, IDLE);
    // A long silence speaks against a reset in mid-use; a short one is no sign of
    // a device at all, and where others ended too it is no sign of anything.
    Some(if weight <= 0.0 || is_explained(case) {
        observation
    } else {
        observation.weigh(-weight / 2.0, &[Class::NotIdle, Class::Moved])
    })
}

/// The silence is no coincidence even where no timer ended the connection.
fn is_explained(case: &Case<'_>) -> bool {
    is_burst(case) || failover::ago_ms(case).is_some()
}

pub(super) fn outlived(case: &Case<'_>) -> Option<Observation> {
    if !case.is_open() {
        return None;
    }
    let idle_ms = case.facts.idle?.wire_ms;
    let survived_ms = case.context.path.survived_ms?;
    let observation =
        Observation::new("survived_idle", format!("{survived_ms:.0} ms on this path"));
    if survived_ms > idle_ms * OUTLIVED_BY {
        Some(observation.weigh(OUTLIVED, IDLE))
    } else if idle_ms > survived_ms * UNTRIED_BY {
        Some(observation.weigh(UNTRIED_SILENCE, IDLE))
    } else {
        None
    }
}

/// Segments with payload that make the coincidence below as good as excluded.
const SURELY: f64 = 60.0;

/// A device that resets for another reason hits any packet; that it hits the
/// very first one after the longest silence of the connection is a coincidence
/// of one in as many packets as there were.
pub(super) fn longest(case: &Case<'_>) -> Option<Observation> {
    if !case.is_open() {
        return None;
    }
    let idle_ms = case.facts.idle?.wire_ms;
    let packets = case.facts.packets.as_ref()?;
    let before_ms = packets.survived_ms.unwrap_or(0.0);
    let segments = packets.requests.saturating_add(packets.responses);
    if idle_ms < BARELY_MS || idle_ms < before_ms * OUTLIVED_BY || is_explained(case) {
        return None;
    }
    let weight = f64::from(segments.max(1)).min(SURELY).ln();
    let value = format!("the longest of this connection in {segments} segments with data");
    Some(Observation::new("longest_silence", value).weigh(-weight, &[Class::NotIdle, Class::Moved]))
}
