//! Recorded events, with what names a host or a connection taken out.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};

/// One line a scenario: what the tracers of both hosts reported.
const SHIPPED: &str = include_str!("recorded.jsonl");

/// What an event says that differs from event to event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Id,
    Time,
    Host,
    CommunityId,
    Client,
    Broker,
    Flow,
    Sequence,
    End,
    Coverage,
    Degraded,
}

impl Slot {
    const ALL: [(Self, &str); 11] = [
        (Self::Id, "/id"),
        (Self::Time, "/time"),
        (Self::Host, "/host"),
        (Self::CommunityId, "/community_id"),
        (Self::Client, "/client"),
        (Self::Broker, "/broker"),
        (Self::Flow, "/connection/flow_id"),
        (Self::Sequence, "/reset/sequence"),
        (Self::End, "/end"),
        (Self::Coverage, "/coverage"),
        (Self::Degraded, "/degraded"),
    ];

    fn mark(self) -> String {
        format!("@@{self:?}@@")
    }
}

/// What fills the slots; each as JSON.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    pub(super) id: String,
    pub(super) time: String,
    pub(super) host: String,
    pub(super) community_id: String,
    pub(super) client: String,
    pub(super) broker: String,
    pub(super) flow: String,
    pub(super) sequence: String,
    pub(super) end: String,
    pub(super) coverage: String,
    pub(super) degraded: String,
}

impl Values {
    fn of(&self, slot: Slot) -> &str {
        match slot {
            Slot::Id => &self.id,
            Slot::Time => &self.time,
            Slot::Host => &self.host,
            Slot::CommunityId => &self.community_id,
            Slot::Client => &self.client,
            Slot::Broker => &self.broker,
            Slot::Flow => &self.flow,
            Slot::Sequence => &self.sequence,
            Slot::End => &self.end,
            Slot::Coverage => &self.coverage,
            Slot::Degraded => &self.degraded,
        }
    }
}

/// An event without what differs.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// Text, and what follows it.
    parts: Vec<(String, Option<Slot>)>,
    /// Nanoseconds after the first event of its connection.
    pub(super) after_ns: i64,
    /// What was recorded.
    pub(super) flow: Option<String>,
    pub(super) sequence: Option<u32>,
}

/// What both hosts reported of one connection.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) client: Vec<Template>,
    pub(super) broker: Vec<Template>,
}

/// All that was recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) start: Template,
    pub(super) summary: Template,
    pub(super) loss: Template,
    pub(super) pairs: Vec<Pair>,
}

impl Recorded {
    /// What is shipped with this program.
    pub(super) fn shipped() -> Result<Self> {
        let mut pairs = Vec::new();
        let mut agent = None;
        for line in SHIPPED.lines() {
            let line: Value = serde_json::from_str(line).context("recorded.jsonl")?;
            if let Some(events) = line.get("agent") {
                agent = Some(events.clone());
                continue;
            }
            let first_ns = ["client", "broker"]
                .iter()
                .flat_map(|host| line[*host].as_array().into_iter().flatten())
                .filter_map(|event| time_ns(event).ok())
                .min()
                .unwrap_or(0);
            let of = |host: &str| -> Result<Vec<Template>> {
                let events = line[host].as_array().into_iter().flatten();
                events.map(|event| Template::new(event, first_ns)).collect()
            };
            pairs.push(Pair {
                client: of("client")?,
                broker: of("broker")?,
            });
        }
        let agent = agent.ok_or_else(|| anyhow!("recorded.jsonl has no events of an agent"))?;
        let of = |kind: &str| {
            let events = agent.as_array().into_iter().flatten();
            let event = events.clone().find(|event| event["type"] == kind);
            let event = event.ok_or_else(|| anyhow!("recorded.jsonl has no {kind}"))?;
            Template::new(event, time_ns(event)?)
        };
        Ok(Self {
            start: of("start")?,
            summary: of("summary")?,
            loss: of("loss")?,
            pairs,
        })
    }
}

impl Recorded {
    /// What was recorded: of which pair, whether by the broker's host, and which of its events.
    pub(super) fn template(&self, (pair, is_broker, index): (usize, bool, usize)) -> &Template {
        let Pair { client, broker } = &self.pairs[pair];
        let templates = if is_broker { broker } else { client };
        &templates[index]
    }
}

impl Template {
    fn new(event: &Value, first_ns: i64) -> Result<Self> {
        let flow = event.pointer("/connection/flow_id").and_then(Value::as_str);
        let sequence = event.pointer("/reset/sequence").and_then(Value::as_u64);
        let mut marked = event.clone();
        for (slot, pointer) in Slot::ALL {
            if let Some(value) = marked.pointer_mut(pointer) {
                *value = json!(slot.mark());
            }
        }
        let text = marked.to_string();
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((at, slot, mark)) = next_mark(rest) {
            parts.push((rest[..at].to_owned(), Some(slot)));
            rest = &rest[at + mark.len()..];
        }
        parts.push((rest.to_owned(), None));
        Ok(Self {
            parts,
            after_ns: time_ns(event)? - first_ns,
            flow: flow.map(str::to_owned),
            sequence: sequence.and_then(|it| u32::try_from(it).ok()),
        })
    }

    /// The event, as a line.
    pub(super) fn fill(&self, values: &Values) -> String {
        let mut line = String::with_capacity(3_000);
        for (text, slot) in &self.parts {
            line.push_str(text);
            if let Some(slot) = slot {
                line.push_str(values.of(*slot));
            }
        }
        line
    }
}

/// The first mark of a text, quotes included.
fn next_mark(text: &str) -> Option<(usize, Slot, String)> {
    let marks = Slot::ALL.iter().map(|(slot, _)| {
        let mark = format!("\"{}\"", slot.mark());
        (text.find(&mark), *slot, mark)
    });
    let found = marks.filter_map(|(at, slot, mark)| Some((at?, slot, mark)));
    found.min_by_key(|(at, ..)| *at)
}

/// Nanoseconds since midnight of an event's `time`: recordings are of one day.
fn time_ns(event: &Value) -> Result<i64> {
    let time = event["time"].as_str().unwrap_or_default();
    let parse = || -> Option<i64> {
        let clock = time.split_once('T')?.1.strip_suffix('Z')?;
        let (whole, fraction) = clock.split_once('.')?;
        let mut seconds = 0;
        for part in whole.split(':') {
            seconds = seconds * 60 + part.parse::<i64>().ok()?;
        }
        Some(seconds * 1_000_000_000 + fraction.parse::<i64>().ok()?)
    };
    parse().ok_or_else(|| anyhow!("recorded.jsonl: invalid time \"{time}\""))
}

/// A time from nanoseconds since midnight of the simulated day.
pub(super) fn rfc3339(ns: i64) -> String {
    let (seconds, fraction) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    let mut text = String::with_capacity(32);
    // Writing to memory does not fail.
    let _written = write!(
        text,
        "\"2026-11-23T{:02}:{:02}:{:02}.{fraction:09}Z\"",
        seconds / 3_600,
        (seconds / 60).rem_euclid(60),
        seconds.rem_euclid(60)
    );
    text
}
