use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::{Cause, KresetProbe, PairProof, SentBy, Verdict};

/// Seconds of a test, as a time.
fn rfc(seconds: f64) -> String {
    let ns = 1_795_443_000_000_000_000_i128 + (seconds * 1e9) as i128;
    format!("{:.9}", Timestamp::from_nanosecond(ns).unwrap())
}

/// What one agent writes.
struct Agent {
    name: &'static str,
    boot: u64,
    number: u64,
    address: &'static str,
    lines: Vec<String>,
}

impl Agent {
    fn new(name: &'static str, boot: u64, address: &'static str) -> Self {
        Self {
            name,
            boot,
            number: 0,
            address,
            lines: Vec::new(),
        }
    }

    fn write(&mut self, at: f64, mut event: Value) {
        event["schema"] = "kreset/1".into();
        event["id"] = format!("{:016x}-5-{:x}", self.boot, self.number).into();
        event["time"] = rfc(at).into();
        event["host"] = json!({ "name": self.name });
        self.number += 1;
        self.lines.push(event.to_string());
    }

    /// Watches from 0 to 105 s, and writes what `between` does around 100 s.
    fn watching(mut self, between: impl FnOnce(&mut Self)) -> Self {
        self.start(0.0);
        self.summary(95.0);
        between(&mut self);
        self.summary(105.0);
        self
    }

    fn start(&mut self, at: f64) {
        self.start_without(at, &[]);
    }

    fn start_without(&mut self, at: f64, features: &[&str]) {
        let degraded: Vec<_> = features
            .iter()
            .map(|it| json!({ "feature": it, "reason": "", "remedy": "" }))
            .collect();
        self.write(at, json!({ "type": "start", "degraded": degraded }));
    }

    fn summary(&mut self, at: f64) {
        self.summary_with(at, &json!({}));
    }

    /// A summary, with another coverage or `end`.
    fn summary_with(&mut self, at: f64, other: &Value) {
        let mut coverage = json!({
            "ports": ["9092", "9094-9096"], "addresses": [self.address],
            "kernel_lost": 0, "kernel_skipped": 0, "kernel_untracked": 0, "unobserved": 0,
            "forgotten": 0, "unshown": 0, "sinks": {},
        });
        let end = other["end"].as_bool().unwrap_or(false);
        for (key, value) in other.as_object().unwrap() {
            if key != "end" {
                coverage[key] = value.clone();
            }
        }
        self.write(
            at,
            json!({ "type": "summary", "end": end, "coverage": coverage }),
        );
    }

    fn ended(&mut self, at: f64, seen: &End) {
        self.write(at, seen.json());
    }
}

/// How a host sees a connection end.
#[derive(Clone, Copy)]
struct End {
    kind: &'static str,
    direction: &'static str,
    role: &'static str,
    answer: (&'static str, Option<&'static str>),
    confidence: f64,
    client: (&'static str, u16),
    broker: (&'static str, u16),
    flow: Option<&'static str>,
    sequence: Option<u32>,
    wire_idle_ms: Option<f64>,
    provoked_by: Option<&'static str>,
    reason: Option<&'static str>,
    kreset_probe: Option<&'static str>,
    /// What the host holds possible, with its share.
    candidates: &'static [(&'static str, f64)],
}

const CLIENT: &str = "10.0.1.5";
const BROKER: &str = "10.0.2.7";
const FLOW: Option<&str> = Some("8db23264-b981f8e2");

/// A client's host received a RST of which it cannot say who sent it.
const RECEIVED: End = End {
    kind: "reset",
    direction: "received",
    role: "client",
    answer: ("indeterminate", None),
    confidence: 0.5,
    client: (CLIENT, 43_210),
    broker: (BROKER, 9092),
    flow: FLOW,
    sequence: Some(3_112_361_826),
    wire_idle_ms: Some(350_214.5),
    provoked_by: Some("data"),
    reason: None,
    kreset_probe: None,
    candidates: &[],
};

/// The broker's host sent it: no socket had the connection any more.
const SENT: End = End {
    direction: "sent",
    role: "broker",
    answer: ("broker_originated", Some("connection_lost")),
    confidence: 0.95,
    wire_idle_ms: None,
    provoked_by: None,
    reason: Some("NO_SOCKET"),
    ..RECEIVED
};

impl End {
    /// After a silence of so many milliseconds.
    const fn after(self, wire_idle_ms: f64) -> Self {
        let wire_idle_ms = Some(wire_idle_ms);
        Self {
            wire_idle_ms,
            ..self
        }
    }

    /// Of another connection, or another RST of it.
    const fn of(self, flow: Option<&'static str>, sequence: Option<u32>) -> Self {
        Self {
            flow,
            sequence,
            ..self
        }
    }

    /// Of a client at another end.
    const fn from(self, client: (&'static str, u16)) -> Self {
        Self { client, ..self }
    }

    /// The event of both ends where this one and the other were on one host, which saw the other
    /// at that time.
    fn with(&self, other: &Self, at: f64) -> Value {
        let mut event = self.json();
        event["other_end"] = other.json();
        event["other_end"]["time"] = rfc(at).into();
        event
    }

    fn json(&self) -> Value {
        let end = |(address, port): (&str, u16)| json!({ "address": address, "port": port });
        let share = |(verdict, share): &(&str, f64)| json!({ "verdict": verdict, "share": share });
        let candidates: Vec<_> = self.candidates.iter().map(share).collect();
        json!({
            "candidates": candidates,
            "type": self.kind, "direction": self.direction, "role": self.role,
            "verdict": self.answer.0, "cause": self.answer.1, "confidence": self.confidence,
            "client": end(self.client), "broker": end(self.broker), "community_id": "1:abc",
            "connection": {
                "flow_id": self.flow, "wire_idle_ms": self.wire_idle_ms,
                "provoked_by": self.provoked_by, "state": "ESTABLISHED",
            },
            "reset": { "sequence": self.sequence, "kernel_reason": self.reason },
            "kreset_probe": self.kreset_probe,
            "advice": "", "evidence": [], "summary": "",
        })
    }
}

fn settings() -> Settings {
    Settings {
        window: Duration::from_secs(10),
        since: None,
        until: None,
        follow: false,
        all: false,
    }
}

fn following() -> Settings {
    Settings {
        follow: true,
        ..settings()
    }
}

fn correlate(lines: &[&String]) -> Vec<PairFinding> {
    let mut correlator = Correlator::new(settings());
    let mut out = Vec::new();
    for line in lines {
        let at_ns = correlator.read(line.as_bytes()).unwrap();
        correlator.advance(at_ns.unwrap(), &mut out);
    }
    correlator.finish(&mut out);
    findings(out)
}

fn findings(out: Vec<Message>) -> Vec<PairFinding> {
    out.into_iter()
        .map(|message| match message.event {
            Event::Finding(finding) => *finding,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn of(agents: &[&Agent]) -> Vec<PairFinding> {
    let lines: Vec<_> = agents.iter().flat_map(|it| &it.lines).collect();
    correlate(&lines)
}

fn one(agents: &[&Agent]) -> PairFinding {
    let mut findings = of(agents);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.pop().unwrap()
}

fn agent(role: &str) -> Agent {
    match role {
        "client" => Agent::new("client-1", 0xc, CLIENT),
        _ => Agent::new("broker-1", 0xb, BROKER),
    }
}

/// Both agents around one event at 100 s.
fn both(client: Option<&End>, broker: Option<&End>) -> [Agent; 2] {
    [("client", client), ("broker", broker)].map(|(role, seen)| {
        agent(role).watching(|it| {
            if let Some(seen) = seen {
                it.ended(100.0, seen);
            }
        })
    })
}

/// What both agents around one event come to.
fn found(client: Option<&End>, broker: Option<&End>) -> PairFinding {
    let [client, broker] = both(client, broker);
    one(&[&client, &broker])
}

/// The finding of the client's host.
fn of_client(findings: &[PairFinding]) -> &PairFinding {
    let mut found = findings.iter().filter(|it| it.host.name == "client-1");
    found.next().unwrap()
}

/// What a stream has come to when all lines of these agents were read.
fn reading(settings: Settings, agents: &[&Agent]) -> Correlator {
    let mut correlator = Correlator::new(settings);
    read(&mut correlator, agents);
    correlator
}

fn read(correlator: &mut Correlator, agents: &[&Agent]) {
    for line in agents.iter().flat_map(|it| &it.lines) {
        correlator.read(line.as_bytes()).unwrap();
    }
}

fn finish(correlator: &mut Correlator) -> Vec<PairFinding> {
    let mut out = Vec::new();
    correlator.finish(&mut out);
    findings(out)
}

fn ns(seconds: f64) -> i64 {
    let time: Timestamp = rfc(seconds).parse().unwrap();
    i64::try_from(time.as_nanosecond()).unwrap()
}

type Answer = (Verdict, Option<Cause>, PairProof);

fn said(finding: &PairFinding) -> Answer {
    (finding.verdict, finding.cause, finding.proof)
}

/// Of the host that sent it.
const fn by_its_sender(verdict: Verdict, cause: Cause) -> Answer {
    (verdict, Some(cause), PairProof::SenderSeen)
}

const DEVICE: Answer = (
    Verdict::MiddleboxIdleReset,
    Some(Cause::ResetOnSend),
    PairProof::NobodySent,
);
const UNPROVEN: Answer = (Verdict::Indeterminate, None, PairProof::OneHost);
const LOST: Answer = by_its_sender(Verdict::BrokerOriginated, Cause::ConnectionLost);

#[test]
fn a_rst_that_nobody_sent_was_made_between() {
    let finding = found(Some(&RECEIVED), None);
    assert_eq!(said(&finding), DEVICE);
    assert_eq!(finding.sent_by, Some(SentBy::Device));
    assert!(finding.confidence >= 0.99 && finding.missing.is_empty());
    assert_eq!(finding.broker_host.as_ref().unwrap().saw, Saw::Nothing);
    assert!(
        finding.summary.contains("broker-1 (broker) sent no RST"),
        "{}",
        finding.summary
    );
    assert!(
        finding.summary.contains("from 2026-11-23T14:11:35.000Z to"),
        "{}",
        finding.summary
    );
}

#[test]
fn the_silence_says_what_the_device_did() {
    for (idle_ms, provoked_by, expected) in [
        (20.0, "data", (Verdict::MiddleboxReset, Cause::NotIdle)),
        (
            3_300.0,
            "data",
            (Verdict::MiddleboxIdleReset, Cause::ResetOnSend),
        ),
        (
            3_300.0,
            "keepalive",
            (Verdict::MiddleboxIdleReset, Cause::ResetOnSend),
        ),
        (
            3_300.0,
            "nothing",
            (Verdict::MiddleboxIdleReset, Cause::ResetOnTimer),
        ),
    ] {
        let seen = End {
            wire_idle_ms: Some(idle_ms),
            provoked_by: Some(provoked_by),
            ..RECEIVED
        };
        let finding = found(Some(&seen), None);
        assert_eq!(
            (finding.verdict, finding.cause),
            (expected.0, Some(expected.1))
        );
    }
}

#[test]
fn what_the_victim_held_likelier_says_what_the_device_did() {
    let seen = |candidates| {
        let seen = End {
            wire_idle_ms: Some(1_264.0),
            candidates,
            ..RECEIVED
        };
        let finding = found(Some(&seen), None);
        assert_eq!(finding.proof, PairProof::NobodySent);
        (finding.cause, finding.confidence)
    };
    // Others of that path ended with it, whatever their silence.
    let together = &[("broker_originated", 0.79), ("middlebox_reset", 0.1)];
    assert_eq!(seen(together), (Some(Cause::NotIdle), 0.99));
    let open = &[("middlebox_idle_reset", 0.3), ("middlebox_reset", 0.2)];
    assert_eq!(seen(open), (Some(Cause::ResetOnSend), 0.6));
}

/// The client's host received a RST; the broker's agent does as `watch` says.
fn with_broker(watch: impl FnOnce(&mut Agent)) -> PairFinding {
    let [client, _] = both(Some(&RECEIVED), None);
    let mut broker = agent("broker");
    watch(&mut broker);
    let finding = one(&[&client, &broker]);
    assert_eq!(said(&finding), UNPROVEN, "{:?}", finding.missing);
    assert!(finding.confidence < 0.9);
    finding
}

#[test]
fn whoever_was_not_watching_proves_nothing() {
    type Watch = Box<dyn Fn(&mut Agent)>;
    let case = |missing, watch: fn(&mut Agent)| -> (Missing, Watch) { (missing, Box::new(watch)) };
    let around = |missing, from: Value, to: Value| -> (Missing, Watch) {
        let watch = move |it: &mut Agent| {
            it.start(0.0);
            it.summary_with(95.0, &from);
            it.summary_with(105.0, &to);
        };
        (missing, Box::new(watch))
    };
    let until = |missing, to: Value| around(missing, json!({}), to);
    let cases = [
        case(Missing::NoAgent, |_| ()),
        case(Missing::NotAttachedYet, |it| {
            it.start(100.5);
            it.summary(105.0);
        }),
        case(Missing::Ended, |it| {
            it.start(0.0);
            it.summary_with(99.9, &json!({ "end": true }));
        }),
        case(Missing::Ended, |it| {
            it.start(0.0);
            // What happened just before may not have been written yet.
            it.summary(100.3);
        }),
        until(Missing::Lost, json!({ "kernel_lost": 1 })),
        until(Missing::Lost, json!({ "kernel_skipped": 1 })),
        until(Missing::Lost, json!({ "kernel_untracked": 2 })),
        until(
            Missing::Lost,
            json!({ "sinks": { "siem": { "delivered": 1, "waiting": 0, "lost": 1 } } }),
        ),
        case(Missing::Lost, |it| {
            it.start(0.0);
            it.summary(95.0);
            it.write(101.0, json!({ "type": "loss" }));
            it.summary(105.0);
        }),
        case(Missing::Lost, |it| {
            it.start(0.0);
            it.summary(95.0);
            // An event that did not arrive.
            it.number += 1;
            it.summary(105.0);
        }),
        around(
            Missing::Unshown,
            json!({ "unshown": 3 }),
            json!({ "unshown": 4 }),
        ),
        case(Missing::Degraded, |it| {
            it.start_without(0.0, &["cgroup", "socketless"]);
            it.summary(95.0);
            it.summary(105.0);
        }),
        until(Missing::Port, json!({ "ports": ["9093"] })),
        around(
            Missing::NoAgent,
            json!({ "addresses": null }),
            json!({ "addresses": null }),
        ),
    ];
    for (missing, watch) in cases {
        let finding = with_broker(watch);
        assert_eq!(finding.missing, [missing], "{}", finding.summary);
    }
}

#[test]
fn earlier_losses_do_not_matter() {
    let [client, _] = both(Some(&RECEIVED), None);
    let mut broker = agent("broker");
    broker.start(0.0);
    broker.write(3.0, json!({ "type": "loss" }));
    broker.summary_with(95.0, &json!({ "kernel_lost": 7, "unshown": 9 }));
    broker.summary_with(105.0, &json!({ "kernel_lost": 7, "unshown": 9 }));
    assert_eq!(said(&one(&[&client, &broker])), DEVICE);
}

#[test]
fn an_address_that_two_hosts_have_is_nobodys() {
    let [client, broker] = both(Some(&RECEIVED), None);
    let mut other = Agent::new("broker-2", 0xd, BROKER);
    other.start(0.0);
    other.summary(105.0);
    let finding = one(&[&client, &broker, &other]);
    assert_eq!(
        (said(&finding), &*finding.missing),
        (UNPROVEN, &[Missing::Address][..])
    );
    // One that had it before its reboot does not count.
    let mut earlier = Agent::new("broker-1", 0xe, BROKER);
    earlier.start(0.0);
    earlier.summary_with(50.0, &json!({ "end": true }));
    assert_eq!(said(&one(&[&client, &broker, &earlier])), DEVICE);
}

#[test]
fn the_senders_host_says_why_through_nat() {
    let behind_nat = End {
        client: ("10.9.0.1", 2_044),
        broker: (BROKER, 19_092),
        ..SENT
    };
    let before_nat = End {
        broker: ("192.0.2.10", 9092),
        ..RECEIVED
    };
    let finding = found(Some(&before_nat), Some(&behind_nat));
    assert_eq!(said(&finding), LOST);
    assert!(finding.confidence >= 0.99);
    assert_eq!(finding.sent_by, Some(SentBy::Broker));
    assert_eq!(finding.event_ids.len(), 2);
    assert_eq!(finding.host.name, "client-1");
    for part in [
        "client-1 (client) received a RST at 2026-11-23T14:11:40.000Z",
        "broker-1 (broker) sent a RST at 2026-11-23T14:11:40.000Z (NO_SOCKET), \
         where NAT makes it 10.9.0.1:2044 to 10.0.2.7:19092",
    ] {
        assert!(finding.summary.contains(part), "{}", finding.summary);
    }
}

#[test]
fn a_senders_host_that_is_not_sure_makes_nobody_sure() {
    let unsure = End {
        confidence: 0.6,
        ..SENT
    };
    let finding = found(Some(&RECEIVED), Some(&unsure));
    assert_eq!(said(&finding), LOST);
    assert!((finding.confidence - 0.6).abs() < 1e-9);
}

#[test]
fn without_a_flow_the_number_of_the_rst_joins_and_else_the_ends() {
    for (sequence, client, joined) in [
        (SENT.sequence, ("10.9.0.1", 2_044), true),
        (Some(9), ("10.9.0.1", 2_044), false),
        (Some(0), ("10.9.0.1", 2_044), false),
        (None, (CLIENT, 43_210), true),
        (None, (CLIENT, 43_211), false),
        // The ends are the same, but it is another RST.
        (Some(9), (CLIENT, 43_210), false),
    ] {
        let sent = End {
            flow: None,
            sequence,
            client,
            ..SENT
        };
        let [client, broker] = both(Some(&RECEIVED), Some(&sent));
        let findings = of(&[&client, &broker]);
        assert_eq!(findings.len(), if joined { 1 } else { 2 }, "{sequence:?}");
        let first = of_client(&findings);
        assert_eq!(said(first) == LOST, joined, "{sequence:?} {first:#?}");
        assert_ne!(first.proof, PairProof::NobodySent, "{sequence:?}");
    }
}

#[test]
fn of_several_that_fit_none_is_taken() {
    let sent = End { flow: None, ..SENT };
    let [client, mut broker] = both(Some(&RECEIVED), Some(&sent));
    broker.ended(101.0, &sent);
    broker.summary(110.0);
    let findings = of(&[&client, &broker]);
    assert_eq!(findings.len(), 3);
    let received = findings
        .iter()
        .find(|it| it.host.name == "client-1")
        .unwrap();
    assert_eq!(said(received), UNPROVEN);
    assert!(received.missing.contains(&Missing::Ambiguous));
}

#[test]
fn each_of_two_that_belong_together_fits_nothing_else() {
    // The second event of the broker's host fits only the later one of the client's, but that one
    // fits both: whichever is judged first, nothing says which belong together.
    let received = RECEIVED.of(None, None);
    let sent = SENT.of(None, None);
    let [mut client, mut broker] = both(None, None);
    for at in [100.0, 104.0] {
        client.ended(at, &received);
    }
    for at in [100.1, 107.0] {
        broker.ended(at, &sent);
    }
    for agent in [&mut client, &mut broker] {
        agent.summary(115.0);
    }
    let findings = of(&[&client, &broker]);
    assert_eq!(findings.len(), 4, "{findings:#?}");
    let unproven = findings.iter().filter(|it| it.host.name == "client-1");
    assert!(unproven.clone().count() == 2);
    for finding in unproven {
        assert_eq!(said(finding), UNPROVEN, "{finding:#?}");
        assert!(
            finding.missing.contains(&Missing::Ambiguous),
            "{finding:#?}"
        );
    }
}

#[test]
fn a_host_that_boots_again_is_another_host() {
    let [client, broker] = both(Some(&RECEIVED), None);
    let mut earlier = Agent::new("broker-1", 0xb0, BROKER);
    earlier.start(0.0);
    earlier.summary_with(50.0, &json!({ "end": true }));
    let all = [&client, &broker, &earlier];
    // Its numbers are its own: nothing of them was read before.
    assert_eq!(reading(settings(), &all).tally().repeated, 0);
    assert_eq!(said(&one(&all)), DEVICE);
    // Both at once have one address: nobody knows whose silence that is.
    earlier.summary(105.0);
    assert_eq!(
        one(&[&client, &broker, &earlier]).missing,
        [Missing::Address]
    );
}

#[test]
fn an_event_that_comes_after_all_was_forgotten_proves_nothing() {
    let [client, broker] = both(Some(&RECEIVED), Some(&SENT));
    let follow = |until: f64| {
        let mut correlator = reading(following(), &[&broker]);
        let mut out = Vec::new();
        correlator.advance(ns(until), &mut out);
        read(&mut correlator, &[&client]);
        correlator.finish(&mut out);
        findings(out).pop().expect("a finding")
    };
    // The broker's event was judged alone, and is still known.
    assert_eq!(said(&follow(140.0)), LOST);
    let late = follow(2_000.0);
    assert_eq!(late.proof, PairProof::OneHost, "{late:#?}");
    assert!(late.missing.contains(&Missing::Late), "{late:#?}");
}

#[test]
fn a_port_that_is_used_again_is_another_connection() {
    let earlier = End {
        flow: Some("00000001-00000002"),
        sequence: Some(77),
        answer: ("broker_originated", Some("aborted")),
        ..SENT
    };
    let [client, _] = both(Some(&RECEIVED), None);
    let broker = agent("broker").watching(|it| it.ended(98.0, &earlier));
    let findings = of(&[&client, &broker]);
    assert_eq!(findings.len(), 2, "{findings:#?}");
    assert_eq!(
        said(&findings[1]),
        DEVICE,
        "the earlier one has nothing to do with it"
    );
    assert_eq!(findings[0].cause, Some(Cause::Aborted));
}

#[test]
fn two_connections_behind_one_address_are_told_apart_by_their_flows() {
    let mut client = agent("client");
    client.start(0.0);
    let mut broker = agent("broker");
    broker.start(0.0);
    let [here, there] = [
        ("10.0.1.5", 1_000_u16, "00000001-00000009", 5),
        ("10.0.1.6", 1_000, "00000002-00000008", 6),
    ]
    .map(|(address, port, flow, number)| {
        let seen = RECEIVED.from((address, port)).of(Some(flow), Some(number));
        let sent = SENT.from(("10.9.0.1", 2_000));
        (seen, sent.of(Some(flow), Some(number)))
    });
    client.ended(100.0, &here.0);
    client.ended(100.1, &there.0);
    // Only the second one's RST was sent by the broker.
    broker.ended(100.1, &there.1);
    client.summary(105.0);
    broker.summary(105.0);
    let findings = of(&[&client, &broker]);
    let proofs: Vec<_> = findings.iter().map(|it| it.proof).collect();
    assert_eq!(proofs, [PairProof::NobodySent, PairProof::SenderSeen]);
}

#[test]
fn both_received_one_and_neither_sent_it() {
    let received = End {
        role: "broker",
        provoked_by: Some("nothing"),
        sequence: Some(2_377_280_000),
        ..RECEIVED
    };
    let finding = found(Some(&RECEIVED), Some(&received));
    assert_eq!(
        said(&finding),
        (
            Verdict::MiddleboxIdleReset,
            Some(Cause::ResetOnSend),
            PairProof::BothReceived
        )
    );
    // Hosts that do not show every RST they send may have sent these.
    let [client, mut broker] = both(Some(&RECEIVED), Some(&received));
    broker.lines.clear();
    broker.number = 0;
    broker.start_without(0.0, &["socketless"]);
    broker.ended(100.0, &received);
    broker.summary(105.0);
    let finding = one(&[&client, &broker]);
    assert_eq!(
        (finding.proof, &*finding.missing),
        (PairProof::OneHost, &[Missing::Degraded][..])
    );
}

#[test]
fn both_say_they_sent_it() {
    let aborted = End {
        role: "client",
        answer: ("client_originated", Some("aborted")),
        confidence: 0.99,
        ..SENT
    };
    let finding = found(Some(&aborted), Some(&SENT));
    assert_eq!(said(&finding), UNPROVEN);
    assert!(finding.conflict.is_some() && finding.confidence <= 0.5);
    // They agree: the second RST only answers the first.
    let agrees = End {
        answer: aborted.answer,
        confidence: 0.7,
        ..SENT
    };
    let finding = found(Some(&aborted), Some(&agrees));
    assert_eq!(
        said(&finding),
        by_its_sender(Verdict::ClientOriginated, Cause::Aborted)
    );
}

#[test]
fn another_rst_than_the_one_that_came_proves_nothing() {
    let other = SENT.of(SENT.flow, Some(17));
    let finding = found(Some(&RECEIVED), Some(&other));
    assert_eq!(finding.proof, PairProof::OneHost);
    assert_eq!(finding.missing, [Missing::AnotherReset]);
}

#[test]
fn an_abort_that_came_out_of_order_is_answered_by_the_number_that_was_asked_for() {
    let aborted = End {
        answer: ("broker_originated", Some("aborted")),
        confidence: 0.97,
        reason: Some("TCP_ABORT_ON_CLOSE"),
        // Ahead of what the client expects by what was lost.
        sequence: Some(3_112_361_826 + 608),
        ..SENT
    };
    let drawn = End {
        provoked_by: Some("nothing"),
        wire_idle_ms: Some(8.0),
        ..RECEIVED
    };
    let [client, broker] = both(Some(&drawn), Some(&aborted));
    assert_eq!(
        said(&one(&[&client, &broker])),
        by_its_sender(Verdict::BrokerOriginated, Cause::Aborted)
    );
    // One that was sent after the other had come answers nothing.
    let late = agent("broker").watching(|it| it.ended(100.4, &aborted));
    let finding = one(&[&client, &late]);
    assert_eq!(finding.missing, [Missing::AnotherReset]);
}

#[test]
fn what_comes_after_a_reported_close_is_of_the_closers_making() {
    let closed = End {
        kind: "close",
        answer: ("handshake_phase", Some("tls_alert")),
        confidence: 0.99,
        sequence: None,
        reason: None,
        ..SENT
    };
    let late = RECEIVED.after(40.0);
    let finding = found(Some(&late), Some(&closed));
    assert_eq!(
        said(&finding),
        by_its_sender(Verdict::HandshakePhase, Cause::TlsAlert)
    );
    assert_eq!(finding.sent_by, Some(SentBy::Broker));
    // That the broker's host saw the client close first says nothing of a RST.
    let closed_by_client = End {
        direction: "received",
        ..closed
    };
    assert_eq!(
        found(Some(&late), Some(&closed_by_client)).proof,
        PairProof::NobodySent
    );
}

#[test]
fn the_silence_that_the_victim_saw_tells_moved_from_rebound() {
    let stranger = End {
        answer: ("middlebox_idle_reset", Some("rebound")),
        confidence: 0.74,
        flow: None,
        broker: ("10.0.2.8", 9092),
        ..SENT
    };
    for (idle_ms, verdict, cause) in [
        (32.0, Verdict::MiddleboxReset, Cause::Moved),
        (3_300.0, Verdict::MiddleboxIdleReset, Cause::Rebound),
    ] {
        let seen = RECEIVED.after(idle_ms);
        let finding = found(Some(&seen), Some(&stranger));
        assert_eq!(said(&finding), by_its_sender(verdict, cause));
    }
}

#[test]
fn a_rst_that_never_came_is_told_by_its_sender() {
    let finding = found(None, Some(&SENT));
    assert_eq!(said(&finding), LOST);
    assert_eq!(finding.client_host.unwrap().saw, Saw::Nothing);
    assert!(finding.confidence < 0.99, "only its own host says why");
    let timeout = End {
        kind: "timeout",
        answer: ("middlebox_idle_drop", Some("blackholed")),
        confidence: 0.8,
        sequence: None,
        ..RECEIVED
    };
    let finding = found(Some(&timeout), Some(&SENT));
    assert_eq!(said(&finding), LOST, "a device swallowed the RST");
    let [client, broker] = both(Some(&timeout), None);
    let dropped = (
        Verdict::MiddleboxIdleDrop,
        Some(Cause::Blackholed),
        PairProof::NobodySent,
    );
    assert_eq!(said(&one(&[&client, &broker])), dropped);
    // A kernel that gives up sends a RST too; that is no cause.
    let gave_up = End {
        answer: timeout.answer,
        reason: Some("TCP_KEEPALIVE_TIMEOUT"),
        ..SENT
    };
    assert_eq!(said(&found(Some(&timeout), Some(&gave_up))), dropped);
}

#[test]
fn clocks_need_not_agree_for_flows_and_must_for_absence() {
    let [client, broker] = both(Some(&RECEIVED), Some(&SENT));
    let behind = |agent: &Agent| {
        let mut agent = Agent {
            lines: agent.lines.clone(),
            ..*agent
        };
        for line in &mut agent.lines {
            let mut event: Value = serde_json::from_str(line).unwrap();
            let time: Timestamp = event["time"].as_str().unwrap().parse().unwrap();
            let moved = time - jiff::SignedDuration::from_mins(10);
            event["time"] = format!("{moved:.9}").into();
            *line = event.to_string();
        }
        agent
    };
    let finding = one(&[&client, &behind(&broker)]);
    assert_eq!(said(&finding), LOST);
    assert_eq!(finding.skew_ms, Some(-600_000.0));
    // Nothing tells how far apart they are, and the broker's agent seems to have ended.
    let [client, broker] = both(Some(&RECEIVED), None);
    let finding = one(&[&client, &behind(&broker)]);
    assert_eq!(
        (said(&finding), &*finding.missing),
        (UNPROVEN, &[Missing::Ended][..])
    );
    // Another connection of theirs was reported by both.
    let reported = RECEIVED
        .from((CLIENT, 1))
        .of(Some("00000001-00000002"), Some(3));
    let sent = End {
        client: (CLIENT, 1),
        flow: reported.flow,
        sequence: reported.sequence,
        ..SENT
    };
    let [mut client, mut broker] = both(Some(&RECEIVED), None);
    client.ended(102.0, &reported);
    broker.ended(102.0, &sent);
    broker.summary(110.0);
    let findings = of(&[&client, &behind(&broker)]);
    let first = findings.iter().find(|it| it.client.port == 43_210).unwrap();
    assert_eq!(said(first), DEVICE);
}

#[test]
fn a_proxy_may_have_passed_a_rst_on() {
    // To an address that no agent reports from, at the same time.
    let onward = SENT
        .from(("10.0.3.3", 5_000))
        .of(Some("00000001-00000002"), Some(3));
    let [client, broker] = both(Some(&RECEIVED), Some(&onward));
    let findings = of(&[&client, &broker]);
    let received = findings
        .iter()
        .find(|it| it.host.name == "client-1")
        .unwrap();
    assert_eq!(said(received), UNPROVEN);
    assert_eq!(received.missing, [Missing::ConnectionUnknown]);
    // The same ends with other numbers: it keeps the addresses.
    let same_ends = onward.from(RECEIVED.client);
    let [client, broker] = both(Some(&RECEIVED), Some(&same_ends));
    let findings = of(&[&client, &broker]);
    let received = findings
        .iter()
        .find(|it| it.host.name == "client-1")
        .unwrap();
    assert_eq!(received.missing, [Missing::ConnectionUnknown]);
}

#[test]
fn a_refused_attempt_of_another_watched_host_is_not_passed_on() {
    let refused = |client| End {
        client: (client, 50_000),
        answer: ("handshake_phase", Some("refused")),
        flow: None,
        sequence: Some(0),
        ..SENT
    };
    let finding_of_client_1 = |client: &'static str| {
        let [watched, broker] = both(Some(&RECEIVED), Some(&refused(client)));
        let other = Agent::new("client-2", 0xd, "10.0.1.6").watching(|_| ());
        let findings = of(&[&watched, &broker, &other]);
        findings
            .into_iter()
            .find(|it| it.client.port == 43_210)
            .unwrap()
    };
    assert_eq!(said(&finding_of_client_1("10.0.1.6")), DEVICE);
    // Of this client's own address, or one that nobody watches, it may be this connection's.
    for client in [CLIENT, "10.0.3.3"] {
        let finding = finding_of_client_1(client);
        assert_eq!(finding.missing, [Missing::ConnectionUnknown], "{client}");
    }
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    let mut correlator = Correlator::new(settings());
    let mut read = |line: &str| {
        correlator
            .read(line.as_bytes())
            .map_err(|it| it.to_string())
    };
    assert_eq!(
        read(r#"{"schema":"kreset/2","type":7}"#),
        Err("schema \"kreset/2\": expected \"kreset/1\"".to_owned())
    );
    assert!(
        read("{\"schema\":\"kreset/1\",\"ty")
            .unwrap_err()
            .starts_with("not an event: ")
    );
    let no_id = r#"{"schema":"kreset/1","type":"loss","id":"pair-1","time":"2026-11-23T14:22:07Z","host":{"name":"h"}}"#;
    assert_eq!(
        read(no_id),
        Err("invalid id \"pair-1\": expected BOOT-RUN-NUMBER in hexadecimal".to_owned())
    );
    let no_role = RECEIVED.json();
    let mut agent = agent("client");
    agent.write(1.0, no_role);
    let line = agent.lines[0].replace("\"role\":\"client\",", "");
    assert_eq!(read(&line), Err("not an event: it has no role".to_owned()));
}

#[test]
fn what_comes_twice_counts_once() {
    let [client, broker] = both(Some(&RECEIVED), None);
    let lines: Vec<_> = client
        .lines
        .iter()
        .chain(&client.lines)
        .chain(&broker.lines)
        .collect();
    assert_eq!(correlate(&lines).len(), 1);
}

#[test]
fn what_ended_outside_of_the_time_asked_for_is_left_out() {
    let [client, broker] = both(Some(&RECEIVED), None);
    let at: Timestamp = rfc(100.0).parse().unwrap();
    let second = jiff::SignedDuration::from_secs(1);
    for (since, until, count) in [
        (Some(at), None, 1),
        (Some(at + second), None, 0),
        (None, Some(at), 0),
        (None, Some(at + second), 1),
    ] {
        let settings = Settings {
            since,
            until,
            ..settings()
        };
        let mut correlator = reading(settings, &[&client, &broker]);
        assert_eq!(finish(&mut correlator).len(), count);
    }
}

/// The event of a probe that had one connection, open from 60 to 99 s by the clock of the
/// client's host.
fn probe_event(client: (&str, u16)) -> Agent {
    let mut probe = Agent::new("client-1", 0xc, CLIENT);
    // Another run on the same host.
    probe.number = 0x1000;
    let end = |(address, port): (&str, u16)| json!({ "address": address, "port": port });
    probe.write(
        100.0,
        json!({
            "type": "probe", "broker": end(RECEIVED.broker),
            "connections": [{
                "community_id": "1:abc", "client": end(client),
                "opened": rfc(60.0), "ended": rfc(99.0),
            }],
        }),
    );
    probe
}

/// Findings, and how many were left out as the probe's.
fn of_probe(agents: &[&Agent], all: bool) -> (Vec<PairFinding>, u64) {
    let mut correlator = reading(Settings { all, ..settings() }, agents);
    (finish(&mut correlator), correlator.tally().probe)
}

#[test]
fn what_became_of_the_connections_of_a_probe_is_no_finding() {
    let listed = probe_event(RECEIVED.client);
    // The broker's host lost them, and says nothing of whose they were.
    let [client, broker] = both(None, Some(&SENT));
    let agents = [&client, &broker, &listed];
    assert_eq!(of_probe(&agents, false), (Vec::new(), 1));
    let (found, hidden) = of_probe(&agents, true);
    let [finding] = &*found else {
        panic!("{found:#?}");
    };
    assert_eq!(hidden, 0);
    assert_eq!(finding.kreset_probe, Some(KresetProbe::Listed));
    assert_eq!(said(finding), LOST);
    assert!(finding.summary.ends_with("of kreset-trace probe"));
    // Without its event, or of other connections, nothing is known.
    assert_eq!(of_probe(&[&client, &broker], false).0.len(), 1);
    let other = probe_event((CLIENT, 43_211));
    assert_eq!(of_probe(&[&client, &broker, &other], false).0.len(), 1);
}

#[test]
fn one_host_that_knows_the_probe_is_enough() {
    // Behind NAT the broker's host sees other addresses than the probe lists.
    let seen = SENT.from(("192.0.2.1", 2_044));
    let [client, broker] = both(Some(&RECEIVED), Some(&seen));
    let listed = probe_event(RECEIVED.client);
    assert_eq!(of_probe(&[&client, &broker, &listed], false).1, 1);
    for (by_client, by_broker) in [(Some("process"), None), (None, Some("mss"))] {
        let received = End {
            kreset_probe: by_client,
            ..RECEIVED
        };
        let sent = End {
            kreset_probe: by_broker,
            ..seen
        };
        let [client, broker] = both(Some(&received), Some(&sent));
        let (found, _) = of_probe(&[&client, &broker], true);
        let known = found[0].kreset_probe.map(KresetProbe::as_str);
        assert_eq!(known, by_client.or(by_broker));
    }
}

#[test]
fn a_later_connection_of_the_same_ports_is_not_the_probes() {
    let listed = probe_event(RECEIVED.client);
    let mut broker = agent("broker");
    broker.start(0.0);
    broker.ended(103.0, &SENT);
    broker.ended(110.0, &SENT.of(Some("00000001-00000002"), Some(7)));
    broker.summary(115.0);
    let (found, hidden) = of_probe(&[&broker, &listed], false);
    assert_eq!((found.len(), hidden), (1, 1), "{found:#?}");
}

#[test]
fn a_stream_is_judged_once_its_window_and_the_next_summary_are_over() {
    let [client, broker] = both(Some(&RECEIVED), None);
    let mut correlator = reading(following(), &[&client, &broker]);
    let mut out = Vec::new();
    correlator.advance(ns(139.0), &mut out);
    assert_eq!(out.len(), 0);
    correlator.advance(ns(140.0), &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(correlator.tally().events, 7);
}

#[test]
fn with_a_wide_window_all_that_tells_clocks_is_waited_for() {
    let [client, broker] = both(Some(&RECEIVED), None);
    let settings = Settings {
        window: Duration::from_mins(1),
        ..following()
    };
    let mut correlator = reading(settings, &[&client, &broker]);
    let mut out = Vec::new();
    // A RST that both hosts saw at 160 s may still come.
    correlator.advance(ns(219.0), &mut out);
    assert_eq!(out.len(), 0);
    correlator.advance(ns(220.0), &mut out);
    assert_eq!(out.len(), 1);
}

#[test]
fn routine_closes_are_counted_and_written_if_asked_for() {
    let late = End {
        direction: "sent",
        answer: ("client_originated", Some("late_data")),
        reason: Some("TCP_TIMEWAIT_SOCKET"),
        ..RECEIVED
    };
    let [client, broker] = both(Some(&late), None);
    let written = |all| {
        let mut correlator = reading(Settings { all, ..settings() }, &[&client, &broker]);
        (finish(&mut correlator).len(), correlator.tally().routine)
    };
    assert_eq!(written(false), (0, 1));
    assert_eq!(written(true), (1, 0));
}

#[test]
fn the_summary_names_what_would_have_to_be_watched() {
    let [client, _] = both(Some(&RECEIVED), None);
    let mut correlator = reading(settings(), &[&client]);
    finish(&mut correlator);
    let text = correlator.tally().to_string();
    for line in [
        "1 finding from 4 events, 1 of connections that one host alone reported",
        "        1  indeterminate, one_host",
        "        1  unproven: an agent on the other host",
        "        1  would need an agent at 10.0.2.7",
    ] {
        assert!(text.lines().any(|it| it == line), "{text}");
    }
}

proptest! {
    #[test]
    fn the_order_of_the_lines_does_not_matter(seed: u64) {
        let other = RECEIVED.from((CLIENT, 9)).of(Some("00000001-00000002"), Some(4));
        let [mut client, broker] = both(Some(&RECEIVED), Some(&SENT));
        client.ended(101.0, &other);
        client.summary(110.0);
        let mut lines: Vec<_> = client.lines.iter().chain(&broker.lines).collect();
        let expected = correlate(&lines);
        let mut state = seed | 1;
        for at in (1..lines.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            lines.swap(at, (state % (at as u64 + 1)) as usize);
        }
        prop_assert_eq!(correlate(&lines), expected);
    }

    #[test]
    fn no_bytes_are_fatal(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut correlator = Correlator::new(settings());
        let _refused = correlator.read(&bytes);
        correlator.finish(&mut Vec::new());
    }
}

/// One event of a host that both ends are on says what two events of two hosts would.
#[test]
fn an_event_of_both_ends_is_a_pair() {
    let mut event = RECEIVED.with(&SENT, 100.0 - 1e-6);
    event["verdict"] = "broker_originated".into();
    event["cause"] = "connection_lost".into();
    event["confidence"] = 0.995.into();
    event["reset"]["kernel_reason"] = "NO_SOCKET".into();
    event["other_end"]["kernel_reason"] = "NO_SOCKET".into();
    let agent = Agent::new("host-1", 0xb, CLIENT).watching(|it| it.write(100.0, event));
    let finding = one(&[&agent]);
    assert_eq!(finding.proof, PairProof::SenderSeen);
    assert_eq!(finding.cause, Some(Cause::ConnectionLost));
    assert_eq!(finding.event_ids.len(), 1);
    let [client, broker] =
        [&finding.client_host, &finding.broker_host].map(|it| it.as_ref().unwrap());
    assert_eq!((client.saw, broker.saw), (Saw::Received, Saw::Sent));
    assert_eq!(client.kernel_reason, None);
    assert_eq!(broker.kernel_reason.as_deref(), Some("NO_SOCKET"));
}

/// Without a flow as well, and although another host's event fits one of its ends too.
#[test]
fn both_ends_of_one_event_belong_together_whatever_else_fits() {
    let unnamed = RECEIVED.of(None, None);
    // When both ends saw it at one time, too.
    let event = unnamed.with(&End { flow: None, ..SENT }, 100.0);
    let here = Agent::new("host-1", 0xb, CLIENT).watching(|it| it.write(100.0, event));
    let mut there = agent("broker");
    there.ended(100.5, &SENT.of(None, None));
    let findings = of(&[&here, &there]);
    let ids: Vec<_> = findings.iter().map(|it| it.event_ids.as_slice()).collect();
    assert_eq!(ids.len(), 2, "{findings:#?}");
    assert!(ids.iter().all(|ids| ids.len() == 1), "{ids:?}");
    assert_ne!(ids[0], ids[1]);
}

/// An event of both ends counts once, whatever comes between its ends in the list.
#[test]
fn an_event_of_both_ends_is_named_once() {
    let event = RECEIVED.with(&SENT, 100.0);
    let mut agent = Agent::new("host-1", 0xb, CLIENT);
    agent.start(0.0);
    agent.write(100.0, event);
    agent.ended(100.5, &RECEIVED);
    agent.summary(105.0);
    let finding = one(&[&agent]);
    let ids: Vec<_> = finding.event_ids.iter().map(Id::as_str).collect();
    assert_eq!(ids, ["000000000000000b-5-1", "000000000000000b-5-2"]);
}

/// Nothing of an event of both ends stays behind in a stream.
#[test]
fn both_ends_of_an_event_are_forgotten() {
    let event = RECEIVED.with(&SENT, 100.0);
    let mut agent = Agent::new("host-1", 0xb, CLIENT);
    agent.start(0.0);
    // Both are due when they come, which is later than they happened.
    agent.summary(200.0);
    agent.write(100.0, event);
    agent.summary(4_000.0);
    let mut correlator = Correlator::new(following());
    let mut out = Vec::new();
    let mut read_ns = i64::MIN;
    for line in &agent.lines {
        let at_ns = correlator.read(line.as_bytes()).unwrap().unwrap();
        read_ns = read_ns.max(at_ns);
        correlator.advance(read_ns, &mut out);
    }
    assert_eq!(out.len(), 1);
    assert!(correlator.pending.is_empty());
}
