//! One line of JSON to what correlation needs of it. Fields that it does not need are
//! skipped unread: a line has a thousand bytes, and there are millions.

use std::{fmt::Write as _, net::IpAddr, ops::Range};

use jiff::{civil, tz::Offset};
use memchr::memchr;
use serde::{
    Deserialize,
    de::value::{self, BorrowedStrDeserializer},
};
use smol_str::SmolStr;
use thiserror::Error;

use super::probes::Listed;
use super::scan::{Broken, Members};
use super::texts::Texts;
use crate::event::{
    Candidate, Cause, CommunityId, Coverage, Direction, Endpoint, FlowId, Host, Id, KresetProbe,
    ProvokedBy, Role, SCHEMA, Time, Verdict,
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
    fn parse(text: &str) -> Option<Self> {
        let (client, broker) = text.split_once('-')?;
        let half = |text: &str| {
            let digits = text.len() == 8 && !text.starts_with('+');
            u32::from_str_radix(text, 16).ok().filter(|_| digits)
        };
        Some(Self(
            (u64::from(half(client)?) << 32) | u64::from(half(broker)?),
        ))
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
    /// A connection between two ends of this host: as each end saw it, and when the second
    /// did, nanoseconds since 1970.
    EndedBoth(Box<[Ended; 2]>, i64),
    /// Records were lost.
    Loss,
    /// What the agent watched until then.
    Summary(Box<Watched>),
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

/// Both ends have one, and they are what serde would take longest for.
fn endpoint(value: Option<&[u8]>, name: &str) -> Result<Endpoint, Unreadable> {
    match value.and_then(as_agents_write_it) {
        Some(endpoint) => Ok(endpoint),
        None => needed(value, name),
    }
}

/// Without white space, and in this order.
fn as_agents_write_it(endpoint: &[u8]) -> Option<Endpoint> {
    let rest = endpoint.strip_prefix(br#"{"address":""#)?;
    let (address, rest) = rest.split_at(memchr(b'"', rest)?);
    let port = rest.strip_prefix(br#"","port":"#)?.strip_suffix(b"}")?;
    // JSON has no sign, and no zero in front, that Rust would take.
    let is_number = port == b"0" || port.first().is_some_and(|it| matches!(it, b'1'..=b'9'));
    Some(Endpoint {
        address: str::from_utf8(address).ok()?.parse().ok()?,
        port: str::from_utf8(port)
            .ok()?
            .parse()
            .ok()
            .filter(|_| is_number)?,
    })
}

/// Text without what JSON escapes: as it stands it is what it says.
fn plain(value: &[u8]) -> Option<&str> {
    let text = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let special = |byte: u8| {
        u8::from(byte.wrapping_sub(b' ') > b'~' - b' ')
            | u8::from(byte == b'"')
            | u8::from(byte == b'\\')
    };
    // Without a branch, so that it becomes vector code.
    let is_plain = text.iter().fold(0, |any, byte| any | special(*byte)) == 0;
    is_plain.then(|| str::from_utf8(text).ok()).flatten()
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

/// Reads one line; `None` for a finding of correlation itself.
pub(super) fn read(line: &[u8], texts: &mut Texts) -> Result<Option<Line>, Unreadable> {
    let raw = Raw::of(line)?;
    let schema: SmolStr = needed(raw.schema, "schema")?;
    if schema != SCHEMA {
        return Err(Unreadable::Schema(schema));
    }
    let kind: SmolStr = needed(raw.kind, "type")?;
    if kind == "finding" {
        return Ok(None);
    }
    raw.into_line(&kind, texts).map(Some)
}

impl Raw<'_> {
    fn into_line(self, kind: &str, texts: &mut Texts) -> Result<Line, Unreadable> {
        let id: Id = needed(self.id, "id")?;
        let origin = Origin::parse(&id).ok_or(Unreadable::Id(id))?;
        let host = needed::<Host>(self.host, "host")?.name;
        let at_ns = at_ns(self.time, "time")?;
        let content = match kind {
            "reset" => self.into_content(id, EndKind::Reset, texts)?,
            "close" => self.into_content(id, EndKind::Close, texts)?,
            "timeout" => self.into_content(id, EndKind::Timeout, texts)?,
            "start" => {
                let degraded: Option<Vec<RawDegraded>> = optional(self.degraded, "degraded")?;
                let is_sending = |it: &RawDegraded| SENDS.contains(&it.feature.as_str());
                Content::Start {
                    degraded: degraded.iter().flatten().any(is_sending),
                }
            }
            "summary" => {
                let coverage = needed(self.coverage, "coverage")?;
                let end = optional(self.end, "end")?.unwrap_or(false);
                Content::Summary(Box::new(watched(coverage, end)?))
            }
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

    fn into_content(self, id: Id, kind: EndKind, texts: &mut Texts) -> Result<Content, Unreadable> {
        let mut ended = self.into_ended(id, kind, texts)?;
        let Some(other) = self.other_end.filter(|value| *value != b"null") else {
            return Ok(Content::Ended(Box::new(ended)));
        };
        let other = RawOtherEnd::of(other)?;
        let at_ns = at_ns(other.time, "time of the other end")?;
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

    fn into_ended(self, id: Id, kind: EndKind, texts: &mut Texts) -> Result<Ended, Unreadable> {
        let connection = match self.connection {
            Some(value) if value != b"null" => RawConnection::of(value)?,
            _ => RawConnection::default(),
        };
        let reset = match self.reset {
            Some(value) if value != b"null" => RawReset::of(value)?,
            _ => RawReset::default(),
        };
        let flow = match optional::<FlowId>(connection.flow_id, "flow_id")? {
            Some(id) => Some(Flow::parse(&id).ok_or_else(|| Unreadable::Flow(id.as_str().into()))?),
            None => None,
        };
        Ok(Ended {
            id,
            kind,
            direction: needed(self.direction, "direction")?,
            role: needed(self.role, "role")?,
            verdict: needed(self.verdict, "verdict")?,
            cause: optional(self.cause, "cause")?,
            confidence: needed(self.confidence, "confidence")?,
            client: endpoint(self.client, "client")?,
            broker: endpoint(self.broker, "broker")?,
            community_id: needed(self.community_id, "community_id")?,
            flow,
            sequence: optional(reset.sequence, "sequence")?,
            wire_idle_ms: optional(connection.wire_idle_ms, "wire_idle_ms")?,
            provoked_by: optional(connection.provoked_by, "provoked_by")?,
            kreset_probe: optional(self.kreset_probe, "kreset_probe")?,
            kernel_reason: optional(reset.kernel_reason, "kernel_reason")?,
            idle_share: idle_share(
                &optional::<Vec<Candidate>>(self.candidates, "candidates")?.unwrap_or_default(),
            ),
            advice: match self.advice.and_then(plain) {
                Some(advice) => texts.of(advice),
                None => optional(self.advice, "advice")?.unwrap_or_default(),
            },
        })
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

fn at_ns(value: Option<&[u8]>, name: &str) -> Result<i64, Unreadable> {
    match value.and_then(in_utc) {
        Some(at_ns) => Ok(at_ns),
        None => nanoseconds(needed(value, name)?),
    }
}

/// Nanoseconds since 1970 of `"2026-11-23T14:22:07.123456789Z"`, as agents write every time.
fn in_utc(quoted: &[u8]) -> Option<i64> {
    let time: &[u8; 32] = quoted.try_into().ok()?;
    let marks = [
        (0, b'"'),
        (5, b'-'),
        (8, b'-'),
        (11, b'T'),
        (14, b':'),
        (17, b':'),
        (20, b'.'),
    ];
    let is_such = marks.into_iter().all(|(at, mark)| time[at] == mark);
    if !is_such || !time.ends_with(b"Z\"") {
        return None;
    }
    let number = |range: Range<usize>| {
        let digits = time[range].iter().map(|byte| byte.wrapping_sub(b'0'));
        digits
            .map(|digit| (digit < 10).then(|| i32::from(digit)))
            .try_fold(0, |number, digit| Some(10 * number + digit?))
    };
    let part = |range| i8::try_from(number(range)?).ok();
    let date = civil::DateTime::new(
        i16::try_from(number(1..5)?).ok()?,
        part(6..8)?,
        part(9..11)?,
        part(12..14)?,
        part(15..17)?,
        // A leap second is left to the parser.
        part(18..20)?,
        number(21..30)?,
    );
    let time = Offset::UTC.to_timestamp(date.ok()?).ok()?;
    i64::try_from(time.as_nanosecond()).ok()
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
            + coverage.unobserved
            + sinks.sum::<u64>(),
        unshown: coverage.unshown,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quoted(text: &str) -> Vec<u8> {
        format!("\"{text}\"").into_bytes()
    }

    #[test]
    fn what_agents_do_not_write_is_left_to_the_parser() {
        let time = "2026-11-23T14:22:07.123456789Z";
        assert_eq!(in_utc(&quoted(time)), Some(1_795_443_727_123_456_789));
        for other in [
            "2026-11-23T14:22:07.12345678Z",
            "2026-11-23T14:22:07.1234567890Z",
            "2026-11-23T14:22:60.123456789Z",
            "2026-02-29T14:22:07.123456789Z",
            "2026-11-23T14:22:07,123456789Z",
            "2026-11-23T14:22:07.12345678 Z",
            "2026-11-23T14:22:07.+23456789Z",
            "9999-11-23T14:22:07.123456789Z",
        ] {
            assert_eq!(in_utc(&quoted(other)), None, "{other}");
        }
        for other in [
            r#"{"address":"10.0.0.1","port":09092}"#,
            r#"{"address":"10.0.0.1","port":+9092}"#,
            r#"{"address":"10.0.0.1","port":}"#,
            r#"{"address":"10.0.0.1","port":70000}"#,
            r#"{"address":"10.0.0","port":1}"#,
            r#"{"address":"10.0.0.1","port":1,"name":"a"}"#,
            r#"{"port":1,"address":"10.0.0.1"}"#,
        ] {
            assert_eq!(as_agents_write_it(other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn times_are_read_as_the_parser_reads_them(ns in any::<i64>()) {
            let time = Time(jiff::Timestamp::from_nanosecond(ns.into()).unwrap());
            prop_assert_eq!(in_utc(&quoted(&time.to_string())), Some(ns));
        }

        #[test]
        fn ends_are_read_as_the_parser_reads_them(address: IpAddr, port: u16) {
            let endpoint = Endpoint { address, port };
            let text = serde_json::to_vec(&endpoint).unwrap();
            prop_assert_eq!(as_agents_write_it(&text), Some(endpoint));
        }
    }
}
