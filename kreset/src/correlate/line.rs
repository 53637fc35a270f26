//! One line of JSON to what correlation needs of it. Fields that it does not need are
//! skipped unread: a line has a thousand bytes, and there are millions.

use std::net::IpAddr;

use serde::Deserialize;
use smol_str::SmolStr;
use thiserror::Error;

use crate::event::{
    Cause, CommunityId, Coverage, Direction, Endpoint, FlowId, Host, Id, ProvokedBy, Role, SCHEMA,
    Time, Verdict,
};

/// Why a line is not an event that can be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// It is not JSON, or not of an event.
    #[error("not an event: {0}")]
    Event(String),
    /// It is of another version of the contract.
    #[error("schema \"{0}\": expected \"{SCHEMA}\"")]
    Schema(SmolStr),
    /// It names no event of an agent.
    #[error("invalid id \"{0}\": expected BOOT-RUN-NUMBER in hexadecimal")]
    Id(Id),
}

/// What an id says: which agent's event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Origin {
    /// The boot of the host.
    pub(super) boot: u64,
    /// The run of the agent on it.
    pub(super) run: u64,
    /// The number of the event in the run.
    pub(super) number: u64,
}

impl Origin {
    fn parse(id: &str) -> Option<Self> {
        let mut parts = id.split('-').map(|part| u64::from_str_radix(part, 16).ok());
        let origin = Self {
            boot: parts.next()??,
            run: parts.next()??,
            number: parts.next()??,
        };
        parts.next().is_none().then_some(origin)
    }
}

/// A line that can be used.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) origin: Origin,
    pub(super) host: SmolStr,
    pub(super) at_ns: i64,
    pub(super) content: Content,
}

/// What a line says.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// An agent is attached.
    Start {
        /// Not every RST that the host sends is reported there.
        degraded: bool,
    },
    /// A connection ended.
    Ended(Box<Ended>),
    /// Records were lost.
    Loss,
    /// What the agent watched until then.
    Summary(Box<Watched>),
    /// An event that says nothing about a connection or its agent.
    Other,
}

/// What an agent watched, counted since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Watched {
    /// Whether its run ends.
    pub(super) end: bool,
    /// Traced ports, first and last of each range.
    pub(super) ports: Vec<(u16, u16)>,
    /// Addresses of the host; `None` if they are not known.
    pub(super) addresses: Option<Vec<IpAddr>>,
    /// Records that the kernel lost, and events that a sink lost.
    pub(super) lost: u64,
    /// Events that were judged and not written.
    pub(super) unshown: u64,
}

/// How one host saw a connection end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) id: Id,
    pub(super) kind: EndKind,
    pub(super) direction: Direction,
    pub(super) role: Role,
    pub(super) verdict: Verdict,
    pub(super) cause: Option<Cause>,
    pub(super) confidence: f64,
    pub(super) client: Endpoint,
    pub(super) broker: Endpoint,
    pub(super) community_id: CommunityId,
    pub(super) flow_id: Option<FlowId>,
    pub(super) sequence: Option<u32>,
    pub(super) wire_idle_ms: Option<f64>,
    pub(super) provoked_by: Option<ProvokedBy>,
    pub(super) kernel_reason: Option<SmolStr>,
    pub(super) advice: SmolStr,
}

/// The type of such an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndKind {
    Reset,
    Close,
    Timeout,
}

#[derive(Deserialize)]
struct Raw {
    schema: SmolStr,
    id: Option<Id>,
    #[serde(rename = "type")]
    kind: SmolStr,
    time: Option<Time>,
    host: Option<Host>,
    direction: Option<Direction>,
    role: Option<Role>,
    verdict: Option<Verdict>,
    cause: Option<Cause>,
    confidence: Option<f64>,
    client: Option<Endpoint>,
    broker: Option<Endpoint>,
    community_id: Option<CommunityId>,
    connection: Option<RawConnection>,
    reset: Option<RawReset>,
    advice: Option<SmolStr>,
    degraded: Option<Vec<RawDegraded>>,
    end: Option<bool>,
    coverage: Option<Coverage>,
}

/// Of an object of an older or newer version of the contract, which is refused by its schema,
/// no other field has to fit.
#[derive(Deserialize)]
struct RawSchema {
    schema: SmolStr,
}

#[derive(Default, Deserialize)]
struct RawConnection {
    flow_id: Option<FlowId>,
    wire_idle_ms: Option<f64>,
    provoked_by: Option<ProvokedBy>,
}

#[derive(Default, Deserialize)]
struct RawReset {
    sequence: Option<u32>,
    kernel_reason: Option<SmolStr>,
}

#[derive(Deserialize)]
struct RawDegraded {
    feature: SmolStr,
}

/// Features without which a host sends RSTs that it does not report.
const SENDS: [&str; 2] = ["sent-resets", "socketless"];

/// Reads one line; `None` for a finding of correlation itself.
pub(super) fn read(line: &[u8]) -> Result<Option<Line>, Unreadable> {
    let raw: Raw = match serde_json::from_slice(line) {
        Ok(raw) => raw,
        Err(error) => {
            return Err(match serde_json::from_slice::<RawSchema>(line) {
                Ok(other) if other.schema != SCHEMA => Unreadable::Schema(other.schema),
                _ => Unreadable::Event(error.to_string()),
            });
        }
    };
    if raw.schema != SCHEMA {
        return Err(Unreadable::Schema(raw.schema));
    }
    if raw.kind == "finding" {
        return Ok(None);
    }
    raw.into_line().map(Some)
}

impl Raw {
    fn into_line(mut self) -> Result<Line, Unreadable> {
        let id = needed(self.id, "id")?;
        let origin = Origin::parse(&id).ok_or(Unreadable::Id(id))?;
        let host = needed(self.host.take(), "host")?.name;
        let time = needed(self.time, "time")?;
        let at_ns = i64::try_from(time.0.as_nanosecond())
            .map_err(|_range| Unreadable::Event(format!("time {time} is out of range")))?;
        let content = match self.kind.as_str() {
            "reset" => Content::Ended(Box::new(self.into_ended(id, EndKind::Reset)?)),
            "close" => Content::Ended(Box::new(self.into_ended(id, EndKind::Close)?)),
            "timeout" => Content::Ended(Box::new(self.into_ended(id, EndKind::Timeout)?)),
            "start" => Content::Start {
                degraded: self
                    .degraded
                    .iter()
                    .flatten()
                    .any(|it| SENDS.contains(&it.feature.as_str())),
            },
            "summary" => {
                let coverage = needed(self.coverage, "coverage")?;
                Content::Summary(Box::new(watched(coverage, self.end.unwrap_or(false))?))
            }
            "loss" => Content::Loss,
            _ => Content::Other,
        };
        Ok(Line {
            origin,
            host,
            at_ns,
            content,
        })
    }

    fn into_ended(self, id: Id, kind: EndKind) -> Result<Ended, Unreadable> {
        let connection = self.connection.unwrap_or_default();
        let reset = self.reset.unwrap_or_default();
        Ok(Ended {
            id,
            kind,
            direction: needed(self.direction, "direction")?,
            role: needed(self.role, "role")?,
            verdict: needed(self.verdict, "verdict")?,
            cause: self.cause,
            confidence: needed(self.confidence, "confidence")?,
            client: needed(self.client, "client")?,
            broker: needed(self.broker, "broker")?,
            community_id: needed(self.community_id, "community_id")?,
            flow_id: connection.flow_id,
            sequence: reset.sequence,
            wire_idle_ms: connection.wire_idle_ms,
            provoked_by: connection.provoked_by,
            kernel_reason: reset.kernel_reason,
            advice: self.advice.unwrap_or_default(),
        })
    }
}

fn needed<T>(value: Option<T>, name: &str) -> Result<T, Unreadable> {
    value.ok_or_else(|| Unreadable::Event(format!("it has no {name}")))
}

fn watched(coverage: Coverage, end: bool) -> Result<Watched, Unreadable> {
    let range = |text: &SmolStr| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse::<u16>().ok();
        port(first)
            .zip(port(last))
            .ok_or_else(|| Unreadable::Event(format!("invalid port \"{text}\"")))
    };
    let sinks = coverage.sinks.values().map(|sink| sink.lost);
    Ok(Watched {
        end,
        ports: coverage.ports.iter().map(range).collect::<Result<_, _>>()?,
        addresses: coverage.addresses,
        lost: coverage.kernel_lost
            + coverage.kernel_skipped
            + coverage.kernel_untracked
            + sinks.sum::<u64>(),
        unshown: coverage.unshown,
    })
}
