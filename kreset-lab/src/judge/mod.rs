//! Whether what the tracer said is right. Pure: truth and events in, differences out.

mod claims;
pub mod ruling;

use std::{collections::BTreeSet, fmt, net::SocketAddr, time::Duration};

use crate::{
    Side,
    driver::Said,
    event::{Connection, Endpoint, Event, Reset, SCHEMA},
};

pub use claims::Claim;

/// How far the tracer's idle time may be off.
pub const IDLE_TOLERANCE: Duration = Duration::from_millis(20);

/// How far the tracer's age may be off.
pub const AGE_TOLERANCE: Duration = Duration::from_millis(50);

/// A right answer: a verdict, and the causes that may be given with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The verdict.
    pub verdict: &'static str,
    /// The causes that are right; none for a verdict that has none.
    pub causes: &'static [&'static str],
}

impl Answer {
    /// A device forgot the silent connection and answered the next packet.
    pub const IDLE_ON_SEND: Self = Self::one("middlebox_idle_reset", &["reset_on_send"]);
    /// A device ended the silent connection when its timer ran out.
    pub const IDLE_ON_TIMER: Self = Self::one("middlebox_idle_reset", &["reset_on_timer"]);
    /// A device forgot the silent connection and drops what follows.
    pub const IDLE_DROP: Self = Self::one("middlebox_idle_drop", &["blackholed"]);
    /// A device reset a connection that was active.
    pub const NOT_IDLE: Self = Self::one("middlebox_reset", &["not_idle"]);
    /// The broker ended a connection that nobody used.
    pub const IDLE_CLOSE: Self = Self::one("broker_originated", &["idle_close"]);
    /// The broker's process ended.
    pub const SHUTDOWN: Self = Self::one("broker_originated", &["shutdown"]);
    /// The broker's process ended with unread data: either is true.
    pub const SHUTDOWN_OR_ABORTED: Self = Self::one("broker_originated", &["shutdown", "aborted"]);
    /// The broker's host knows of no such connection.
    pub const CONNECTION_LOST: Self = Self::one("broker_originated", &["connection_lost"]);
    /// The broker's live socket aborted.
    pub const BROKER_ABORTED: Self = Self::one("broker_originated", &["aborted"]);
    /// A client without TLS came to a listener with it.
    pub const PLAINTEXT_TO_TLS: Self = Self::one("handshake_phase", &["plaintext_to_tls"]);
    /// A client with TLS came to a listener without it.
    pub const TLS_TO_PLAINTEXT: Self = Self::one("handshake_phase", &["tls_to_plaintext"]);
    /// Something that is no Kafka client came.
    pub const NOT_KAFKA: Self = Self::one("handshake_phase", &["not_kafka"]);
    /// TLS began, and an alert or an abort ended it.
    pub const TLS_ALERT: Self = Self::one("handshake_phase", &["tls_alert"]);
    /// SASL began, and did not end well.
    pub const AUTHENTICATION: Self = Self::one("handshake_phase", &["authentication"]);
    /// Nothing listens.
    pub const REFUSED: Self = Self::one("handshake_phase", &["refused"]);
    /// Accepted and dropped before any answer.
    pub const CLOSED_BY_BROKER: Self = Self::one("handshake_phase", &["closed_by_broker"]);
    /// The client's live socket aborted.
    pub const CLIENT_ABORTED: Self = Self::one("client_originated", &["aborted"]);
    /// Opened and reset by the client without a byte.
    pub const PROBE: Self = Self::one("client_originated", &["probe"]);
    /// The client closed in order, data still under way met no socket.
    pub const LATE_DATA: Self = Self::one("client_originated", &["late_data"]);
    /// One host cannot tell.
    pub const INDETERMINATE: Self = Self::one("indeterminate", &[]);

    pub(crate) const fn one(verdict: &'static str, causes: &'static [&'static str]) -> Self {
        Self { verdict, causes }
    }

    pub(crate) fn fits(&self, event: &Event) -> bool {
        event.verdict.as_deref() == Some(self.verdict)
            && match &event.cause {
                Some(cause) => self.causes.contains(&cause.as_str()),
                None => self.causes.is_empty(),
            }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verdict)?;
        for (number, cause) in self.causes.iter().enumerate() {
            f.write_str(if number == 0 { "/" } else { "|" })?;
            f.write_str(cause)?;
        }
        Ok(())
    }
}

/// A time that the lab measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// The tracer must know it.
    Known(Duration),
    /// The host cannot be sure to know it; if the tracer says something, it must be this.
    IfSaid(Duration),
}

impl Measured {
    /// The time.
    #[must_use]
    pub const fn truth(self) -> Duration {
        let (Self::Known(truth) | Self::IfSaid(truth)) = self;
        truth
    }
}

/// The age that the tracer should give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
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

/// What happened to one connection, as the tracer on one host should tell it.
#[derive(Clone, Debug)]
pub struct Truth {
    /// `reset` or `timeout`.
    pub kind: &'static str,
    /// `received` or `sent`.
    pub direction: Option<&'static str>,
    /// The end that this host is.
    pub role: Side,
    /// The right answers; any of them will do.
    pub answers: Vec<Answer>,
    /// Where nobody can be sure: the confidence that must not be reached.
    pub unsure: Option<f64>,
    /// The state of the connection, where the scenario is about it.
    pub state: Option<&'static str>,
    /// What drew the reset, where that is not open to interpretation.
    pub provoked_by: Option<&'static str>,
    /// The silence before what drew the reset, counted from the last data.
    pub idle: Option<Measured>,
    /// The same, counted from the last packet of any kind.
    pub wire_idle: Option<Measured>,
    /// The reset as it reached this host. What the tracer does not know of it, it may leave open.
    pub reset: Option<Reset>,
    /// The connection's age at the reset.
    pub age: Option<Age>,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The broker's address and port.
    pub broker: SocketAddr,
}

/// What the tracer on one host should say.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Nothing of any connection.
    NoEvent,
    /// Exactly one event.
    Event(Box<Truth>),
    /// One event for each of many connections, or a loss that accounts for what is missing.
    Many {
        /// How many.
        count: usize,
        /// What each of them should be; addresses, times and states are not looked at.
        each: Box<Truth>,
    },
    /// Of some connections something, of all others nothing.
    Each(Vec<Claim>),
}

impl Expected {
    /// Whether anything may be said.
    #[must_use]
    pub const fn allows(&self) -> bool {
        match self {
            Self::NoEvent => false,
            Self::Event(_) | Self::Many { .. } => true,
            Self::Each(claims) => !claims.is_empty(),
        }
    }

    /// Whether saying nothing would be wrong.
    #[must_use]
    pub fn demands(&self) -> bool {
        match self {
            Self::NoEvent => false,
            Self::Event(_) => true,
            Self::Many { count, .. } => *count > 0,
            Self::Each(claims) => claims.iter().any(|claim| claim.required),
        }
    }

    /// How many resets this says were on the host's wire.
    #[must_use]
    pub fn resets(&self) -> usize {
        match self {
            Self::NoEvent => 0,
            Self::Event(truth) => usize::from(truth.kind == "reset"),
            Self::Many { count, .. } => *count,
            Self::Each(claims) => claims.iter().filter(|claim| claim.required).count(),
        }
    }

    /// What an event should tell, if there should be one.
    #[must_use]
    pub fn truth(&self) -> Option<&Truth> {
        match self {
            Self::NoEvent | Self::Each(_) => None,
            Self::Event(truth) | Self::Many { each: truth, .. } => Some(truth),
        }
    }
}

impl From<Truth> for Expected {
    fn from(truth: Truth) -> Self {
        Self::Event(Box::new(truth))
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Each(claims) = self {
            return f.write_str(&claims::summary(claims));
        }
        let Some(truth) = self.truth() else {
            return f.write_str("no event");
        };
        if let Self::Many { count, .. } = self {
            write!(f, "{count} x ")?;
        }
        f.write_str(&choice(&truth.answers))
    }
}

/// What is wrong with what a tracer said; empty if nothing is.
#[must_use]
pub fn judge(expected: &Expected, said: &Said) -> Vec<String> {
    let mut differences = Vec::new();
    for line in &said.garbage {
        differences.push(format!("a line is not of the contract: {line}"));
    }
    if let Some(odd) = said.events.iter().find(|event| event.schema != SCHEMA) {
        differences.push(format!("schema {:?}, expected {SCHEMA}", odd.schema));
    }
    if said.events.last().is_none_or(|last| last.kind != "summary") {
        differences.push("the last line is no summary".to_owned());
    }
    let lost = lost(said);
    if lost > 0 && !matches!(expected, Expected::Many { .. }) {
        differences.push(format!("{lost} events lost"));
    }
    let told: Vec<_> = said
        .events
        .iter()
        .filter(|event| event.is_about_a_connection())
        .collect();
    match (expected, told.as_slice()) {
        (Expected::NoEvent, []) => {}
        (Expected::NoEvent, many) => {
            for event in many {
                differences.push(format!("said {}, expected no event", event.answer()));
            }
        }
        (Expected::Many { count, each }, many) => {
            compare_many(*count, each, many, lost, &mut differences);
        }
        (Expected::Each(claims), told) => claims::compare_each(claims, told, &mut differences),
        (Expected::Event(_), []) => differences.push(format!("no event, expected {expected}")),
        (Expected::Event(truth), [event]) => compare(truth, event, &mut differences),
        (Expected::Event(_), many) => {
            let answers: Vec<_> = many.iter().map(|event| event.answer()).collect();
            differences.push(format!(
                "{} events instead of one: {}",
                many.len(),
                answers.join(", ")
            ));
        }
    }
    differences
}

/// What is wrong with what both tracers said of the same connection.
#[must_use]
pub fn judge_together(one: &Event, other: &Event) -> Option<String> {
    (one.community_id.is_none() || one.community_id != other.community_id).then(|| {
        let id = |event: &Event| event.community_id.clone().unwrap_or_else(null);
        format!(
            "community_id {} here and {} on the other host",
            id(one),
            id(other)
        )
    })
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
            differences.push(format!("confidence {confidence} is no probability"));
        }
        Some(confidence) => {
            if let Some(limit) = truth.unsure.filter(|limit| confidence >= *limit) {
                differences.push(format!(
                    "confidence {confidence:.2}, and nobody can have {limit:.2} here"
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
}

/// Every header field that is told must be what was on the wire.
fn compare_reset(truth: &Reset, said: &Reset, differences: &mut Vec<String>) {
    fn text<T: ToString>(value: Option<T>) -> Option<String> {
        value.map(|value| value.to_string())
    }
    for (what, truth, said) in [
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

/// Each connection must be told of once, or be lost and counted.
fn compare_many(
    count: usize,
    each: &Truth,
    told: &[&Event],
    lost: u64,
    differences: &mut Vec<String>,
) {
    let ports: BTreeSet<_> = told
        .iter()
        .filter_map(|event| event.client.as_ref()?.port)
        .collect();
    if ports.len() != told.len() {
        differences.push(format!(
            "{} events of {} connections",
            told.len(),
            ports.len()
        ));
    }
    if told.len() as u64 + lost != count as u64 {
        differences.push(format!(
            "{} events and {lost} lost, expected {count} together",
            told.len()
        ));
    }
    let right = |event: &&&Event| {
        event.kind == each.kind
            && event.direction.as_deref() == each.direction
            && event.role.as_deref() == Some(each.role.name())
            && each.answers.iter().any(|answer| answer.fits(event))
    };
    let wrong = told.len() - told.iter().filter(right).count();
    if wrong > 0 {
        differences.push(format!(
            "{wrong} of {} events are not {} {} on the {}",
            told.len(),
            each.direction.unwrap_or_default(),
            choice(&each.answers),
            each.role,
        ));
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

/// Any of these.
fn choice(answers: &[Answer]) -> String {
    let answers: Vec<_> = answers.iter().map(Answer::to_string).collect();
    answers.join(" or ")
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
