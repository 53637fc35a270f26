//! What comes out: the JSON contract, and nothing else.
//!
//! One event is one JSON object on one line. Unknown values are `null`,
//! never 0. Keys are stable within a `schema` version.

mod client;
pub mod community_id;
mod evidence_words;
pub mod filter;
mod headline;
mod id;
mod incident;
mod kreset_probe;
mod load;
mod noise;
mod pair;
mod parsed;
mod probe;
mod process_end;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod schema;
mod time;
mod verdict;
mod weights;

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use arrayvec::{ArrayString, ArrayVec};
pub use client::{Client, ClientNames, NamesShown};
pub use evidence_words::{evidence_names, evidence_words};
pub use headline::{Culprit, deed};
pub use id::{Id, Ids};
pub use incident::{Incident, IncidentClient, IncidentKind, NamedHost, RefusedSpan, Roll, Spread};
pub use kreset_probe::{KresetProbe, PROBE_BYTES, PROBE_MSS, PROBE_PROCESS};
pub use load::{AcceptQueue, Load, OpenFiles, Pressure};
pub use pair::{Missing, PairFinding, PairHost, PairProof, Saw};
pub use probe::{
    Probe, ProbeConnection, ProbeHeld, ProbeHold, ProbeHop, ProbeLocation, ProbeReset, ProbeResult,
    ProbeRung, ProbeSetting, ProbeTrigger, RungOutcome,
};
pub use process_end::{Asked, Ended, MemoryEnd, ProcessEnd, SignalSender};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use thiserror::Error;
pub use time::Time;
pub use verdict::{
    AgeKind, Cause, Direction, Kind, Noise, Proof, ProvokedBy, Role, SentBy, Source, UnknownWord,
    Verdict, class_name, is_unclear,
};
pub use weights::{Weight, Weights};

use crate::util::escape::Escaped;

/// Version of the contract.
pub const SCHEMA: &str = "kreset/1";

/// A Community ID: `1:` and 20 bytes in base64.
pub type CommunityId = ArrayString<32>;

/// `%08x-%08x`, client's first.
pub type FlowId = ArrayString<17>;

/// Everything that kreset says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Everything is attached.
    Start(Box<Start>),
    /// A RST was received or sent.
    Reset(Box<Finding>),
    /// The connection ended by FIN before its first exchange ended well.
    Close(Box<Finding>),
    /// The connection ended unanswered, without any RST.
    Timeout(Box<Finding>),
    /// A path turned sustained or periodic, or ceased to be.
    Alert(Box<Alert>),
    /// Ends of connections that have one cause: they began, or are over.
    Incident(Box<Incident>),
    /// What became known later changed what was said of an event.
    Correction(Box<Correction>),
    /// Records were lost.
    Loss(Loss),
    /// Counts, at the end and at every interval.
    Summary(Box<Summary>),
    /// What a measurement on purpose found.
    Probe(Box<Probe>),
    /// What two hosts together prove of one connection's end.
    Finding(Box<PairFinding>),
}

impl Event {
    /// The judgement, where the event is one: a reset, a close or a timeout, or what
    /// corrects one.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Reset(finding) | Self::Close(finding) | Self::Timeout(finding) => Some(finding),
            Self::Correction(correction) => Some(&correction.finding),
            Self::Start(_)
            | Self::Alert(_)
            | Self::Incident(_)
            | Self::Loss(_)
            | Self::Summary(_)
            | Self::Probe(_)
            | Self::Finding(_) => None,
        }
    }

    /// As [`Event::finding`], to change it.
    pub fn finding_mut(&mut self) -> Option<&mut Finding> {
        match self {
            Self::Reset(finding) | Self::Close(finding) | Self::Timeout(finding) => Some(finding),
            Self::Correction(correction) => Some(&mut correction.finding),
            _ => None,
        }
    }

    /// What the key `type` says.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Start(_) => Kind::Start,
            Self::Reset(_) => Kind::Reset,
            Self::Close(_) => Kind::Close,
            Self::Timeout(_) => Kind::Timeout,
            Self::Alert(_) => Kind::Alert,
            Self::Incident(_) => Kind::Incident,
            Self::Correction(_) => Kind::Correction,
            Self::Loss(_) => Kind::Loss,
            Self::Summary(_) => Kind::Summary,
            Self::Probe(_) => Kind::Probe,
            Self::Finding(_) => Kind::Finding,
        }
    }

    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Time {
        match self {
            Self::Start(it) => it.time,
            Self::Reset(it) | Self::Close(it) | Self::Timeout(it) => it.time,
            Self::Alert(it) => it.time,
            Self::Incident(it) => it.time,
            Self::Correction(it) => it.finding.time,
            Self::Loss(it) => it.time,
            Self::Summary(it) => it.time,
            Self::Probe(it) => it.time,
            Self::Finding(it) => it.time,
        }
    }

    /// Where it was seen.
    #[must_use]
    pub fn host(&self) -> &Host {
        match self {
            Self::Start(it) => &it.host,
            Self::Reset(it) | Self::Close(it) | Self::Timeout(it) => &it.host,
            Self::Alert(it) => &it.host,
            Self::Incident(it) => &it.host,
            Self::Correction(it) => &it.finding.host,
            Self::Loss(it) => &it.host,
            Self::Summary(it) => &it.host,
            Self::Probe(it) => &it.host,
            Self::Finding(it) => &it.host,
        }
    }
}

/// An event with the id by which receivers drop repeats.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Unique among all events of all hosts; see [`Ids`].
    pub id: Id,
    /// What happened.
    pub event: Event,
}

impl Message {
    /// Reads one line of JSON output. Keys that this version does not know are ignored.
    ///
    /// # Errors
    /// When it is no event of this [`SCHEMA`].
    pub fn read(line: &str) -> Result<Self, ReadError> {
        let Written { schema, id, event } = serde_json::from_str(line)?;
        if schema == SCHEMA {
            Ok(Self { id, event })
        } else {
            Err(ReadError::Schema(schema))
        }
    }
}

/// What every line has.
#[derive(Deserialize)]
struct Written {
    schema: SmolStr,
    id: Id,
    #[serde(flatten)]
    event: Event,
}

/// Why a line is no event.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Not JSON, or not of an event.
    #[error("not an event of kreset-trace: {0}")]
    Invalid(#[from] serde_json::Error),
    /// Of another version of the contract.
    #[error("unknown schema \"{0}\"; expected {SCHEMA}")]
    Schema(SmolStr),
}

/// A message with its `schema`, as it is written.
#[cfg(test)]
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Line<'a> {
    schema: &'static str,
    /// Unique among all events of all hosts. Delivery is at least once: a
    /// receiver drops an event whose id it has seen.
    id: &'a str,
    #[serde(flatten)]
    event: &'a Event,
}

#[cfg(test)]
impl<'a> Line<'a> {
    /// Wraps `message` for writing.
    #[must_use]
    pub fn new(message: &'a Message) -> Self {
        Self {
            schema: SCHEMA,
            id: &message.id,
            event: &message.event,
        }
    }
}

/// This host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Host {
    /// Host name; kernel: `uname`'s nodename.
    pub name: SmolStr,
}

/// Address and port of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Endpoint {
    /// Address; IPv4-mapped IPv6 addresses are IPv4 here.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
}

/// Names of the hosts of both ends, from a file of the operator's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HostNames {
    /// The client's.
    pub client: Option<SmolStr>,
    /// The broker's.
    pub broker: Option<SmolStr>,
}

/// A judged reset, close or timeout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// RFC 3339, UTC, nanoseconds.
    pub time: Time,
    /// Where it was seen.
    pub host: Host,
    /// Where the finding comes from.
    pub source: Source,
    /// Community ID v1 of the connection: the same from both ends.
    pub community_id: CommunityId,
    /// Whose RST (or first FIN) ended the connection; `null` for a timeout, in which
    /// nothing was sent.
    pub sent_by: Option<SentBy>,
    /// One sentence: who ended which connection, and how sure that is.
    pub summary: SmolStr,
    /// Which way the RST (or the first FIN) went.
    pub direction: Direction,
    /// Which end this host is.
    pub role: Role,
    /// How the connection is known to be one of `kreset-trace probe`; `null` for every
    /// other.
    pub kreset_probe: Option<KresetProbe>,
    /// The incident that the event is part of; `null` where it belongs to none, or was
    /// written before the incident was recognised: then that one's `begin` lists it.
    pub incident_id: Option<Id>,
    /// Who ended the connection.
    pub verdict: Verdict,
    /// Why; `null` for [`Verdict::Indeterminate`].
    pub cause: Option<Cause>,
    /// Chance that `verdict` and `cause` are right, 0..1.
    pub confidence: f64,
    /// The end that called `connect()`.
    pub client: Client,
    /// The end with the traced port.
    pub broker: Endpoint,
    /// What the operator calls the hosts of both ends (`--hosts`); `null` where neither has a
    /// name.
    pub host_names: Option<Box<HostNames>>,
    /// The connection when it ended.
    pub connection: Connection,
    /// The RST itself; all `null` for events without one.
    pub reset: Reset,
    /// The owner of this host's socket.
    pub process: Process,
    /// How the broker's process ended, was asked to, or was suspended; `null` where the broker
    /// is on another host or nothing of that is known.
    pub process_end: Option<Box<ProcessEnd>>,
    /// How busy the ends were; `null` where nothing of that is known.
    pub load: Option<Box<Load>>,
    /// The other end, where it is on this host as well: the event is one for both.
    pub other_end: Option<Box<OtherEnd>>,
    /// What is known of the path.
    pub path: Path,
    /// Each observed fact and what it weighed.
    pub evidence: Vec<Evidence>,
    /// Every verdict with a share worth listing, largest first.
    #[cfg_attr(test, schemars(with = "Vec<Candidate>"))]
    pub candidates: Candidates,
    /// One sentence: what to change.
    pub advice: SmolStr,
}

impl Finding {
    /// What the events of both ends of the connection have in common: where it is known,
    /// the flow, which survives NAT.
    #[must_use]
    pub fn key(&self) -> &str {
        match &self.connection.flow_id {
            Some(flow) => flow,
            None => &self.community_id,
        }
    }

    /// What people call the host of one end: its name, else its address.
    #[must_use]
    pub fn host_of(&self, role: Role) -> Cow<'_, str> {
        let names = self.host_names.as_deref();
        let (name, address) = match role {
            Role::Client => (names.and_then(|it| it.client.as_ref()), self.client.address),
            Role::Broker => (names.and_then(|it| it.broker.as_ref()), self.broker.address),
        };
        name.map_or_else(|| address.to_string().into(), |name| name.as_str().into())
    }

    /// The same with the port.
    #[must_use]
    pub fn socket_of(&self, role: Role) -> String {
        let end = match role {
            Role::Client => self.client.end(),
            Role::Broker => self.broker,
        };
        let host = self.host_of(role);
        let name = match &host {
            Cow::Borrowed(name) => Some(*name),
            Cow::Owned(_) => None,
        };
        socket(name, end)
    }

    /// The owner of the socket at one end, where that end is on this host.
    #[must_use]
    pub fn process_of(&self, role: Role) -> Option<&Process> {
        if self.role == role {
            return Some(&self.process);
        }
        let other = self.other_end.as_ref().filter(|it| it.role == role);
        other.map(|it| &it.process)
    }

    /// Verdict, cause and confidence alone.
    #[must_use]
    pub const fn said(&self) -> Said {
        Said {
            verdict: self.verdict,
            cause: self.cause,
            confidence: self.confidence,
        }
    }

    /// The protocol that was spoken, for formats that name it: Kafka's, unless
    /// the first bytes said otherwise.
    #[must_use]
    pub const fn protocol(&self) -> Option<&'static str> {
        match self.cause {
            Some(Cause::NotKafka) => None,
            _ => Some("kafka"),
        }
    }
}

/// The connection when it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Connection {
    /// The same on both hosts, whatever rewrites addresses between them: the sequence
    /// numbers of the first byte of the client and of the broker, in hexadecimal. `null`
    /// where the socket had no longer, or not yet, both.
    pub flow_id: Option<FlowId>,
    /// The kernel's name of the state without `TCP_`; `null` without socket.
    pub state: Option<SmolStr>,
    /// Milliseconds since the connection was made.
    pub age_ms: Option<f64>,
    /// Whether `age_ms` is exact.
    pub age_kind: Option<AgeKind>,
    /// Milliseconds without data before the packet that drew the RST.
    pub idle_ms: Option<f64>,
    /// Milliseconds without any packet, keepalives and answers included.
    pub wire_idle_ms: Option<f64>,
    /// Microseconds from the packet that drew the RST to the RST.
    pub reset_delay_us: Option<u64>,
    /// What drew the RST.
    pub provoked_by: Option<ProvokedBy>,
    /// Retransmissions of the pending flight; kernel: `icsk_retransmits`.
    pub retransmits: Option<u32>,
    /// Bytes sent, first transmissions; kernel: `tcp_sock.bytes_sent` without
    /// `bytes_retrans`.
    pub bytes_sent: Option<u64>,
    /// Bytes received; kernel: `tcp_sock.bytes_received` without the FIN.
    pub bytes_received: Option<u64>,
    /// Smoothed round trip, microseconds; kernel: `tcp_sock.srtt_us` >> 3.
    pub srtt_us: Option<u32>,
    /// Least round trip, microseconds; kernel: `tcp_sock.rtt_min`.
    pub min_rtt_us: Option<u32>,
}

/// The RST itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reset {
    /// Its sequence number, the same on both hosts; `null` where it is not certain.
    pub sequence: Option<u32>,
    /// Its TCP flags, such as `R` or `RA`.
    pub flags: Option<SmolStr>,
    /// Whether it carried TCP timestamps.
    pub timestamps: Option<bool>,
    /// Its TTL or hop limit.
    pub ttl: Option<u8>,
    /// TTL or hop limit of the same peer's handshake.
    pub handshake_ttl: Option<u8>,
    /// Its IPv4 identification.
    pub ip_id: Option<u16>,
    /// Its window field, unscaled.
    pub window: Option<u16>,
    /// The local kernel's reason for a RST that it sent, at whichever end, without the prefix
    /// `SK_RST_REASON_`; kernel: `enum sk_rst_reason`, since 6.10.
    pub kernel_reason: Option<SmolStr>,
}

/// The owner of this host's socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Process {
    /// Thread group id, in the initial pid namespace.
    pub pid: Option<u32>,
    /// Command name of the thread.
    pub name: Option<SmolStr>,
    /// File name of the program that it runs; `null` where the process had ended.
    pub executable: Option<SmolStr>,
    /// When it started, RFC 3339.
    pub start_time: Option<Time>,
    /// Cgroup v2 path.
    pub cgroup: Option<SmolStr>,
    /// Container id from the cgroup path.
    pub container_id: Option<SmolStr>,
    /// What Kubernetes calls the container in its pod, from kubelet's directories of logs.
    pub container_name: Option<SmolStr>,
    /// Kubernetes pod uid from the cgroup path.
    pub pod_uid: Option<SmolStr>,
    /// Kubernetes pod name, from kubelet's directories of logs.
    pub pod_name: Option<SmolStr>,
    /// Kubernetes namespace of the pod, from there.
    pub pod_namespace: Option<SmolStr>,
    /// systemd unit (service or scope) from the cgroup path.
    pub systemd_unit: Option<SmolStr>,
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
}

impl Process {
    /// What people call it: the program, as the names of threads say little of it.
    #[must_use]
    pub fn program(&self) -> Option<&str> {
        self.executable.as_deref().or(self.name.as_deref())
    }
}

/// The other end of a connection both of whose ends are on this host: what its socket, or
/// this host's kernel in its place, says of the same ending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OtherEnd {
    /// When it happened there.
    pub time: Time,
    /// Which end it is.
    pub role: Role,
    /// Which way the RST (or the first FIN) went there.
    pub direction: Direction,
    /// The client as this end sees it: what translates addresses on this host shows here.
    pub client: Endpoint,
    /// The broker as this end sees it.
    pub broker: Endpoint,
    /// The kernel's name of the state without `TCP_`; `null` without socket.
    pub state: Option<SmolStr>,
    /// Milliseconds without data before it.
    pub idle_ms: Option<f64>,
    /// Milliseconds without any packet before it.
    pub wire_idle_ms: Option<f64>,
    /// The kernel's reason for a RST that this end sent.
    pub kernel_reason: Option<SmolStr>,
    /// The owner of this end's socket.
    pub process: Process,
}

/// What is known of the path: this host's netns to one broker address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Path {
    /// Longest silence that a connection of this path came through, ms.
    pub survived_idle_ms: Option<f64>,
    /// Shortest silence after which the flow was dead, ms.
    pub fatal_idle_ms: Option<f64>,
    /// Silences that either rests on.
    pub samples: u64,
    /// `occasional`, `burst`, `sustained` or `periodic`.
    pub pattern: Option<SmolStr>,
    /// Devices whose timer and behaviour fit.
    pub devices: Vec<SmolStr>,
}

/// One observed fact and the weight that it added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Evidence {
    /// Name, stable.
    pub name: SmolStr,
    /// Value: always a string, so that one field has one type in an index.
    pub value: SmolStr,
    /// Whether whoever knows both ends of the connection could have made it up.
    pub proof: Proof,
    /// What it adds to each class, the heaviest first.
    #[cfg_attr(test, schemars(with = "Vec<Weight>"))]
    pub weights: Weights,
}

/// Verdicts that were considered, likeliest first.
pub type Candidates = ArrayVec<Candidate, { Verdict::ALL.len() }>;

/// A verdict that was considered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Candidate {
    /// The verdict.
    pub verdict: Verdict,
    /// Its share of the belief, 0..1.
    pub share: f64,
}

/// Printed once everything is attached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Start {
    /// RFC 3339, UTC, nanoseconds.
    pub time: Time,
    /// Where.
    pub host: Host,
    /// Version of kreset.
    pub version: SmolStr,
    /// Kernel release; for people, never for decisions.
    pub kernel: String,
    /// Traced ports: each a port, or a range such as `9094-9096`.
    pub ports: Vec<SmolStr>,
    /// Source of the packet evidence in use: `fentry`, `cgroup_skb`
    /// or `off`.
    pub packet_evidence: SmolStr,
    /// Connections that were there already.
    pub seeded: u64,
    /// What is watched, where that is known.
    pub watched: Option<Watched>,
    /// Milliseconds from start to attached.
    pub attach_ms: f64,
    /// What does not work here, and why.
    pub degraded: Vec<Degraded>,
}

/// A feature that this kernel or these privileges do not allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Degraded {
    /// Name of the feature, as `--require` takes it.
    pub feature: SmolStr,
    /// Why it is off.
    pub reason: String,
    /// What would bring it back.
    pub remedy: String,
}

/// A path turned sustained or periodic, or ceased to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Alert {
    /// RFC 3339, UTC, nanoseconds.
    pub time: Time,
    /// Where it was seen.
    pub host: Host,
    /// `begin` or `end`.
    pub phase: SmolStr,
    /// The broker of the path.
    pub broker: Endpoint,
    /// The verdict that repeats.
    pub verdict: Verdict,
    /// Its cause.
    pub cause: Option<Cause>,
    /// `sustained` or `periodic`.
    pub pattern: SmolStr,
    /// Events in the window.
    pub count: u64,
    /// What is known of the path.
    pub path: Path,
    /// One sentence: what to change.
    pub advice: SmolStr,
}

/// What became known later changed what was said of an event: apart from `corrects` and
/// `was` it is that event, as it is judged now. Nothing else ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Correction {
    /// The `id` of the event that this one takes the place of.
    pub corrects: Id,
    /// What that event said.
    pub was: Said,
    /// What is to be said of it.
    #[serde(flatten)]
    pub finding: Finding,
}

/// A judgement without what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Said {
    /// Who ended the connection.
    pub verdict: Verdict,
    /// Why; `null` for [`Verdict::Indeterminate`].
    pub cause: Option<Cause>,
    /// Chance that both were right, 0..1.
    pub confidence: f64,
}

/// Records were lost since the last `loss`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Loss {
    /// RFC 3339, UTC, nanoseconds.
    pub time: Time,
    /// Where.
    pub host: Host,
    /// Where they were lost: `kernel` (the ring buffer was full),
    /// `kernel_skipped` (the kernel ran no program where one was due: so many
    /// times at most),
    /// `kernel_untracked` (a connection was beyond `max-connections`, got no memory, or
    /// lost it to others),
    /// `decoder`, `limiter` (too many similar events, which are counted only), `netns`
    /// (the network namespace of `--netns` has ended, and nothing is traced any more:
    /// counted as one), or a sink.
    pub source: String,
    /// How many since the last of this source. What the kernel side or the decoder loses
    /// again and again is one event a minute, or before each `summary`.
    pub lost: u64,
    /// How many since the start.
    pub total: u64,
    /// Of `limiter`, whose events they were, those with the most first: at most ten.
    pub by_broker: Vec<BrokerLoss>,
}

/// Events of one broker's connections that were counted only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BrokerLoss {
    /// The broker.
    pub broker: Endpoint,
    /// How many.
    pub lost: u64,
}

impl BrokerLoss {
    /// How many a [`Loss`] names.
    const NAMED: usize = 10;

    /// Those with the most, the most first.
    pub(crate) fn most(mut all: Vec<Self>) -> Vec<Self> {
        all.sort_by_key(|it| (Reverse(it.lost), it.broker.address, it.broker.port));
        all.truncate(Self::NAMED);
        all
    }
}

/// Counts since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Summary {
    /// RFC 3339, UTC, nanoseconds.
    pub time: Time,
    /// Where.
    pub host: Host,
    /// Milliseconds that the tracer has been attached.
    pub duration_ms: u64,
    /// Whether this is the last one of the run.
    pub end: bool,
    /// Events by verdict and cause (`verdict/cause`).
    pub events: BTreeMap<String, u64>,
    /// Routine closes by kind, not shown without `--all`.
    pub noise: BTreeMap<String, u64>,
    /// Records lost, wherever that was.
    pub lost: u64,
    /// What this host would have seen: what an absence of events rests on.
    pub coverage: Coverage,
}

/// What a tracer would see the end of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Watched {
    /// Open connections to or from a traced port; on loopback both ends of one.
    pub connections: u64,
    /// Addresses and ports of their brokers.
    pub brokers: u64,
}

/// What a host can vouch for. That an end sent no RST is proven by the
/// absence of an event only if that end's host was watching and lost nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Coverage {
    /// Traced ports: each a port, or a range such as `9094-9096`.
    pub ports: Vec<SmolStr>,
    /// What is watched, where that is known at no great cost.
    pub watched: Option<Watched>,
    /// Addresses of the traced network namespaces, without loopback and
    /// link-local ones; `null` where they are unknown.
    pub addresses: Option<Vec<IpAddr>>,
    /// Records that the kernel had no room for.
    pub kernel_lost: u64,
    /// Times that the kernel ran no program where one was due, at most.
    pub kernel_skipped: u64,
    /// Connections that got no memory in the kernel, or lost it to others.
    pub kernel_untracked: u64,
    /// Connections whose end no program saw: each is a `close` that says so.
    pub unobserved: u64,
    /// Paths, brokers and ended connections that were evicted from full tables:
    /// their later events are judged without their past.
    pub forgotten: u64,
    /// Resets, closes and timeouts that were not written: routine ones without `--all`, those
    /// that `--role` leaves out, those of this agent's own connections, and what the other
    /// end on this host said too late for the event of its connection.
    pub unshown: u64,
    /// Each sink by its name.
    pub sinks: BTreeMap<String, SinkCoverage>,
}

/// What became of the events of one sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SinkCoverage {
    /// Events delivered since the start.
    pub delivered: u64,
    /// Events still to be delivered, those of earlier runs included.
    pub waiting: u64,
    /// Events that never will be.
    pub lost: u64,
}

/// An end by its host's name, else by its address, with its port.
fn socket(name: Option<&str>, end: Endpoint) -> String {
    match name {
        Some(name) => format!("{}:{}", Escaped(name), end.port),
        None => SocketAddr::new(end.address, end.port).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for message in samples::messages() {
            let line = serde_json::to_string(&Line::new(&message)).unwrap();
            assert_eq!(Message::read(&line).unwrap(), message, "{line}");
        }
    }

    #[test]
    fn what_is_no_event_says_why() {
        let line = serde_json::to_string(&Line::new(&samples::messages()[1])).unwrap();
        for (right, wrong, expected) in [
            (
                "kreset/1",
                "kreset/9",
                "unknown schema \"kreset/9\"; expected kreset/1",
            ),
            ("reset_on_send\"", "melted\"", "unknown Cause \"melted\""),
            ("\"confidence\"", "\"sure\"", "missing field `confidence`"),
            ("T14:22", "T99:22", "not an event"),
        ] {
            assert!(line.contains(right), "{right}");
            let error = Message::read(&line.replacen(right, wrong, 1)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
