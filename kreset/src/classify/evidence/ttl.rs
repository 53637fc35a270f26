//! TTL or hop limit of the RST against the same peer's packets: a hop between
//! the ends is nearer than the peer, and what is farther away is not between.

use super::{Basis, FORGED, LIVE, LOST, Observation, same_host::is_same_host};
use crate::classify::{
    case::{Case, is_farther},
    weights::{
        TTL_DIFFERS, TTL_DIFFERS_EARLY, TTL_DIFFERS_SAMPLED, TTL_FARTHER, TTL_MOVED, TTL_SAME,
    },
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
    let value = format!("{reset}, {source} {baseline}");
    if case.facts.reset_is_peers() {
        // A socket can be given a TTL of its own, before an abort as at any time
        // (`IP_TTL`): the peer's timestamps say more.
        return Some(Observation::new("ttl", value));
    }
    if !same && is_farther(reset, baseline) {
        return Some(from_behind(case, reset, &value));
    }
    let observation = Observation::new("ttl", value);
    Some(if same && is_same_host(case) {
        // So are those of the host's packet filter.
        observation
    } else if same {
        observation.weigh(TTL_SAME, LIVE).weigh(TTL_SAME, LOST)
    } else {
        let weight = if case.is_early_hop() {
            TTL_DIFFERS_EARLY
        } else if packets.sampled {
            TTL_DIFFERS_SAMPLED
        } else {
            TTL_DIFFERS
        };
        observation
            .weigh(weight, FORGED)
            .on(Basis::Shown)
            .forgeable_if(case.facts.reset_is_live() == Some(true))
    })
}

/// What is farther away than the peer does not stand between: the address is another
/// host's now, or the route is longer. Where new connections come from as far, it is
/// the address.
fn from_behind(case: &Case<'_>, reset: u8, value: &str) -> Observation {
    let moved = case.context.path.ttl == Some(reset);
    let value = if moved {
        format!("{value}, new connections {reset}")
    } else {
        format!("{value}: farther away")
    };
    let observation = Observation::new("ttl", value).weigh(TTL_FARTHER, FORGED);
    if moved {
        observation.weigh(TTL_MOVED, LOST).on(Basis::Shown)
    } else {
        observation
    }
}
