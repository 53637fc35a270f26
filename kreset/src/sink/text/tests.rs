use proptest::prelude::*;
use smol_str::SmolStr;

use super::*;
use crate::{
    event::{Cause, Degraded, Verdict, samples},
    util::escape::is_plain,
    util::golden::golden,
};

fn encode(text: &mut Text, events: &[Event]) -> String {
    let mut out = Vec::new();
    for event in events {
        text.encode(&samples::message(event.clone(), 0), &mut out)
            .unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn text(verbose: bool) -> Text {
    Text::in_zone(verbose, false, TimeZone::UTC)
}

#[test]
fn a_run_reads_like_this() {
    golden("text.txt", &encode(&mut text(false), &samples::all()));
}

#[test]
fn a_verbose_run_reads_like_this() {
    golden(
        "text-verbose.txt",
        &encode(&mut text(true), &samples::all()),
    );
}

#[test]
fn a_colored_run_is_the_same_run() {
    let mut colored = Text::in_zone(false, true, TimeZone::UTC);
    let colored = encode(&mut colored, &samples::all());
    assert!(colored.contains("\x1b[31mmiddlebox_idle_reset/reset_on_send"));
    let mut stripped = String::new();
    let mut rest = colored.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    assert_eq!(stripped, encode(&mut text(false), &samples::all()));
}

#[test]
fn times_are_local_and_a_new_day_is_named() {
    let zone = TimeZone::fixed(jiff::tz::offset(10));
    let mut text = Text::in_zone(false, false, zone);
    let loss = |time: &str| {
        let host = crate::event::Host { name: "h".into() };
        Event::Loss(Loss {
            time: samples::time(time),
            host,
            source: "kernel".to_owned(),
            lost: 1,
            total: 1,
        })
    };
    let out = encode(
        &mut text,
        &[
            loss("2026-11-23T13:59:59.999999999Z"),
            loss("2026-11-23T14:00:00Z"),
            loss("2026-11-23T14:00:00.5Z"),
        ],
    );
    let lines: Vec<_> = out
        .lines()
        .map(|line| line.split("  ").next().unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            "--- 2026-11-23, UTC+10 ---",
            "23:59:59.999",
            "--- 2026-11-24, UTC+10 ---",
            "00:00:00.000",
            "00:00:00.500",
        ],
    );
}

#[test]
fn the_arrow_starts_at_the_sender() {
    for (role, direction, arrow) in [
        (Role::Client, Direction::Received, " <R- "),
        (Role::Client, Direction::Sent, " -R> "),
        (Role::Broker, Direction::Received, " -R> "),
        (Role::Broker, Direction::Sent, " <R- "),
    ] {
        let finding = Finding {
            direction,
            role,
            ..samples::finding()
        };
        let out = encode(&mut text(false), &[Event::Reset(Box::new(finding))]);
        assert!(out.contains(arrow), "{role} {direction}: {out}");
    }
}

#[test]
fn advice_is_repeated_only_after_other_advice() {
    let event = |advice: &str| {
        Event::Reset(Box::new(Finding {
            advice: advice.into(),
            ..samples::finding()
        }))
    };
    let out = encode(
        &mut text(false),
        &[
            event("a"),
            event("a"),
            event(""),
            event("a"),
            event("b"),
            event("a"),
        ],
    );
    let advice: Vec<_> = out
        .lines()
        .filter_map(|line| line.trim().strip_prefix("-> "))
        .collect();
    assert_eq!(advice, ["a", "b", "a"]);
    let out = encode(&mut text(true), &[event("a"), event("a")]);
    assert_eq!(out.matches("-> a").count(), 2);
}

/// The verdicts and causes that the design pairs.
const PAIRS: &[(Verdict, &[Cause])] = &[
    (
        Verdict::MiddleboxIdleReset,
        &[Cause::ResetOnSend, Cause::ResetOnTimer, Cause::Rebound],
    ),
    (Verdict::MiddleboxIdleDrop, &[Cause::Blackholed]),
    (Verdict::MiddleboxReset, &[Cause::NotIdle, Cause::Moved]),
    (
        Verdict::BrokerOriginated,
        &[
            Cause::IdleClose,
            Cause::Shutdown,
            Cause::Closed,
            Cause::ConnectionLost,
            Cause::Aborted,
        ],
    ),
    (
        Verdict::HandshakePhase,
        &[
            Cause::Refused,
            Cause::PlaintextToTls,
            Cause::TlsToPlaintext,
            Cause::NotKafka,
            Cause::TlsAlert,
            Cause::Authentication,
            Cause::ClosedByBroker,
        ],
    ),
    (
        Verdict::ClientOriginated,
        &[Cause::Aborted, Cause::Probe, Cause::LateData],
    ),
];

#[test]
fn the_verdict_column_is_as_wide_as_its_widest_pair() {
    let pairs = PAIRS
        .iter()
        .flat_map(|(verdict, causes)| causes.iter().map(move |cause| (verdict, cause)));
    let widest = pairs
        .map(|(verdict, cause)| format!("{verdict}/{cause}").len())
        .max();
    assert_eq!(widest, Some(VERDICT_WIDTH));
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    any::<(IpAddr, u16)>().prop_map(|(address, port)| Endpoint { address, port })
}

fn finding() -> impl Strategy<Value = Finding> {
    (
        (endpoint(), endpoint(), any::<bool>(), 0.0..=1.0),
        prop::option::of(0.0..1e10),
        prop::option::of(0.0..1e10),
        (
            any::<String>(),
            any::<String>(),
            any::<String>(),
            any::<String>(),
        ),
    )
        .prop_map(
            |((client, broker, known, confidence), idle, age, (name, cgroup, value, advice))| {
                let mut finding = if known {
                    samples::finding()
                } else {
                    samples::unknown()
                };
                (finding.client, finding.broker, finding.confidence) = (client, broker, confidence);
                finding.connection.idle_ms = idle;
                finding.connection.age_ms = age;
                finding.process.name = Some(name.into());
                finding.process.cgroup = Some(cgroup.into());
                let value = SmolStr::from(value);
                finding.reset.kernel_reason = Some(value.clone());
                finding.evidence.extend(samples::finding().evidence.pop());
                finding
                    .evidence
                    .iter_mut()
                    .for_each(|it| it.value.clone_from(&value));
                finding.advice = advice.into();
                finding
            },
        )
}

proptest! {
    /// Each column of a line starts below its header.
    #[test]
    fn columns_are_aligned(findings in prop::collection::vec(finding(), 1..8)) {
        let mut text = text(false);
        let mut header = String::new();
        for finding in findings {
            let (client, broker) = (socket(finding.client).to_string(), socket(finding.broker).to_string());
            let what = words::What(&finding).to_string();
            let out = encode(&mut text, &[Event::Reset(Box::new(finding))]);
            let mut line = "";
            for it in out.lines() {
                if it.starts_with("TIME") {
                    it.clone_into(&mut header);
                } else if it.contains(&broker) {
                    line = it;
                    break;
                }
            }
            for (column, expected) in [("CLIENT", &client), ("BROKER", &broker), ("WHAT", &what)] {
                let at = header.find(column).unwrap();
                prop_assert!(line[at..].starts_with(expected.as_str()), "{column}\n{header}\n{line}");
            }
        }
    }

    /// Whatever comes from outside, the output is plain characters in lines
    /// that this sink made.
    #[test]
    fn nothing_from_outside_acts_on_a_terminal(finding in finding(), other: String, verbose: bool) {
        let mut events = samples::all();
        for event in &mut events {
            match event {
                Event::Start(start) => {
                    start.kernel.clone_from(&other);
                    start.host.name = other.as_str().into();
                    let feature = "f".into();
                    start.degraded.push(Degraded { feature, reason: other.clone(), remedy: other.clone() });
                }
                Event::Loss(loss) => loss.source.clone_from(&other),
                Event::Alert(alert) => {
                    alert.advice = other.as_str().into();
                    alert.path.devices.push(other.as_str().into());
                }
                Event::Summary(summary) => {
                    summary.host.name = other.as_str().into();
                    summary.events.insert(other.clone(), 1);
                    summary.noise.insert(other.clone(), 1);
                }
                Event::Probe(probe) => {
                    probe.target = other.as_str().into();
                    probe.advice = other.as_str().into();
                    probe.devices.push(other.as_str().into());
                    if let Some(location) = &mut probe.location {
                        location.hops[2].name = Some(other.as_str().into());
                    }
                }
                Event::Reset(_) | Event::Close(_) | Event::Timeout(_) => {}
            }
        }
        events.push(Event::Reset(Box::new(finding)));
        let out = encode(&mut text(verbose), &events);
        prop_assert!(out.chars().all(|c| c == '\n' || is_plain(c)));
        prop_assert!(out.ends_with('\n'));
    }
}
