//! What stood at the broker's port when this host answered for a connection
//! that it did not know: the listener and its process, or nothing.

use smol_str::{SmolStr, format_smolstr};

use super::{Basis, Observation};
use crate::{
    classify::{case::Case, class::Class, context::ProcessEnd, weights::PROCESS_ENDED},
    facts::{Facts, State},
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.sent() || case.is_client() {
        return None;
    }
    if broker_is_gone(case) {
        return Some(
            Observation::new("listener", "none since its process ended")
                .weigh(PROCESS_ENDED, &[Class::BrokerShutdown])
                .on(Basis::Shown),
        );
    }
    let value = match case.facts.state {
        Some(State::Listen) => listening(case.facts),
        // The kernel looks for a listener before it gives up (kernel:
        // __inet_lookup, since the beginning). Before 6.10 it does not show it.
        None => SmolStr::new_static("none"),
        _ => return None,
    };
    Some(Observation::new("listener", value))
}

/// No socket listens on a broker's port on this host since its process ended: that
/// also took along connections of which this host has seen nothing else. One
/// whose handshake was under way has no socket yet, and once the listener is gone
/// its last packet draws a RST (kernel: `tcp_v4_rcv`, `TCP_NEW_SYN_RECV`; 6.18).
pub(super) fn broker_is_gone(case: &Case<'_>) -> bool {
    let end = case.context.process_end.as_ref();
    let ended = case.facts.is_had() && end.is_some_and(ProcessEnd::is_over);
    case.facts.is_answer()
        && case.facts.state.is_none()
        && (case.context.concurrent.process_ended || ended)
}

fn listening(facts: &Facts) -> SmolStr {
    let owner = &facts.owner;
    let (Some(pid), Some(name)) = (owner.pid, &owner.name) else {
        return SmolStr::new_static("there");
    };
    // Both clocks stand still together but while the host is suspended.
    let since_ns = owner
        .start_boottime_ns
        .and_then(|start| facts.at_ns.checked_sub(start));
    if let Some(since_ns) = since_ns {
        let seconds = since_ns / 1_000_000_000;
        format_smolstr!("{name} ({pid}), started {seconds} s before")
    } else {
        format_smolstr!("{name} ({pid})")
    }
}
