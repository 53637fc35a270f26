//! How soon the RST came after the packet that drew it: sooner than the peer
//! has ever answered means that something nearer did.

use super::{Basis, FORGED, Observation};
use crate::classify::{case::Case, weights::NEARER_THAN_PEER};

/// Round trips below this are within the noise of scheduling, us.
const RESOLVABLE_US: u64 = 400;

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.is_open() || case.facts.reset_is_peers() {
        return None;
    }
    let delay_us = case.facts.idle?.delay_us?;
    let counters = case.facts.counters?;
    if counters.retransmits > 0 {
        return None;
    }
    let least_us = u64::from(counters.min_rtt_us?);
    let nearer = least_us >= RESOLVABLE_US && delay_us < least_us / 2;
    nearer.then(|| {
        Observation::new(
            "reset_delay",
            format!("{delay_us} us, least round trip {least_us} us"),
        )
        .weigh(NEARER_THAN_PEER, FORGED)
        .on(Basis::Shown)
    })
}
