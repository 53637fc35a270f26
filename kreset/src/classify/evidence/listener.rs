//! What stood at the broker's port when this host answered for a connection
//! that it did not know: the listener and its process, or nothing.

use super::Observation;
use crate::{
    classify::case::Case,
    facts::{Facts, State},
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.sent() || case.is_client() {
        return None;
    }
    let value = match case.facts.state {
        Some(State::Listen) => listening(case.facts),
        // The kernel looks for a listener before it gives up (kernel:
        // __inet_lookup, since the beginning). Before 6.10 it does not tell.
        None => "none".to_owned(),
        _ => return None,
    };
    Some(Observation::new("listener", value))
}

fn listening(facts: &Facts) -> String {
    let owner = &facts.owner;
    let (Some(pid), Some(name)) = (owner.pid, &owner.name) else {
        return "there".to_owned();
    };
    // Both clocks stand still together but while the host is suspended.
    match owner
        .start_boottime_ns
        .and_then(|start| facts.at_ns.checked_sub(start))
    {
        Some(since_ns) => format!(
            "{name} ({pid}), started {} s before",
            since_ns / 1_000_000_000
        ),
        None => format!("{name} ({pid})"),
    }
}
