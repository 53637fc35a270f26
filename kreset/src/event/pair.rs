//! What both hosts of a connection together prove.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{
    Cause, CommunityId, Endpoint, FlowId, Host, Id, KresetProbe, SentBy, Time, Verdict,
    verdict::words,
};

words! {
    /// What a finding rests on.
    PairProof {
        /// The host that sent the RST reported it.
        SenderSeen = "sender_seen",
        /// The host in whose name the RST came was watching, and sent none.
        NobodySent = "nobody_sent",
        /// Both hosts received a RST, and neither sent one.
        BothReceived = "both_received",
        /// What one host alone reported: nothing is proven.
        OneHost = "one_host",
    }
}

words! {
    /// What the other host would have had to report for a proof.
    Missing {
        /// No host reports from that address.
        NoAgent = "no_agent",
        /// Its agent started later.
        NotAttachedYet = "not_attached_yet",
        /// Its agent ended before, or nothing of it came since.
        Ended = "ended",
        /// Records or events of it were lost around that time.
        Lost = "lost",
        /// Routine closes or other events were not shown around that time: run with `--all`.
        Unshown = "unshown",
        /// Its kernel does not show every RST that it sends.
        Degraded = "degraded",
        /// It does not trace the broker's port.
        Port = "port",
        /// Several hosts have that address, or the address is not known to be its own.
        Address = "address",
        /// Something between the hosts seems to terminate TCP.
        ConnectionUnknown = "connection_unknown",
        /// It sent a RST, but another one than the one that came.
        AnotherReset = "another_reset",
        /// Several events of it fit.
        Ambiguous = "ambiguous",
        /// What it said of that time had been forgotten when the event came.
        Late = "late",
    }
}

words! {
    /// What one host saw of the end of a connection.
    Saw {
        /// It received a RST.
        Received = "received",
        /// It sent a RST.
        Sent = "sent",
        /// It gave up: nothing was answered.
        Timeout = "timeout",
        /// The connection ended by FIN before its first exchange ended well.
        Closed = "closed",
        /// It was watching, and had nothing to report.
        Nothing = "nothing",
    }
}

/// One end of one connection, judged from both hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PairFinding {
    /// RFC 3339, UTC, nanoseconds, by the clock of `host`.
    pub time: Time,
    /// The host that the connection ended on: the one that received the RST or gave up,
    /// else the one that sent it.
    pub host: Host,
    /// Community ID v1 of the connection as `host` saw it.
    pub community_id: CommunityId,
    /// The same on both hosts, whatever rewrites addresses between them.
    pub flow_id: Option<FlowId>,
    /// Whose RST (or first FIN) ended the connection; `null` for a timeout.
    pub sent_by: Option<SentBy>,
    /// One sentence: who ended which connection, and what either host saw.
    pub summary: SmolStr,
    /// How the connection is known to be one of `kreset-trace probe`; `null` for every
    /// other.
    pub kreset_probe: Option<KresetProbe>,
    /// Who ended the connection.
    pub verdict: Verdict,
    /// Why; `null` for [`Verdict::Indeterminate`].
    pub cause: Option<Cause>,
    /// Chance that `verdict` and `cause` are right, 0..1.
    pub confidence: f64,
    /// What that rests on.
    pub proof: PairProof,
    /// What is missing for a proof.
    pub missing: Vec<Missing>,
    /// What contradicts itself; the verdict is then `indeterminate`.
    pub conflict: Option<SmolStr>,
    /// The client, as `host` saw it.
    pub client: Endpoint,
    /// The broker, as `host` saw it.
    pub broker: Endpoint,
    /// What the client's host saw; `null` if it did not report and was not watching.
    pub client_host: Option<PairHost>,
    /// What the broker's host saw, likewise.
    pub broker_host: Option<PairHost>,
    /// Milliseconds to add to the clock of the client's host to get that of the broker's;
    /// `null` where no connection that both reported shows it.
    pub skew_ms: Option<f64>,
    /// Milliseconds without any packet before what ended the connection, as `host` saw it.
    pub wire_idle_ms: Option<f64>,
    /// Ids of the events that this rests on.
    pub event_ids: Vec<Id>,
    /// One sentence: what to change.
    pub advice: SmolStr,
}

/// What one host saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PairHost {
    /// Its name.
    pub name: SmolStr,
    /// What it saw of the end of the connection.
    pub saw: Saw,
    /// When, by its own clock; `null` for nothing.
    pub time: Option<Time>,
    /// The client, as it saw it; `null` for nothing.
    pub client: Option<Endpoint>,
    /// The broker, likewise. What differs between the hosts is the NAT between them.
    pub broker: Option<Endpoint>,
    /// What it reported alone.
    pub verdict: Option<Verdict>,
    /// The cause that it reported alone.
    pub cause: Option<Cause>,
    /// The confidence that it reported alone.
    pub confidence: Option<f64>,
    /// Its kernel's reason for a RST that it sent.
    pub kernel_reason: Option<SmolStr>,
    /// What its application wrote in its log about that end; only where the log was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrote: Option<SmolStr>,
    /// From when it was watching without a loss, by its own clock.
    pub watched_from: Option<Time>,
    /// Until when.
    pub watched_until: Option<Time>,
}
