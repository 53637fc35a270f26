//! The other end of the connection is on this host as well. If it sent the RST, what its
//! kernel says of it decides at this end; if it received one too, neither end sent it.

use smol_str::format_smolstr;

use super::{Basis, FORGED, Observation};
use crate::{
    classify::{
        case::Case,
        class::Class,
        context::OtherEnd,
        weights::{HARD, OTHER_END},
    },
    facts::Kind,
};

/// A sender that is less sure than this of a class has not decided, and what it lacks is
/// as unknown here: it must not count twice.
const DECIDED: f64 = 0.5;
/// Shares below this are of no class in particular.
const LEAST: f64 = 0.001;

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    let other = case.facts.other_end.as_deref();
    if case.received() && other.is_some_and(|it| it.kind == Kind::ResetReceived) {
        let classes = if case.phase.is_handshake() {
            &[Class::NotIdle]
        } else {
            FORGED
        };
        let observation = Observation::new("other_end", "received a RST as well");
        return Some(observation.on(Basis::Shown).weigh(HARD, classes));
    }
    let OtherEnd { shares, why } = case.context.other_end.as_ref()?;
    if !shares.iter().any(|(_, share)| *share >= DECIDED) {
        return None;
    }
    let value = format_smolstr!("sent the RST: {why}");
    let observation = Observation::new("other_end", value).on(Basis::Named);
    let shares = shares.iter().filter(|(_, share)| *share >= LEAST);
    Some(shares.fold(observation, |observation, (class, share)| {
        let weight = OTHER_END + share.ln();
        observation.weigh(weight, &[*class])
    }))
}
