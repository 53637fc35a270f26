//! How busy the broker was. It weighs nothing: a busy broker closes connections for the same
//! reasons as others, and what is between the ends does not know how busy they are. It is listed
//! where it says something, beside what it may explain.

use smol_str::SmolStr;

use super::Observation;
use crate::classify::{case::Case, load};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    let telling = load::telling(case.facts);
    (!telling.is_empty()).then(|| {
        let facts: Vec<_> = telling.iter().map(load::Telling::fact).collect();
        Observation::new("load", SmolStr::from(facts.join(", ")))
    })
}
