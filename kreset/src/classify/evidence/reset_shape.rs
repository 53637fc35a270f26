//! What the RST looked like: a live socket's abort, or a bare answer.

use super::{Basis, FORGED, LIVE, LOST, Observation};
use crate::{
    classify::{
        case::Case,
        weights::{ACTIVE_SHAPE, BARE_SHAPE, LIVE_SOCKET, NOT_A_LIVE_SOCKET, ODD_EARLY, ODD_SHAPE},
    },
    event::ProvokedBy,
    facts::{ResetClock, ResetPacket},
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    // A listener that turns a client away (`tcp_abort_on_overflow`) answers as
    // barely as a hop.
    if !case.is_open() || case.is_early_hop() {
        return None;
    }
    if case.is_odd_early() {
        let observation = Observation::new("reset_timestamps", "missing, though negotiated");
        // Other stacks than Linux leave them out as well, and clients run on those.
        return Some(if case.is_client() {
            observation.weigh(ODD_EARLY, FORGED)
        } else {
            observation
        });
    }
    let counters = case.facts.counters?;
    let packet = case
        .facts
        .packets
        .as_ref()
        .and_then(|packets| packets.reset);
    if counters.reset_clock == Some(ResetClock::Other) {
        let observation = Observation::new("reset_timestamps", "carried, but not the peer's");
        return Some(
            observation
                .weigh(NOT_A_LIVE_SOCKET, FORGED)
                .on(Basis::Shown),
        );
    }
    match counters.reset_timestamps {
        Some(true) => {
            let is_peers = case.facts.reset_is_peers();
            let value = if is_peers {
                "the peer's"
            } else {
                "carried, as negotiated"
            };
            Some(
                Observation::new("reset_timestamps", value)
                    .weigh(LIVE_SOCKET, LIVE)
                    .on(Basis::Shown)
                    .forgeable_if(counters.reset_clock == Some(ResetClock::Unknown)),
            )
        }
        Some(false) => {
            let observation = Observation::new("reset_timestamps", "missing, though negotiated")
                .weigh(NOT_A_LIVE_SOCKET, FORGED)
                .weigh(NOT_A_LIVE_SOCKET, LOST);
            Some(match packet {
                Some(_) if is_odd_answer(case) => observation.weigh(ODD_SHAPE, FORGED),
                // A stack without a socket only answers: neither end sends this.
                _ if undrawn(case) => observation.on(Basis::Shown),
                _ => observation,
            })
        }
        None => packet.map(|packet| {
            let live = packet.has_ack() && packet.window != 0;
            let value = if live {
                "RST,ACK with a window"
            } else {
                "bare"
            };
            let observation = Observation::new("reset_shape", value);
            if live {
                observation.weigh(ACTIVE_SHAPE, LIVE).on(Basis::Shown)
            } else {
                observation
                    .weigh(BARE_SHAPE, FORGED)
                    .weigh(BARE_SHAPE, LOST)
            }
        }),
    }
}

/// A RST,ACK without the negotiated timestamps answered data or a probe: no Linux host without a
/// socket answers so (kernel: `tcp_v4_send_reset`), but what rejects any packet alike does.
pub(super) fn is_odd_answer(case: &Case<'_>) -> bool {
    let packets = case.facts.packets.as_ref();
    let reset = packets.and_then(|packets| packets.reset);
    let counters = case.facts.counters;
    let idle = case.facts.idle;
    counters.is_some_and(|counters| counters.reset_timestamps == Some(false))
        && reset.is_some_and(ResetPacket::has_ack)
        && idle.is_some_and(|idle| {
            matches!(idle.provoked_by, ProvokedBy::Data | ProvokedBy::Keepalive)
        })
}

/// Nothing of this host's drew the RST, not even an acknowledgement that was seen.
fn undrawn(case: &Case<'_>) -> bool {
    case.facts
        .idle
        .is_some_and(|idle| idle.provoked_by == ProvokedBy::Nothing && !idle.acknowledged)
}
