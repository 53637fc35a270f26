//! What one tracer said of one connection, beside what it should have said.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::{
    Side,
    case::Case,
    driver::Said,
    event::Event,
    judge::{Expected, OnHost, Wanted, pair::together},
};

/// How a tracer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Verdict and cause are those of the label.
    Right,
    /// `indeterminate`, where one host can decide.
    Abstained,
    /// Another verdict or cause.
    Wrong,
    /// No event where there should be one.
    Missed,
    /// One host cannot decide: it abstained, or named one of what looks alike and was not sure.
    Honest,
    /// One host cannot decide, and it was sure.
    Overconfident,
    /// Nothing to say, and nothing said.
    Quiet,
    /// An event where there should be none, or a second one.
    Noise,
}

/// From this confidence on no answer may be wrong.
pub const SURE: f64 = 0.9;

/// One connection, seen from one host.
#[derive(Clone, Debug, Serialize)]
pub struct Observation {
    /// The name of the case.
    pub case: String,
    /// The client's port.
    pub port: u16,
    /// The host.
    pub host: &'static str,
    /// Whether the seed of its run is held out.
    pub held_out: bool,
    /// Whether its combination of cause and variant was never run under a seed that weights may be
    /// set by.
    pub unseen: bool,
    /// Whether one host can decide.
    pub decidable: bool,
    /// The label: `verdict/cause`, causes that are both true joined by `|`, or `nothing`.
    pub truth: String,
    /// What was said, if anything.
    pub said: Option<String>,
    /// With which confidence.
    pub confidence: Option<f64>,
    /// Whether it is one of the right answers.
    pub right: bool,
    /// What it comes to.
    pub outcome: Outcome,
    /// The event itself.
    pub event: Option<Value>,
}

/// What the tracer on one host said of all connections.
pub(super) fn observe(
    side: Side,
    held_out: bool,
    labelled: &[(&Case, Expected)],
    said: &Said,
) -> Vec<Observation> {
    let events: Vec<&Event> = said.about_connections().collect();
    let on = |expected: &Expected, _: &[&Event]| expected.on(side).clone();
    beside(side.name(), held_out, labelled, &events, on)
}

/// What the reports of both hosts prove together of all connections.
pub(super) fn observe_pairs(
    held_out: bool,
    labelled: &[(&Case, Expected)],
    findings: &[Event],
) -> Vec<Observation> {
    // One that a device gave another port is labelled by either, and found by the client's.
    let labels: BTreeSet<u16> = labelled.iter().map(|(_, one)| one.port).collect();
    let taken: BTreeSet<u16> = findings.iter().filter_map(client_port).collect();
    let renamed: Vec<Event> = findings
        .iter()
        .flat_map(|finding| {
            let others = ports_of_hosts(finding)
                .into_iter()
                .filter(|port| labels.contains(port) && !taken.contains(port));
            others.map(|port| {
                let mut finding = finding.clone();
                if let Some(client) = &mut finding.client {
                    client.port = Some(port);
                }
                finding
            })
        })
        .collect();
    let all: Vec<&Event> = findings.iter().chain(&renamed).collect();
    beside("both", held_out, labelled, &all, together)
}

fn client_port(event: &Event) -> Option<u16> {
    event.client.as_ref()?.port
}

/// The client's port as each host saw it.
fn ports_of_hosts(finding: &Event) -> BTreeSet<u16> {
    let json: Value = serde_json::from_str(&finding.line).unwrap_or_default();
    ["client_host", "broker_host"]
        .iter()
        .filter_map(|host| u16::try_from(json[*host]["client"]["port"].as_u64()?).ok())
        .collect()
}

/// Events beside what should have been said of their connections.
fn beside(
    host: &'static str,
    held_out: bool,
    labelled: &[(&Case, Expected)],
    said: &[&Event],
    on: impl Fn(&Expected, &[&Event]) -> OnHost,
) -> Vec<Observation> {
    let mut events: BTreeMap<u16, Vec<&Event>> = BTreeMap::new();
    for event in said {
        let port = client_port(event).unwrap_or(0);
        events.entry(port).or_default().push(event);
    }
    let mut all = Vec::new();
    for (case, expected) in labelled {
        let mut observe = |on_host: &OnHost, event| {
            let port = expected.port;
            all.push(Observation::new(case, port, host, held_out, on_host, event));
        };
        let events = events.remove(&expected.port).unwrap_or_default();
        let wanted = on(expected, &events);
        let mut events = events.into_iter();
        observe(&wanted, events.next());
        for again in events {
            observe(&OnHost::Nothing, Some(again));
        }
    }
    all
}

impl Observation {
    fn new(
        case: &Case,
        port: u16,
        host: &'static str,
        held_out: bool,
        on_host: &OnHost,
        event: Option<&Event>,
    ) -> Self {
        let wanted = on_host.wanted();
        let right = wanted
            .zip(event)
            .is_some_and(|(wanted, event)| wanted.right.iter().any(|answer| answer.fits(event)));
        let outcome = match (on_host, event) {
            (OnHost::Nothing | OnHost::Optional(_), None) => Outcome::Quiet,
            (OnHost::Nothing, Some(_)) => Outcome::Noise,
            (OnHost::Required(_), None) => Outcome::Missed,
            (OnHost::Required(wanted) | OnHost::Optional(wanted), Some(event)) => {
                outcome(wanted, event, right)
            }
        };
        let truth = wanted.map_or_else(
            || "nothing".to_owned(),
            |wanted| {
                let right: Vec<_> = wanted.right.iter().map(ToString::to_string).collect();
                right.join(" or ")
            },
        );
        Self {
            case: case.id.clone(),
            port,
            host,
            held_out,
            unseen: case.is_unseen(),
            decidable: wanted.is_none_or(Wanted::is_decidable),
            truth,
            said: event.map(Event::answer),
            confidence: event.and_then(|event| event.confidence),
            right,
            outcome,
            event: event.and_then(|event| serde_json::from_str(&event.line).ok()),
        }
    }

    /// Whether it named a cause, rather than abstain or stay silent, where something was wanted.
    pub fn is_named(&self) -> bool {
        self.truth != "nothing" && self.said.as_ref().is_some_and(|said| said != ABSTAINED)
    }

    /// Whether both hosts together prove it, right or not.
    pub fn is_proven(&self) -> bool {
        let proof = self.event.as_ref().and_then(|event| event.get("proof"));
        proof.is_some_and(|proof| proof != "one_host")
    }

    /// Whether it was sure.
    pub fn is_sure(&self) -> bool {
        self.confidence.is_some_and(|confidence| confidence >= SURE)
    }
}

/// The verdict of a tracer that abstains.
const ABSTAINED: &str = "indeterminate";

fn outcome(wanted: &Wanted, event: &Event, right: bool) -> Outcome {
    let sure = event.confidence.is_none_or(|confidence| confidence >= SURE);
    let abstained = event.verdict.as_deref() == Some(ABSTAINED);
    if wanted.is_decidable() {
        return match (right, abstained) {
            (true, _) => Outcome::Right,
            (false, true) => Outcome::Abstained,
            (false, false) => Outcome::Wrong,
        };
    }
    let alike = abstained || right || wanted.alike.iter().any(|answer| answer.fits(event));
    // A tracer that made use of what settles it may be sure.
    let sure = sure && !(wanted.settled && right);
    match (alike, abstained, sure) {
        (false, ..) => Outcome::Wrong,
        (true, false, true) => Outcome::Overconfident,
        (true, ..) => Outcome::Honest,
    }
}
