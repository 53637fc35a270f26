//! What was measured as an event.

use std::{net::SocketAddr, time::Duration};

use smol_str::{SmolStr, format_smolstr};

use super::{
    clients::Like,
    finding::{Behavior, Finding, Timer},
    hold::{End, Held},
    log::Opened,
    measure::{Measured, seconds},
    round::Trigger,
    rung::{Outcome, Rung},
    settings::{Safe, safe, sentence, settings},
};
use crate::event::{
    Cause, Endpoint, Host, Probe, ProbeConnection, ProbeHeld, ProbeHold, ProbeHop, ProbeLocation,
    ProbeReset, ProbeResult, ProbeRung, ProbeSetting, ProbeTrigger, RungOutcome, Time,
    community_id,
};

/// What is known beside the measurement.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) time: Time,
    pub(super) host: Host,
    pub(super) target: SmolStr,
    pub(super) broker: Endpoint,
    pub(super) trigger: Trigger,
    pub(super) duration: Duration,
}

/// Makes the event of what was measured, held, or both.
pub(super) fn report(header: Header, measured: Option<&Measured>, held: Option<&Held>) -> Probe {
    let finding = measured.map(|it| &it.finding);
    let timer = match finding {
        Some(Finding::Timer(timer)) => Some(timer),
        _ => None,
    };
    let safe = timer
        .filter(|timer| !timer.is_broker)
        .map(|timer| safe(timer.survived, timer.died));
    Probe {
        time: header.time,
        host: header.host,
        target: header.target,
        broker: header.broker,
        trigger: match header.trigger {
            Trigger::Keepalive => ProbeTrigger::Keepalive,
            Trigger::Request => ProbeTrigger::Request,
        },
        duration_ms: whole_ms(header.duration),
        complete: measured.is_none_or(|it| it.complete) && held.is_none_or(|it| it.complete),
        result: finding.map(result),
        reason: reason(finding, held),
        behavior: timer.map(|timer| cause(timer.behavior)),
        survived_idle_ms: match finding {
            Some(Finding::None { longest }) => Some(ms(*longest)),
            _ => timer.and_then(|timer| timer.survived).map(ms),
        },
        fatal_idle_ms: timer.map(|timer| ms(timer.died)),
        survivors: timer
            .and_then(|timer| timer.partial)
            .map(|(_, survivors)| survivors as u64),
        devices: timer.map_or_else(Vec::new, |timer| timer.devices.clone()),
        rungs: measured.map_or_else(Vec::new, |it| it.rungs.iter().map(rung).collect()),
        connections: measured
            .map_or(&[][..], |it| &it.opened)
            .iter()
            .chain(held.map_or(&[][..], |it| &it.opened))
            .map(|it| connection(it, header.broker, header.time))
            .collect(),
        location: measured.and_then(location),
        hold: held.map(hold),
        settings: safe
            .iter()
            .flat_map(settings)
            .map(|it| ProbeSetting {
                client: it.client.name().into(),
                name: it.name.into(),
                value: it.value.into(),
            })
            .collect(),
        advice: advice(&header.broker, finding, held, safe.as_ref()),
    }
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const fn result(finding: &Finding) -> ProbeResult {
    match finding {
        Finding::Timer(Timer {
            is_broker: true, ..
        }) => ProbeResult::BrokerTimer,
        Finding::Timer(Timer {
            behavior: Behavior::Closed,
            ..
        }) => ProbeResult::Closed,
        Finding::Timer(_) => ProbeResult::Device,
        Finding::None { .. } => ProbeResult::None,
        Finding::Unmeasured { .. } => ProbeResult::Unmeasured,
    }
}

fn reason(finding: Option<&Finding>, held: Option<&Held>) -> Option<SmolStr> {
    if let Some(Finding::Unmeasured { reason }) = finding {
        return Some(reason.into());
    }
    let held = held.filter(|held| held.kept.is_empty())?;
    Some(held.not_opened.first().map_or_else(
        || SmolStr::new_static("stopped before the end"),
        |error| format_smolstr!("cannot connect: {error}"),
    ))
}

const fn cause(behavior: Behavior) -> Cause {
    match behavior {
        Behavior::ResetOnSend => Cause::ResetOnSend,
        Behavior::ResetOnTimer => Cause::ResetOnTimer,
        Behavior::Dropped => Cause::Blackholed,
        Behavior::Closed => Cause::IdleClose,
    }
}

const fn outcome(outcome: Outcome) -> RungOutcome {
    match outcome {
        Outcome::Alive => RungOutcome::Alive,
        Outcome::ResetOnUse => RungOutcome::ResetOnUse,
        Outcome::ResetByItself => RungOutcome::ResetByItself,
        Outcome::Closed => RungOutcome::Closed,
        Outcome::Dropped => RungOutcome::Dropped,
        Outcome::PathDead => RungOutcome::PathDead,
    }
}

fn rung(rung: &Rung) -> ProbeRung {
    ProbeRung {
        round: rung.round,
        local_port: rung.local_port,
        silent_ms: ms(rung.silent.least),
        outcome: outcome(rung.outcome),
        answer_ms: rung.answered.map(ms),
        disturbed: rung.disturbed,
    }
}

/// A connection as other hosts report it: as an IPv4 one where both ends are that.
fn connection(opened: &Opened, broker: Endpoint, now: Time) -> ProbeConnection {
    let local = opened.local;
    let client = Endpoint {
        address: local.ip().to_canonical(),
        port: local.port(),
    };
    let socket = |it: Endpoint| SocketAddr::new(it.address, it.port);
    ProbeConnection {
        community_id: community_id::of_tcp(socket(client), socket(broker)),
        client,
        opened: Time(opened.opened),
        ended: opened.ended.map_or(now, Time),
    }
}

fn location(measured: &Measured) -> Option<ProbeLocation> {
    let ttls = measured.ttls;
    if measured.route.is_none() && ttls.reset.is_none() {
        return None;
    }
    let route = measured.route.as_ref();
    let found = measured.location.as_ref();
    Some(ProbeLocation {
        hop: found.map(|found| found.from),
        hop_at_most: found.map(|found| found.to),
        resets: found.map_or_else(Vec::new, |found| {
            let resets = found.resets.iter();
            resets
                .map(|(ttl, flows)| ProbeReset {
                    ttl: *ttl,
                    flows: *flows as u64,
                })
                .collect()
        }),
        hops: route.map_or_else(Vec::new, |route| {
            let hops = route.hops.iter();
            hops.map(|hop| ProbeHop {
                ttl: hop.ttl,
                addresses: hop.addresses.clone(),
                name: hop.name.as_ref().map(SmolStr::from),
            })
            .collect()
        }),
        broker_ttl: route.and_then(|route| route.broker),
        reset_ttl: ttls.reset,
        handshake_ttl: ttls.handshake,
        reset_distance: ttls.distance(),
    })
}

fn hold(held: &Held) -> ProbeHold {
    let list = |ends: &[End]| {
        ends.iter()
            .map(|end| match *end {
                End::Alive => ProbeHeld {
                    outcome: RungOutcome::Alive,
                    after_ms: None,
                },
                End::ClosedHere => ProbeHeld {
                    outcome: RungOutcome::ClosedHere,
                    after_ms: held.hold.keeping.closes_after.map(ms),
                },
                End::Died(how, after) => ProbeHeld {
                    outcome: outcome(how),
                    after_ms: Some(ms(after)),
                },
            })
            .collect()
    };
    let keeping = held.hold.keeping;
    ProbeHold {
        like: held.hold.like.map(|like| like.name().into()),
        keepalive_ms: keeping.keepalive.map(|it| whole_ms(it.time)),
        interval_ms: keeping.keepalive.map(|it| whole_ms(it.interval)),
        max_idle_ms: keeping.closes_after.map(whole_ms),
        span_ms: whole_ms(held.hold.span),
        holds: held.holds(),
        kept: list(&held.kept),
        silent: list(&held.silent),
    }
}

fn advice(
    broker: &Endpoint,
    finding: Option<&Finding>,
    held: Option<&Held>,
    safe: Option<&Safe>,
) -> SmolStr {
    let measured = match (finding, safe) {
        (Some(Finding::Timer(timer)), _) if timer.is_broker => format!(
            "The broker closes connections itself after {}, which fits its \
             connections.max.idle.ms: set connections.max.idle.ms of the clients below that.",
            seconds(timer.died)
        ),
        (Some(Finding::Timer(timer)), Some(safe)) => format!(
            "{} the path to {} {} connections silent for {}: for Java set {}.",
            if timer.behavior == Behavior::Closed {
                "The broker or a proxy on"
            } else {
                "A device on"
            },
            SocketAddr::new(broker.address, broker.port),
            match timer.behavior {
                Behavior::ResetOnSend | Behavior::ResetOnTimer => "resets",
                Behavior::Dropped => "drops",
                Behavior::Closed => "closes",
            },
            between(timer.survived, timer.died),
            sentence(Like::Java, safe)
        ),
        (Some(Finding::None { longest }), _) => format!(
            "No device on the path ends connections that are silent for up to {}.",
            seconds(*longest)
        ),
        _ => String::new(),
    };
    let proven = held
        .filter(|held| !held.kept.is_empty())
        .map(|held| {
            let all = held.kept.len();
            if !held.holds() {
                return format!("These settings do not hold: {}.", held.hold.keeping);
            }
            if held.is_proof() {
                format!(
                    "{all} of {all} connections lived with {}.",
                    held.hold.keeping
                )
            } else {
                format!(
                    "{all} of {all} connections lived with {}, but so did silent ones: the timer \
                     is longer than {}.",
                    held.hold.keeping,
                    seconds(held.hold.span)
                )
            }
        })
        .unwrap_or_default();
    let space = if measured.is_empty() || proven.is_empty() {
        ""
    } else {
        " "
    };
    format_smolstr!("{measured}{space}{proven}")
}

/// An interval for people: with as many digits as it takes to tell its ends apart.
pub(crate) fn between(survived: Option<Duration>, died: Duration) -> String {
    let Some(survived) = survived else {
        return format!("{} or less", seconds(died));
    };
    let (low, high) = (survived.as_secs_f64(), died.as_secs_f64());
    let digits = if high - low < 0.2 {
        2
    } else {
        usize::from(high < 100.0 || high - low < 2.0)
    };
    format!("{low:.digits$} to {high:.digits$} s")
}

#[cfg(test)]
mod tests {
    use super::{between as between_text, *};

    #[test]
    fn intervals_have_the_digits_that_they_need() {
        let between = |low: f64, high: f64| {
            let low = (low > 0.0).then_some(Duration::from_secs_f64(low));
            between_text(low, Duration::from_secs_f64(high))
        };
        assert_eq!(between(349.2, 351.1), "349.2 to 351.1 s");
        assert_eq!(between(340.2, 351.1), "340 to 351 s");
        assert_eq!(between(5.97, 6.03), "5.97 to 6.03 s");
        assert_eq!(between(0.0, 10.04), "10.0 s or less");
    }
}
