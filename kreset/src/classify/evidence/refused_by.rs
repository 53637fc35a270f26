//! Who refused: the broker's host, or something before it. The verdict is the
//! same; where to look is not.

use super::Observation;
use crate::{classify::case::Case, facts::State};

/// TTL of the RST that refused, and of what other connections got from the same
/// address; `None` where either is not known.
pub(in crate::classify) fn distances(case: &Case<'_>) -> Option<(u8, u8)> {
    if !case.received() || case.facts.state != Some(State::SynSent) {
        return None;
    }
    let reset = case.facts.packets.as_ref()?.reset?.ttl;
    Some((reset, case.context.path.ttl?))
}

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    let (reset, known) = distances(case)?;
    // A device may copy the TTL; one that differs is no copy.
    let who = if reset == known {
        "as far away as the host"
    } else {
        "something before the host"
    };
    let value = format!("{who}: TTL {reset}, other connections {known}");
    Some(Observation::new("refused_by", value))
}
