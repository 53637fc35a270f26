//! No RST of the peer's: what was sent after a silence went unanswered until the
//! kernel, or the application, gave up.

use super::{Basis, Observation};
use crate::{
    classify::{
        case::Case,
        class::Class,
        weights::{BUSY, HARD, HOST_DIED, LONG_IDLE, REFUSED_IN_USE, SOME_IDLE, VERY_LONG_IDLE},
    },
    event::ProvokedBy,
    facts::{Facts, Kind, State},
};

/// `ENETUNREACH`, `ECONNREFUSED`, `EHOSTUNREACH` and, of "administratively
/// prohibited" in IPv6, `EACCES`: ICMP of a router that cannot reach the host, or of a firewall
/// that will not let through; or no host on this link has the address (kernel:
/// `icmp_err_convert`, `icmpv6_err_convert`, `ipv4_link_failure`, `tcp_write_err`).
const UNREACHABLE: [u32; 4] = [13, 101, 111, 113];
/// Silences that differ by no more than this share are the same: keepalives and
/// heartbeats keep to one, and it is not what ended the last of many.
const SAME: f64 = 1.02;
/// Silent for less than this, the connection was in use, ms.
const BUSY_MS: f64 = 1_000.0;

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.gave_up() {
        return None;
    }
    if case.facts.state == Some(State::SynSent) {
        return refused_by_icmp(case);
    }
    let idle = case.facts.idle?;
    let idle_ms = idle.wire_ms;
    let retransmits = case.facts.counters?.retransmits;
    let value = format!("unanswered after {idle_ms:.0} ms of silence, {retransmits} timeouts");
    let lost = if case.is_client() {
        Class::BrokerLost
    } else {
        Class::ClientLost
    };
    if is_unreachable(case.facts) {
        // An idle flow that was dropped meets silence; here a router or a host answered.
        return Some(
            Observation::new(
                "timeout",
                format!("{value}, host, network or port unreachable"),
            )
            .weigh(HARD, &[lost, Class::NotIdle])
            .weigh(REFUSED_IN_USE, &[Class::NotIdle])
            .on(Basis::Shown),
        );
    }
    let alive = alive(case).or_else(|| died_together(case));
    let value = match alive {
        Some(sign) => format!("{value}, {sign}"),
        None => value,
    };
    // A path that died under a busy flow is no idle drop, and looks like a host
    // that died: nothing distinguishes them. The same holds where the path survived
    // as long a silence before.
    let survived_ms = case.context.path.survived_ms.unwrap_or(0.0);
    let no_timer = alive.is_some() || idle_ms < BUSY_MS || idle_ms < survived_ms * SAME;
    let died = if no_timer {
        BUSY
    } else if idle.provoked_by == ProvokedBy::Keepalive {
        // That is what keepalives are for: where nothing is asked, hosts are gone as often.
        0.0
    } else {
        HOST_DIED
    };
    let weight = match idle_ms {
        _ if no_timer => BUSY,
        ms if ms < 10_000.0 => SOME_IDLE,
        ms if ms < 60_000.0 => LONG_IDLE,
        _ => VERY_LONG_IDLE,
    };
    Some(
        Observation::new("timeout", value)
            .weigh(HARD, &[Class::Blackholed, lost])
            .weigh(weight, &[Class::Blackholed])
            .weigh(died, &[lost]),
    )
}

/// The network answered that the host, its port or its network cannot be reached.
pub(in crate::classify) fn is_unreachable(facts: &Facts) -> bool {
    facts
        .error
        .is_some_and(|error| UNREACHABLE.contains(&error))
}

/// The SYN drew an ICMP error (kernel: `tcp_v4_err`, `tcp_v6_err`).
fn refused_by_icmp(case: &Case<'_>) -> Option<Observation> {
    is_unreachable(case.facts).then(|| {
        Observation::new("timeout", "the SYN was answered by ICMP: unreachable")
            .weigh(HARD, &[Class::Refused])
            .on(Basis::Named)
    })
}

/// Another connection of the broker was in use and went unanswered as well: no idle timer ended
/// that one.
fn died_together(case: &Case<'_>) -> Option<&'static str> {
    case.context
        .concurrent
        .unanswered_in_use
        .then_some("as was what another connection in use sent")
}

/// What speaks against a path that is dead. Where nothing was sent that could have been
/// answered, the timer was that of a closed window or of data that did not leave this
/// host (kernel: `tcp_probe_timer`; that of keepalives sends a RST first).
fn alive(case: &Case<'_>) -> Option<&'static str> {
    let idle = case.facts.idle?;
    if idle.heard_since {
        return Some("but the peer was heard from meanwhile");
    }
    let unsent = matches!(
        idle.provoked_by,
        ProvokedBy::Keepalive | ProvokedBy::Nothing
    );
    (unsent && case.facts.kind == Kind::Timeout)
        .then_some("but no data was sent: the window was closed, or this host had no way")
}
