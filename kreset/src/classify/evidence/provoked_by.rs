//! What drew the RST, or that nothing did.

use super::{LIVE, LOST, Observation};
use crate::{
    classify::{
        case::Case,
        class::Class,
        weights::{
            ABORT_QUESTIONED, ACK_TRIGGER, EXCLUDED, NEEDS_TRIGGER, SPONTANEOUS, SYN_ON_CONNECTION,
            TIMER_WHILE_PENDING, UNSEEN_TRIGGER,
        },
    },
    event::ProvokedBy,
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.is_open() {
        return None;
    }
    let idle = case.facts.idle?;
    let provoked_by = idle.provoked_by;
    let packets = case.facts.packets.as_ref();
    if packets.is_some_and(|packets| packets.syn_latest) && !case.is_client() {
        return Some(
            Observation::new("provoked_by", "the challenge to a SYN on this connection")
                .weigh(SYN_ON_CONNECTION, &[Class::ClientLost])
                .weigh(EXCLUDED, &[Class::IdleOnSend, Class::IdleOnTimer])
                // The kernel challenges a SYN whatever its numbers are.
                .forgeable_if(true),
        );
    }
    if idle.acknowledged {
        return Some(by_acknowledgement());
    }
    let observation = Observation::new("provoked_by", provoked_by.as_str());
    Some(match provoked_by {
        ProvokedBy::Data | ProvokedBy::Keepalive | ProvokedBy::Close => {
            observation.weigh(TIMER_WHILE_PENDING, &[Class::IdleOnTimer])
        }
        ProvokedBy::Nothing => {
            let lost = if may_have_acknowledged(case) {
                UNSEEN_TRIGGER
            } else {
                NEEDS_TRIGGER
            };
            observation
                .weigh(lost, LOST)
                .weigh(EXCLUDED, &[Class::IdleOnSend])
                .weigh(SPONTANEOUS, &[Class::IdleOnTimer])
        }
    })
}

/// A bare ACK of this host's may have drawn it: a window update, a challenge ACK, the
/// answer to a keepalive. A challenge ACK also answers the RST of a live socket whose last
/// data was lost, and then draws a bare one (RFC 5961, 3.2).
fn by_acknowledgement() -> Observation {
    Observation::new("provoked_by", "nothing, or a bare ACK")
        .weigh(ACK_TRIGGER, LOST)
        .weigh(ACK_TRIGGER, &[Class::IdleOnSend])
        .weigh(TIMER_WHILE_PENDING, &[Class::IdleOnTimer])
        .weigh(ABORT_QUESTIONED, LIVE)
}

/// A delayed acknowledgement is sent 40 to 200 ms after the data that it is for
/// (kernel: `TCP_ATO_MIN`, `TCP_DELACK_MAX`; 5.10 to 7.3), and a stack without a
/// socket answers it as it answers data. Only packets show whether any passed
/// since. Ticks are up to 10 ms, and a timer may be one late.
const DELAYED_MS: std::ops::RangeInclusive<f64> = 40.0..=220.0;

fn may_have_acknowledged(case: &Case<'_>) -> bool {
    case.facts.idle.is_some_and(|idle| {
        let passed_by = !idle.from_packets || idle.wire_ms < idle.data_ms;
        passed_by && DELAYED_MS.contains(&idle.data_ms)
    })
}
