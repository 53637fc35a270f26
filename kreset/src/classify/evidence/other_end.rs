//! The other end of the connection is on this host as well, and sent the RST: what its
//! kernel says of it decides at this end.

use super::{Basis, Observation};
use crate::classify::{case::Case, weights::OTHER_END};

/// A sender that is less sure than this of a class has not decided, and what it lacks is
/// as unknown here: it must not count twice.
const DECIDED: f64 = 0.5;
/// Shares below this are of no class in particular.
const LEAST: f64 = 0.001;

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    let sender = case.context.other_end.as_ref()?;
    if !sender.iter().any(|(_, share)| *share >= DECIDED) {
        return None;
    }
    let observation =
        Observation::new("other_end", "on this host, and sent the RST").on(Basis::Named);
    let shares = sender.iter().filter(|(_, share)| *share >= LEAST);
    Some(shares.fold(observation, |observation, (class, share)| {
        let weight = OTHER_END + share.ln();
        observation.weigh(weight, &[*class])
    }))
}
