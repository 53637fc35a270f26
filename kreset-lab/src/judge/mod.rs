//! Whether what the tracer said is right. Pure: truth and events in, differences out.

mod answer;
mod claims;
pub(crate) mod exact;
mod expected;
pub(crate) mod pair;
pub(crate) mod ruling;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use crate::{
    Side,
    driver::Said,
    event::{Connection, Endpoint, Event, Reset, SCHEMA},
};

pub(crate) use answer::Answer;
use answer::choice;
pub(crate) use claims::{Claim, Claims};
pub(crate) use expected::{Expected, OnHost, Wanted};

/// How far the tracer's idle time may be off.
pub(crate) const IDLE_TOLERANCE: Duration = Duration::from_millis(20);

/// How far the tracer's age may be off.
pub(crate) const AGE_TOLERANCE: Duration = Duration::from_millis(50);

/// A time that the lab measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measured {
    /// The tracer must know it.
    Known(Duration),
    /// The host cannot be sure to know it; if the tracer says something, it must be this.
    IfSaid(Duration),
}

impl Measured {
    /// The time.
    pub(crate) const fn truth(self) -> Duration {
        let (Self::Known(truth) | Self::IfSaid(truth)) = self;
        truth
    }
}

/// The age that the tracer should give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// `exact`, and this; null only where it cannot be known.
    Exact(Measured),
    /// `at_least`: no more than the truth, and no less than what the tracer saw itself.
    AtLeast {
        /// How long the tracer could see that the connection was there.
        seen: Duration,
        /// The true age.
        truth: Duration,
    },
}

/// What happened to one connection, as the tracer on one host should report it.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    /// `reset`, `close` or `timeout`.
    pub(crate) kind: &'static str,
    /// `received` or `sent`.
    pub(crate) direction: Option<&'static str>,
    /// The end that this host is.
    pub(crate) role: Side,
    /// The right answers; any of them will do.
    pub(crate) answers: Vec<Answer>,
    /// Where one host cannot be sure: the confidence that must not be reached.
    pub(crate) unsure: Option<f64>,
    /// The state of the connection, where the scenario is about it.
    pub(crate) state: Option<&'static str>,
    /// What drew the reset, where that is not open to interpretation.
    pub(crate) provoked_by: Option<&'static str>,
    /// The silence before what drew the reset, counted from the last data.
    pub(crate) idle: Option<Measured>,
    /// The same, counted from the last packet of any kind.
    pub(crate) wire_idle: Option<Measured>,
    /// The reset as it reached this host. What the tracer does not know of it, it may leave open.
    pub(crate) reset: Option<Reset>,
    /// The connection's age at the reset.
    pub(crate) age: Option<Age>,
    /// What names the connection on both hosts, if both ends began it.
    pub(crate) flow: Option<String>,
    /// The client's address and port.
    pub(crate) client: SocketAddr,
    /// The broker's address and port.
    pub(crate) broker: SocketAddr,
}

/// What is wrong with what a tracer said; empty if nothing is.
pub(crate) fn judge(claims: &Claims, said: &Said) -> Vec<String> {
    let mut differences = Vec::new();
    for line in &said.garbage {
        differences.push(format!("a line is not of the contract: {line}"));
    }
    if let Some(odd) = said.events.iter().find(|event| event.schema != SCHEMA) {
        differences.push(format!("schema {:?}, expected {SCHEMA}", odd.schema));
    }
    if said.events.last().is_none_or(|last| last.kind != "summary") {
        differences.push("the last line is not a summary".to_owned());
    }
    claims.compare(said, lost(said), &mut differences);
    differences
}

/// What is wrong with what both tracers said of the same connections.
pub(crate) fn judge_together(here: &[&Event], there: &[&Event]) -> Vec<String> {
    let ids = |events: &[&Event]| -> BTreeMap<_, BTreeSet<Option<String>>> {
        let mut ids = BTreeMap::<_, BTreeSet<_>>::new();
        for event in events.iter().filter(|event| event.ends().is_some()) {
            let id = event.community_id.clone();
            ids.entry(event.ends()).or_default().insert(id);
        }
        ids
    };
    let (here, there) = (ids(here), ids(there));
    let both = here
        .iter()
        .filter_map(|(ends, ids)| Some((ids, there.get(ends)?)));
    both.filter(|(here, there)| here != there || here.len() != 1 || here.contains(&None))
        .map(|(here, there)| format!("community_id {here:?} here and {there:?} on the other host"))
        .collect()
}

/// How many events never reached the tracer: the sum of its `loss` events, which its summary
/// repeats.
pub(crate) fn lost(said: &Said) -> u64 {
    let of = |kind| {
        let events = said.events.iter().filter(move |event| event.kind == kind);
        events.filter_map(|event| event.lost)
    };
    of("loss").sum::<u64>().max(of("summary").sum())
}

fn compare(truth: &Truth, event: &Event, differences: &mut Vec<String>) {
    let nothing = Connection::default();
    let connection = event.connection.as_ref().unwrap_or(&nothing);
    let mut same = |what: &str, expected: Option<&str>, said: Option<&str>| {
        if let Some(expected) = expected
            && said != Some(expected)
        {
            let said = said.unwrap_or("null");
            differences.push(format!("{what} {said}, expected {expected}"));
        }
    };
    same("type", Some(truth.kind), Some(&event.kind));
    same("direction", truth.direction, event.direction.as_deref());
    same("role", Some(truth.role.name()), event.role.as_deref());
    same("state", truth.state, connection.state.as_deref());
    same(
        "provoked_by",
        truth.provoked_by,
        connection.provoked_by.as_deref(),
    );
    for (side, expected, said) in [
        (Side::Client, truth.client, &event.client),
        (Side::Broker, truth.broker, &event.broker),
    ] {
        let said = said.as_ref().and_then(Endpoint::socket);
        let said = said.map(|address| address.to_string());
        same(side.name(), Some(&expected.to_string()), said.as_deref());
    }
    if !truth.answers.iter().any(|answer| answer.fits(event)) {
        differences.push(format!(
            "said {}, expected {}",
            event.answer(),
            choice(&truth.answers)
        ));
    }
    match event.confidence {
        Some(confidence) if !(0.0..=1.0).contains(&confidence) => {
            differences.push(format!("confidence {confidence} is not from 0 to 1"));
        }
        Some(confidence) => {
            if let Some(limit) = truth.unsure.filter(|limit| confidence >= *limit) {
                differences.push(format!(
                    "confidence {confidence:.2} must stay below {limit:.2} here"
                ));
            }
        }
        None => differences.push("confidence null".to_owned()),
    }
    for (what, truth, said) in [
        ("idle", truth.idle, connection.idle_ms),
        ("wire idle", truth.wire_idle, connection.wire_idle_ms),
    ] {
        if let Some(truth) = truth {
            measured(what, truth, IDLE_TOLERANCE, said, differences);
        }
    }
    if let (Some(truth), Some(said)) = (&truth.reset, &event.reset) {
        compare_reset(truth, said, differences);
    }
    if let Some(age) = truth.age {
        compare_age(age, connection, differences);
    }
    compare_flow(truth.flow.as_deref(), connection, differences);
}

/// A full socket knows the flow, others may. Before the peer's SYN there is none.
fn compare_flow(truth: Option<&str>, connection: &Connection, differences: &mut Vec<String>) {
    let said = connection.flow_id.as_deref();
    let state = connection.state.as_deref();
    let may_be_unknown = matches!(
        state,
        None | Some("SYN_SENT" | "NEW_SYN_RECV" | "LISTEN" | "TIME_WAIT")
    );
    if said != truth && (said.is_some() || !may_be_unknown) {
        let [truth, said] = [truth, said].map(|it| it.unwrap_or("null"));
        differences.push(format!("flow_id {said}, truth {truth}"));
    }
}

/// Every header field that is reported must be what was on the wire.
fn compare_reset(truth: &Reset, said: &Reset, differences: &mut Vec<String>) {
    fn text<T: ToString>(value: Option<T>) -> Option<String> {
        value.map(|value| value.to_string())
    }
    for (what, truth, said) in [
        ("sequence", text(truth.sequence), text(said.sequence)),
        ("flags", truth.flags.clone(), said.flags.clone()),
        ("timestamps", text(truth.timestamps), text(said.timestamps)),
        ("TTL", text(truth.ttl), text(said.ttl)),
        (
            "handshake TTL",
            text(truth.handshake_ttl),
            text(said.handshake_ttl),
        ),
        ("IP id", text(truth.ip_id), text(said.ip_id)),
        ("window", text(truth.window), text(said.window)),
    ] {
        if said.is_some() && said != truth {
            let [truth, said] = [truth, said].map(|value| value.unwrap_or_else(null));
            differences.push(format!("{what} {said} of the reset, truth {truth}"));
        }
    }
}

fn compare_age(age: Age, connection: &Connection, differences: &mut Vec<String>) {
    let kind = match age {
        Age::Exact(_) => "exact",
        Age::AtLeast { .. } => "at_least",
    };
    if let Some(said) = connection.age_ms {
        let said_kind = connection.age_kind.as_deref().unwrap_or("null");
        // A lower bound where the exact age cannot be relied upon is honest as well.
        let modest = matches!(age, Age::Exact(Measured::IfSaid(truth))
            if said_kind == "at_least" && said <= ms(truth + AGE_TOLERANCE));
        if modest {
            return;
        }
        if said_kind != kind {
            differences.push(format!("age_kind {said_kind}, expected {kind}"));
        }
    }
    match age {
        Age::Exact(truth) => {
            measured("age", truth, AGE_TOLERANCE, connection.age_ms, differences);
        }
        Age::AtLeast { seen, truth } => {
            let least = ms(seen.saturating_sub(AGE_TOLERANCE));
            let most = ms(truth + AGE_TOLERANCE);
            match connection.age_ms {
                Some(said) if (least..=most).contains(&said) => {}
                said => differences.push(format!(
                    "age {}, expected {least:.0} to {most:.0} ms",
                    in_ms(said)
                )),
            }
        }
    }
}

fn measured(
    what: &str,
    expected: Measured,
    tolerance: Duration,
    said: Option<f64>,
    differences: &mut Vec<String>,
) {
    let truth = ms(expected.truth());
    let right = match (expected, said) {
        (_, Some(said)) => (said - truth).abs() <= ms(tolerance),
        (Measured::IfSaid(_), None) => true,
        (Measured::Known(_), None) => false,
    };
    if !right {
        differences.push(format!(
            "{what} {}, truth {truth:.0} ms, more than {} ms off",
            in_ms(said),
            tolerance.as_millis()
        ));
    }
}

/// As the tracer counts.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn null() -> String {
    "null".to_owned()
}

fn in_ms(said: Option<f64>) -> String {
    said.map_or_else(null, |said| format!("{said:.0} ms"))
}

#[cfg(test)]
mod tests;
