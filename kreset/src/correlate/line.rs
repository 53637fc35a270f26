//! One line of JSON to what correlation needs of it. Fields that it does not need are
//! skipped unread: a line has a thousand bytes, and there are millions.

use std::{borrow::Cow, fmt::Write as _};

use foldhash::HashMap;
use serde::{
    Deserialize,
    de::value::{self, BorrowedStrDeserializer},
};
use smol_str::SmolStr;
use thiserror::Error;

use super::{
    coverage::{Addresses, Lists, Ports, watched},
    probes::Listed,
    quick::{self, Clock, plain},
    scan::{Broken, Members},
    texts::Texts,
};
use crate::event::{
    Candidate, Cause, CommunityId, Direction, Endpoint, FlowId, Host, Id, KresetProbe, ProvokedBy,
    Role, SCHEMA, Time, Verdict,
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
    /// It names no flow.
    #[error("invalid flow_id \"{0}\": expected two numbers of eight hexadecimal digits")]
    Flow(SmolStr),
    /// It names no event of an agent.
    #[error("invalid id \"{0}\": expected BOOT-RUN-NUMBER in hexadecimal")]
    Id(Id),
}

/// What an id says: which agent's event it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Origin {
    /// The boot of the host.
    pub(super) boot: u64,
    /// The run of the agent on it.
    pub(super) run: u64,
    /// The number of the event in the run.
    pub(super) number: u64,
}

/// A flow id as a number: the client's half, then the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flow(u64);

impl Flow {
    /// Of two numbers of 32 bits.
    pub(super) const fn of(client: u64, broker: u64) -> Self {
        Self((client << 32) | broker)
    }

    fn parse(text: &str) -> Option<Self> {
        let (client, broker) = text.split_once('-')?;
        let half = |text: &str| {
            let digits = text.len() == 8 && !text.starts_with('+');
            u32::from_str_radix(text, 16).ok().filter(|_| digits)
        };
        Some(Self::of(half(client)?.into(), half(broker)?.into()))
    }

    /// As it is written.
    pub(super) fn id(self) -> FlowId {
        let (client, broker) = (self.0 >> 32, self.0 & u64::from(u32::MAX));
        let mut id = FlowId::new();
        // There is room for both.
        let _whole = write!(id, "{client:08x}-{broker:08x}");
        id
    }
}

impl Origin {
    /// The greatest.
    pub(super) const LAST: Self = Self {
        boot: u64::MAX,
        run: u64::MAX,
        number: u64::MAX,
    };

    fn parse(id: &str) -> Option<Self> {
        if let Some(origin) = quick::origin(id.as_bytes()) {
            return Some(origin);
        }
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
pub(super) struct Line<'a> {
    pub(super) origin: Origin,
    pub(super) host: Cow<'a, str>,
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
    Ended(Ended),
    /// A connection between two ends of this host: as each end saw it, and when the second
    /// did, nanoseconds since 1970.
    EndedBoth(Box<[Ended; 2]>, i64),
    /// Records were lost.
    Loss,
    /// What the agent watched until then.
    Summary(Watched),
    /// Connections that were opened on purpose, to measure.
    Probe(Vec<Listed>),
    /// An event that says nothing about a connection or its agent.
    Other,
}

/// What an agent watched, counted since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Watched {
    /// Whether its run ends.
    pub(super) end: bool,
    /// Traced ports, first and last of each range.
    pub(super) ports: Ports,
    /// Addresses of the host; `None` if they are not known.
    pub(super) addresses: Addresses,
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
    pub(super) flow: Option<Flow>,
    pub(super) sequence: Option<u32>,
    pub(super) wire_idle_ms: Option<f64>,
    pub(super) provoked_by: Option<ProvokedBy>,
    pub(super) kreset_probe: Option<KresetProbe>,
    pub(super) kernel_reason: Option<SmolStr>,
    /// Of what a device may have done, the share of idle resets; `None` if the host gave
    /// neither them nor others a share.
    pub(super) idle_share: Option<f64>,
    pub(super) advice: SmolStr,
}

/// The type of such an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndKind {
    Reset,
    Close,
    Timeout,
}

/// The members of an object that are needed, each as it stands.
macro_rules! needed_members {
    ($(#[$doc:meta])* $name:ident { $($field:ident = $member:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        struct $name<'a> { $($field: Option<&'a [u8]>),+ }

        impl<'a> $name<'a> {
            fn of(object: &'a [u8]) -> Result<Self, Broken> {
                let mut found = Self::default();
                let mut members = Members::of(object)?;
                while let Some((name, value)) = members.next()? {
                    match name {
                        $($member => found.$field = Some(value),)+
                        _ => {}
                    }
                }
                Ok(found)
            }
        }
    };
}

needed_members! {
    /// Of an event.
    Raw {
        schema = b"schema", id = b"id", kind = b"type", time = b"time", host = b"host",
        direction = b"direction", role = b"role", verdict = b"verdict", cause = b"cause",
        confidence = b"confidence", client = b"client", broker = b"broker",
        community_id = b"community_id", connection = b"connection", reset = b"reset",
        candidates = b"candidates", advice = b"advice", degraded = b"degraded", end = b"end", coverage = b"coverage",
        kreset_probe = b"kreset_probe", connections = b"connections",
        other_end = b"other_end",
    }
}

needed_members! {
    /// Of `other_end`.
    RawOtherEnd {
        time = b"time", direction = b"direction", role = b"role", client = b"client",
        broker = b"broker", wire_idle_ms = b"wire_idle_ms", kernel_reason = b"kernel_reason",
    }
}

needed_members! {
    /// Of `connection`.
    RawConnection {
        flow_id = b"flow_id", wire_idle_ms = b"wire_idle_ms", provoked_by = b"provoked_by",
    }
}

needed_members! {
    /// Of `reset`.
    RawReset {
        sequence = b"sequence", kernel_reason = b"kernel_reason",
    }
}

impl From<Broken> for Unreadable {
    fn from(_: Broken) -> Self {
        Self::Event("it is not a whole JSON object".to_owned())
    }
}

/// A member that may be `null` or absent.
fn optional<'a, T: Deserialize<'a>>(
    value: Option<&'a [u8]>,
    name: &str,
) -> Result<Option<T>, Unreadable> {
    let Some(value) = value.filter(|value| *value != b"null") else {
        return Ok(None);
    };
    if let Some(text) = plain(value)
        && let Ok(it) = T::deserialize(BorrowedStrDeserializer::<value::Error>::new(text))
    {
        return Ok(Some(it));
    }
    // Whatever is no plain text, and for errors that say where they are.
    serde_json::from_slice(value)
        .map_err(|error| Unreadable::Event(format!("invalid {name}: {error}")))
}

/// A member that `quick` reads, or else serde.
fn optional_as<'a, T: Deserialize<'a>>(
    quick: impl FnOnce(&'a [u8]) -> Option<T>,
    value: Option<&'a [u8]>,
    name: &str,
) -> Result<Option<T>, Unreadable> {
    match value.and_then(quick) {
        Some(it) => Ok(Some(it)),
        None => optional(value, name),
    }
}

/// Likewise one that has to be there.
fn needed_as<'a, T: Deserialize<'a>>(
    quick: impl FnOnce(&'a [u8]) -> Option<T>,
    value: Option<&'a [u8]>,
    name: &str,
) -> Result<T, Unreadable> {
    match value.and_then(quick) {
        Some(it) => Ok(it),
        None => needed(value, name),
    }
}

/// A member that is one of the words of an event.
macro_rules! word {
    ($words:ty) => {
        |value| quick::word(value, <$words>::ALL, <$words>::as_str)
    };
}

fn endpoint(value: Option<&[u8]>, name: &str) -> Result<Endpoint, Unreadable> {
    needed_as(quick::endpoint, value, name)
}

fn needed<'a, T: Deserialize<'a>>(value: Option<&'a [u8]>, name: &str) -> Result<T, Unreadable> {
    optional(value, name)?.ok_or_else(|| Unreadable::Event(format!("it has no {name}")))
}

#[derive(Deserialize)]
struct RawListed {
    client: Endpoint,
    opened: Time,
    ended: Time,
}

#[derive(Deserialize)]
struct RawDegraded {
    feature: SmolStr,
}

/// Features without which a host sends RSTs that it does not report.
const SENDS: [&str; 2] = ["sent-resets", "socketless"];

/// Reads lines; keeps what one repeats of those before.
#[derive(Debug)]
pub(super) struct Reader {
    texts: Texts,
    lists: Lists,
    clock: Clock,
    /// By their words, in quotes: there are many.
    causes: HashMap<Vec<u8>, Cause>,
}

impl Default for Reader {
    fn default() -> Self {
        let named = |it: &Cause| (format!("\"{it}\"").into_bytes(), *it);
        Self {
            texts: Texts::default(),
            lists: Lists::default(),
            clock: Clock::default(),
            causes: Cause::ALL.iter().map(named).collect(),
        }
    }
}

impl Reader {
    /// Reads one line; `None` for a finding of correlation itself.
    pub(super) fn read<'a>(&mut self, line: &'a [u8]) -> Result<Option<Line<'a>>, Unreadable> {
        let raw = Raw::of(line)?;
        let as_written = |schema| quick::quoted(schema) == Some(SCHEMA.as_bytes());
        if !raw.schema.is_some_and(as_written) {
            let schema: SmolStr = needed(raw.schema, "schema")?;
            if schema != SCHEMA {
                return Err(Unreadable::Schema(schema));
            }
        }
        let kind: Cow<'_, str> = match raw.kind.and_then(plain) {
            Some(kind) => kind.into(),
            None => needed::<String>(raw.kind, "type")?.into(),
        };
        if kind == "finding" {
            return Ok(None);
        }
        raw.into_line(&kind, self).map(Some)
    }

    fn at_ns(&mut self, value: Option<&[u8]>, name: &str) -> Result<i64, Unreadable> {
        match value.and_then(|value| self.clock.at_ns(value)) {
            Some(at_ns) => Ok(at_ns),
            None => nanoseconds(needed(value, name)?),
        }
    }

    fn text(&mut self, value: Option<&[u8]>, name: &str) -> Result<Option<SmolStr>, Unreadable> {
        match value.and_then(plain) {
            Some(text) => Ok(Some(self.texts.of(text))),
            None => optional(value, name),
        }
    }
}

impl<'a> Raw<'a> {
    fn into_line(self, kind: &str, reader: &mut Reader) -> Result<Line<'a>, Unreadable> {
        let id: Id = needed(self.id, "id")?;
        let origin = Origin::parse(&id).ok_or(Unreadable::Id(id))?;
        let host = match self.host.and_then(quick::host) {
            Some(name) => name.into(),
            None => String::from(needed::<Host>(self.host, "host")?.name).into(),
        };
        let at_ns = reader.at_ns(self.time, "time")?;
        let content = match kind {
            "reset" => self.into_content(id, EndKind::Reset, reader)?,
            "close" => self.into_content(id, EndKind::Close, reader)?,
            "timeout" => self.into_content(id, EndKind::Timeout, reader)?,
            "start" => {
                let degraded: Option<Vec<RawDegraded>> = optional(self.degraded, "degraded")?;
                let is_sending = |it: &RawDegraded| SENDS.contains(&it.feature.as_str());
                Content::Start {
                    degraded: degraded.iter().flatten().any(is_sending),
                }
            }
            "summary" => Content::Summary(self.into_watched(reader)?),
            "loss" => Content::Loss,
            "probe" => {
                let listed_ones: Option<Vec<RawListed>> =
                    optional(self.connections, "connections")?;
                Content::Probe(listed(
                    endpoint(self.broker, "broker")?,
                    &listed_ones.unwrap_or_default(),
                )?)
            }
            _ => Content::Other,
        };
        Ok(Line {
            origin,
            host,
            at_ns,
            content,
        })
    }

    fn into_watched(self, reader: &mut Reader) -> Result<Watched, Unreadable> {
        let end = match self.end {
            Some(b"true") => Some(true),
            Some(b"false") => Some(false),
            _ => None,
        };
        let coverage = self.coverage.zip(end);
        if let Some((value, end)) = coverage
            && let Some(watched) = reader.lists.watched(value, end)
        {
            return Ok(watched);
        }
        let coverage = needed(self.coverage, "coverage")?;
        watched(coverage, optional(self.end, "end")?.unwrap_or(false))
    }

    fn into_content(
        self,
        id: Id,
        kind: EndKind,
        reader: &mut Reader,
    ) -> Result<Content, Unreadable> {
        let mut ended = self.into_ended(id, kind, reader)?;
        let Some(other) = self.other_end.filter(|value| *value != b"null") else {
            return Ok(Content::Ended(ended));
        };
        let other = RawOtherEnd::of(other)?;
        let at_ns = reader.at_ns(other.time, "time of the other end")?;
        let seen = Ended {
            direction: needed(other.direction, "direction of the other end")?,
            role: needed(other.role, "role of the other end")?,
            client: endpoint(other.client, "client of the other end")?,
            broker: endpoint(other.broker, "broker of the other end")?,
            wire_idle_ms: optional(other.wire_idle_ms, "wire_idle_ms of the other end")?,
            provoked_by: None,
            kernel_reason: optional(other.kernel_reason, "kernel_reason of the other end")?,
            ..ended.clone()
        };
        if ended.direction == Direction::Received {
            // The reason of the end that sent it.
            ended.kernel_reason = None;
        }
        Ok(Content::EndedBoth(Box::new([ended, seen]), at_ns))
    }

    fn into_ended(self, id: Id, kind: EndKind, reader: &mut Reader) -> Result<Ended, Unreadable> {
        let connection = match self.connection {
            Some(value) if value != b"null" => RawConnection::of(value)?,
            _ => RawConnection::default(),
        };
        let reset = match self.reset {
            Some(value) if value != b"null" => RawReset::of(value)?,
            _ => RawReset::default(),
        };
        let sequence = |value| quick::integer(value)?.try_into().ok();
        Ok(Ended {
            id,
            kind,
            flow: flow(connection.flow_id)?,
            direction: needed_as(word!(Direction), self.direction, "direction")?,
            role: needed_as(word!(Role), self.role, "role")?,
            verdict: needed_as(word!(Verdict), self.verdict, "verdict")?,
            cause: optional_as(
                |value| reader.causes.get(value).copied(),
                self.cause,
                "cause",
            )?,
            confidence: needed_as(quick::decimal, self.confidence, "confidence")?,
            client: endpoint(self.client, "client")?,
            broker: endpoint(self.broker, "broker")?,
            community_id: needed(self.community_id, "community_id")?,
            sequence: optional_as(sequence, reset.sequence, "sequence")?,
            wire_idle_ms: optional_as(quick::decimal, connection.wire_idle_ms, "wire_idle_ms")?,
            provoked_by: optional_as(word!(ProvokedBy), connection.provoked_by, "provoked_by")?,
            kreset_probe: optional_as(word!(KresetProbe), self.kreset_probe, "kreset_probe")?,
            kernel_reason: reader.text(reset.kernel_reason, "kernel_reason")?,
            idle_share: if let Some(all) = self.candidates.and_then(quick::candidates) {
                idle_share(&all)
            } else {
                let all: Option<Vec<_>> = optional(self.candidates, "candidates")?;
                idle_share(&all.unwrap_or_default())
            },
            advice: reader.text(self.advice, "advice")?.unwrap_or_default(),
        })
    }
}

fn flow(value: Option<&[u8]>) -> Result<Option<Flow>, Unreadable> {
    if let Some(flow) = value.and_then(quick::flow) {
        return Ok(Some(flow));
    }
    let Some(id) = optional::<FlowId>(value, "flow_id")? else {
        return Ok(None);
    };
    match Flow::parse(&id) {
        Some(flow) => Ok(Some(flow)),
        None => Err(Unreadable::Flow(id.as_str().into())),
    }
}

fn idle_share(candidates: &[Candidate]) -> Option<f64> {
    let share = |verdict| {
        let of = candidates.iter().filter(|it| it.verdict == verdict);
        of.map(|it| it.share).sum::<f64>()
    };
    let idle = share(Verdict::MiddleboxIdleReset);
    let device = idle + share(Verdict::MiddleboxReset);
    (device > 0.0).then(|| idle / device)
}

fn nanoseconds(time: Time) -> Result<i64, Unreadable> {
    i64::try_from(time.0.as_nanosecond())
        .map_err(|_range| Unreadable::Event(format!("time {time} is out of range")))
}

fn listed(broker: Endpoint, connections: &[RawListed]) -> Result<Vec<Listed>, Unreadable> {
    let one = |it: &RawListed| {
        Ok(Listed {
            client: it.client,
            broker,
            opened_ns: nanoseconds(it.opened)?,
            ended_ns: nanoseconds(it.ended)?,
        })
    };
    connections.iter().map(one).collect()
}
