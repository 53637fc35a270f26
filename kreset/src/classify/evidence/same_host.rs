//! Both ends are on this host: one that crashes or restarts takes both along, and nothing
//! stands between them but the host's own packet filter.

use super::{LOST, Observation};
use crate::classify::{case::Case, weights::SAME_FATE};

/// Whether the packets of the connection never leave this host.
pub(super) fn is_same_host(case: &Case<'_>) -> bool {
    let (local, remote) = (case.facts.local.address, case.facts.remote.address);
    local == remote || (local.is_loopback() && remote.is_loopback())
}

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    (case.is_open() && is_same_host(case))
        .then(|| Observation::new("same_host", "both ends are on this host").weigh(SAME_FATE, LOST))
}
