//! One event as a report reads it: a line of JSON, of which it needs a part.

use std::borrow::Cow;

use serde::Deserialize;

/// The part of an event that a report needs. What a type does not have is `None`.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) corrects: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) host: Option<Name<'a>>,
    #[serde(borrow)]
    pub(super) role: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) verdict: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) cause: Option<Cow<'a, str>>,
    pub(super) confidence: Option<f64>,
    #[serde(borrow)]
    pub(super) client: Option<Endpoint<'a>>,
    #[serde(borrow)]
    pub(super) broker: Option<Endpoint<'a>>,
    #[serde(borrow)]
    pub(super) connection: Option<Connection<'a>>,
    #[serde(borrow)]
    pub(super) path: Option<Path<'a>>,
    #[serde(borrow)]
    pub(super) kreset_probe: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) summary: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) advice: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) phase: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) incident_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) incident: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) pattern: Option<Cow<'a, str>>,
    pub(super) count: Option<u64>,
    #[serde(borrow)]
    pub(super) source: Option<Cow<'a, str>>,
    pub(super) lost: Option<u64>,
    pub(super) end: Option<bool>,
    pub(super) duration_ms: Option<u64>,
    #[serde(borrow)]
    pub(super) packet_evidence: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) degraded: Vec<Degraded<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Name<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Endpoint<'a> {
    #[serde(borrow)]
    pub(super) address: Cow<'a, str>,
    pub(super) port: u16,
}

#[derive(Debug, Deserialize)]
pub(super) struct Connection<'a> {
    pub(super) age_ms: Option<f64>,
    pub(super) idle_ms: Option<f64>,
    pub(super) wire_idle_ms: Option<f64>,
    #[serde(borrow)]
    pub(super) provoked_by: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Path<'a> {
    pub(super) survived_idle_ms: Option<f64>,
    pub(super) fatal_idle_ms: Option<f64>,
    #[serde(borrow, default)]
    pub(super) devices: Vec<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Degraded<'a> {
    #[serde(borrow)]
    pub(super) feature: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) reason: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) remedy: Cow<'a, str>,
}

/// The evidence of an event that is shown in full.
#[derive(Debug, Deserialize)]
pub(super) struct Full<'a> {
    #[serde(borrow, default)]
    pub(super) evidence: Vec<Evidence<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Evidence<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) value: Cow<'a, str>,
}

impl Line<'_> {
    /// It is about the end of a connection.
    pub(super) fn is_finding(&self) -> bool {
        matches!(&*self.kind, "reset" | "close" | "timeout")
    }
}
