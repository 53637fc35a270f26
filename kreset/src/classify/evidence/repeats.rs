//! Earlier deaths of the same path: a timer kills at the same silence again.

use super::{Basis, IDLE, Observation};
use crate::classify::{
    case::Case,
    class::Class,
    context::{self, Death},
    weights::REPEATS,
};

/// Deaths on a timer are this much alike, share.
const ALIKE: f64 = 0.03;
/// Deaths on the next packet that agree with one timer, before they count.
const AGREEING: usize = 2;

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.is_open() {
        return None;
    }
    let idle_ms = case.facts.idle?.wire_ms;
    let path = &case.context.path;
    let alike = path
        .deaths
        .iter()
        .filter(|death| on_timer_alike(death, idle_ms))
        .count();
    if alike > 0 {
        let value = format!("{alike} earlier ones at {idle_ms:.0} ms");
        let observation = Observation::new("repeats", value).on(Basis::Shown);
        return Some(observation.weigh(REPEATS, &[Class::IdleOnTimer]));
    }
    // A timer T kills what is longer and spares what is shorter: every death
    // so far lies above every silence survived, this one too.
    let survived_ms = path.survived_ms?;
    // What no verdict could be given for repeats as well.
    let suspects = path.suspects_ms.iter();
    let likewise = suspects
        .filter(|ms| context::alike(**ms, idle_ms) && **ms > survived_ms)
        .count();
    if likewise >= AGREEING && idle_ms > survived_ms {
        let value = format!("{likewise} undecided ones at {idle_ms:.0} ms");
        let observation = Observation::new("repeats", value).on(Basis::Shown);
        return Some(observation.weigh(REPEATS, IDLE));
    }
    let agreeing = path
        .deaths
        .iter()
        .filter(|death| death.idle_ms > survived_ms)
        .count();
    let consistent = agreeing == path.deaths.len() && idle_ms > survived_ms;
    (agreeing >= AGREEING && consistent).then(|| {
        let value = format!("{agreeing} earlier ones, all above {survived_ms:.0} ms survived");
        Observation::new("repeats", value)
            .weigh(REPEATS, IDLE)
            .on(Basis::Shown)
    })
}

fn on_timer_alike(death: &Death, idle_ms: f64) -> bool {
    death.on_timer && (death.idle_ms - idle_ms).abs() <= ALIKE * idle_ms.max(death.idle_ms)
}
