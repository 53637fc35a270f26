//! What one tracer said of one connection, beside what it should have said.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::case::{Case, Label, Told, Wanted};
use crate::{Side, driver::Said, event::Event};

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

/// From this confidence on nobody may be wrong.
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
    labelled: &[(&Case, Label)],
    said: &Said,
) -> Vec<Observation> {
    let mut events: BTreeMap<u16, Vec<&Event>> = BTreeMap::new();
    for event in said.events.iter().filter(|it| it.is_about_a_connection()) {
        let port = event.client.as_ref().and_then(|client| client.port);
        events.entry(port.unwrap_or(0)).or_default().push(event);
    }
    let mut all = Vec::new();
    for (case, label) in labelled {
        let told = events.remove(&label.port).unwrap_or_default();
        let mut told = told.into_iter();
        let first = told.next();
        all.push(Observation::new(
            case,
            label.port,
            side,
            held_out,
            label.on(side),
            first,
        ));
        for again in told {
            let nothing = &Wanted::Nothing;
            all.push(Observation::new(
                case,
                label.port,
                side,
                held_out,
                nothing,
                Some(again),
            ));
        }
    }
    all
}

impl Observation {
    fn new(
        case: &Case,
        port: u16,
        side: Side,
        held_out: bool,
        wanted: &Wanted,
        event: Option<&Event>,
    ) -> Self {
        let told = match wanted {
            Wanted::Nothing => None,
            Wanted::Told(told) | Wanted::IfTold(told) => Some(told),
        };
        let right = told
            .zip(event)
            .is_some_and(|(told, event)| told.right.iter().any(|answer| answer.fits(event)));
        let outcome = match (wanted, event) {
            (Wanted::Nothing | Wanted::IfTold(_), None) => Outcome::Quiet,
            (Wanted::Nothing, Some(_)) => Outcome::Noise,
            (Wanted::Told(_), None) => Outcome::Missed,
            (Wanted::Told(told) | Wanted::IfTold(told), Some(event)) => outcome(told, event, right),
        };
        let truth = told.map_or_else(
            || "nothing".to_owned(),
            |told| {
                let right: Vec<_> = told.right.iter().map(ToString::to_string).collect();
                right.join(" or ")
            },
        );
        Self {
            case: case.id.clone(),
            port,
            host: side.name(),
            held_out,
            unseen: case.is_unseen(),
            decidable: told.is_none_or(Told::is_decidable),
            truth,
            said: event.map(Event::answer),
            confidence: event.and_then(|event| event.confidence),
            right,
            outcome,
            event: event.and_then(|event| serde_json::from_str(&event.line).ok()),
        }
    }

    /// Whether it named a cause, rather than abstain or stay silent, where something was wanted.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.truth != "nothing" && self.said.as_ref().is_some_and(|said| said != ABSTAINED)
    }

    /// Whether it was sure.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        self.confidence.is_some_and(|confidence| confidence >= SURE)
    }
}

/// The verdict of a tracer that abstains.
const ABSTAINED: &str = "indeterminate";

fn outcome(told: &Told, event: &Event, right: bool) -> Outcome {
    let sure = event.confidence.is_none_or(|confidence| confidence >= SURE);
    let abstained = event.verdict.as_deref() == Some(ABSTAINED);
    if told.is_decidable() {
        return match (right, abstained) {
            (true, _) => Outcome::Right,
            (false, true) => Outcome::Abstained,
            (false, false) => Outcome::Wrong,
        };
    }
    let alike = abstained || right || told.alike.iter().any(|answer| answer.fits(event));
    // Who made use of what settles it may be sure.
    let sure = sure && !(told.settled && right);
    match (alike, abstained, sure) {
        (false, ..) => Outcome::Wrong,
        (true, false, true) => Outcome::Overconfident,
        (true, ..) => Outcome::Honest,
    }
}
