//! What a measurement on purpose found.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Cause, CommunityId, Endpoint, Host, Time, verdict::words};

words! {
    /// What a measurement came to.
    ProbeResult {
        /// A device on the way ends silent connections.
        Device = "device",
        /// Silent connections are closed in order, after another time than the
        /// broker's timer: by a proxy, or by a broker that is set differently.
        Closed = "closed",
        /// The broker closes silent connections, as its timer says.
        BrokerTimer = "broker_timer",
        /// Silent connections came through, up to the limit.
        None = "none",
        /// It could not be measured.
        Unmeasured = "unmeasured",
    }
}

words! {
    /// How connections were used after their silence.
    ProbeTrigger {
        /// By a TCP keepalive probe, which no application sees.
        Keepalive = "keepalive",
        /// By a request, `ApiVersions`.
        Request = "request",
    }
}

words! {
    /// What became of a connection.
    RungOutcome {
        /// Its use after the silence was answered.
        Alive = "alive",
        /// Its use drew a RST.
        ResetOnUse = "reset_on_use",
        /// A RST came by itself.
        ResetByItself = "reset_by_itself",
        /// A FIN came by itself.
        Closed = "closed",
        /// Its use was not answered, while a new connection was.
        Dropped = "dropped",
        /// Its use was not answered, and neither was a new connection.
        PathDead = "path_dead",
        /// This end closed it, as the client would have.
        ClosedHere = "closed_here",
    }
}

/// A measurement on purpose, by `kreset-trace probe`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Probe {
    /// RFC 3339, UTC, nanoseconds: when it ended.
    pub time: Time,
    /// The host that it was measured from.
    pub host: Host,
    /// The broker as it was given.
    pub target: SmolStr,
    /// The broker.
    pub broker: Endpoint,
    /// How connections were used.
    pub trigger: ProbeTrigger,
    /// Milliseconds that it took.
    pub duration_ms: u64,
    /// Whether it went to its end.
    pub complete: bool,
    /// What it came to; `null` where only a setting was to be proven.
    pub result: Option<ProbeResult>,
    /// Why it could not be measured.
    pub reason: Option<SmolStr>,
    /// What happens to a silent connection: `reset_on_send`, `reset_on_timer`,
    /// `blackholed` or `idle_close`.
    pub behavior: Option<Cause>,
    /// Longest silence known to be shorter than the timer, ms.
    pub survived_idle_ms: Option<f64>,
    /// Shortest silence known to be fatal, ms.
    pub fatal_idle_ms: Option<f64>,
    /// Where only some of the connections pass the device: how many came through
    /// silences that killed others.
    pub survivors: Option<u64>,
    /// Devices whose timer and behavior fit.
    pub devices: Vec<SmolStr>,
    /// Each connection that was silent.
    pub rungs: Vec<ProbeRung>,
    /// Each connection that was opened, those that looked for hops or proved a setting
    /// among them: by these, events of other hosts are known to be about the probe.
    pub connections: Vec<ProbeConnection>,
    /// The walk to the device.
    pub location: Option<ProbeLocation>,
    /// The proof of a setting.
    pub hold: Option<ProbeHold>,
    /// What to set, on which client.
    pub settings: Vec<ProbeSetting>,
    /// One sentence: what to change.
    pub advice: SmolStr,
}

/// A connection that was silent, and was then used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProbeRung {
    /// In which round, from 1.
    pub round: u8,
    /// Port of this end.
    pub local_port: u16,
    /// How long it was silent at least, ms.
    pub silent_ms: f64,
    /// What became of it.
    pub outcome: RungOutcome,
    /// From its use to the answer, ms.
    pub answer_ms: Option<f64>,
    /// Packets came in during the silence, which counts from the last of them.
    pub disturbed: bool,
}

/// A connection that was opened, or was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProbeConnection {
    /// Community ID v1 of the connection.
    pub community_id: CommunityId,
    /// This end.
    pub client: Endpoint,
    /// When it was asked for.
    pub opened: Time,
    /// When this end closed it; where it did not, when the measurement ended.
    pub ended: Time,
}

/// Where on the way the device is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProbeLocation {
    /// The nearest hop that it can be; 0 is this host. `null` where the walk did
    /// not say.
    pub hop: Option<u8>,
    /// The farthest hop that it can be.
    pub hop_at_most: Option<u8>,
    /// The least TTL that drew a RST from a dead flow, and how many flows say so.
    pub resets: Vec<ProbeReset>,
    /// The hops to the broker.
    pub hops: Vec<ProbeHop>,
    /// The TTL that reaches the broker.
    pub broker_ttl: Option<u8>,
    /// TTL of the resets as they came in; needs `CAP_NET_RAW`.
    pub reset_ttl: Option<u8>,
    /// TTL of the broker's side of the handshakes; needs `CAP_NET_RAW`.
    pub handshake_ttl: Option<u8>,
    /// How many hops away the resets began, by their TTL.
    pub reset_distance: Option<u8>,
}

/// Dead flows that agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProbeReset {
    /// The least TTL that drew a RST.
    pub ttl: u8,
    /// How many flows say so.
    pub flows: u64,
}

/// A hop on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProbeHop {
    /// Its distance.
    pub ttl: u8,
    /// The addresses that answered from there.
    pub addresses: Vec<IpAddr>,
    /// The name of the first, if that was asked for.
    pub name: Option<SmolStr>,
}

/// Connections that were kept alive past the timer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProbeHold {
    /// Whose connections they are like: `java`, `librdkafka` or `kafkajs`.
    pub like: Option<SmolStr>,
    /// Silence before the first keepalive probe, ms; `null` without any.
    pub keepalive_ms: Option<u64>,
    /// From one probe to the next, ms.
    pub interval_ms: Option<u64>,
    /// The client closes the connection itself after this silence, ms.
    pub max_idle_ms: Option<u64>,
    /// How long they were held, ms.
    pub span_ms: u64,
    /// All of them lived.
    pub holds: bool,
    /// Those that were kept alive.
    pub kept: Vec<ProbeHeld>,
    /// Those beside them that were not.
    pub silent: Vec<ProbeHeld>,
}

/// A connection that was held.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProbeHeld {
    /// What became of it.
    pub outcome: RungOutcome,
    /// When it ended, ms; `null` if it lived to the end.
    pub after_ms: Option<f64>,
}

/// A setting that the timer is safe with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProbeSetting {
    /// Whose: `java`, `librdkafka` or `kafkajs`.
    pub client: SmolStr,
    /// Its name; one that begins with `net.` is of the client's host.
    pub name: SmolStr,
    /// Its value.
    pub value: SmolStr,
}
