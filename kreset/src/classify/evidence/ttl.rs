//! TTL or hop limit of the RST against the same peer's packets: a hop between
//! the ends is nearer than the peer.

use super::{FORGED, LIVE, LOST, Observation, same_host::is_same_host};
use crate::classify::{
    case::Case,
    weights::{TTL_DIFFERS, TTL_DIFFERS_EARLY, TTL_SAME},
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.is_open() {
        return None;
    }
    let packets = case.facts.packets.as_ref()?;
    let reset = packets.reset?.ttl;
    let (baseline, source) = match (packets.handshake_ttl, packets.peer_ttl) {
        (Some(ttl), _) => (ttl, "handshake"),
        (None, Some(ttl)) => (ttl, "earlier packets"),
        // Other connections came the same way.
        (None, None) => (case.context.path.ttl?, "other connections"),
    };
    // Routes change in mid-connection: the latest packet counts as well.
    let same = reset == baseline || Some(reset) == packets.peer_ttl;
    let told = Observation::new("ttl", format!("{reset}, {source} {baseline}"));
    Some(if same && is_same_host(case) {
        // So are those of the host's packet filter.
        told
    } else if same {
        told.weigh(TTL_SAME, LIVE).weigh(TTL_SAME, LOST)
    } else if case.is_early_hop() {
        told.weigh(TTL_DIFFERS_EARLY, FORGED)
    } else {
        told.weigh(TTL_DIFFERS, FORGED)
    })
}
