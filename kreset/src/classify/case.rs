//! One event with everything that may speak about it.

use std::time::Duration;

use super::{context::Context, phase::Phase};
use crate::{
    event::{AgeKind, Direction, ProvokedBy, Role},
    facts::{
        Facts, FirstBytes, Had, Kind, ResetClock, ResetPacket, State, Trigger, api_key,
        is_close_notify,
    },
};

/// What the operator configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// `connections.max.idle.ms` of the brokers.
    pub broker_max_idle: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            broker_max_idle: Duration::from_mins(10),
        }
    }
}

/// What a rule looks at.
#[derive(Debug)]
pub struct Case<'a> {
    /// The event.
    pub facts: &'a Facts,
    /// What came before it and right after, on this host.
    pub context: &'a Context,
    /// What the operator configured.
    pub config: &'a Config,
    /// How far the connection had come.
    pub phase: Phase,
}

impl<'a> Case<'a> {
    /// Puts a case together.
    #[must_use]
    pub fn new(facts: &'a Facts, context: &'a Context, config: &'a Config) -> Self {
        Self {
            facts,
            context,
            config,
            phase: Phase::of(facts),
        }
    }

    /// Which way the RST (or the first FIN) went.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.facts.direction()
    }

    /// A RST came.
    #[must_use]
    pub fn received(&self) -> bool {
        self.facts.kind == Kind::ResetReceived
    }

    /// A RST was sent by this host.
    #[must_use]
    pub fn sent(&self) -> bool {
        self.facts.kind == Kind::ResetSent
    }

    /// A SYN,ACK that no attempt of this host's asked for drew its RST.
    #[must_use]
    pub fn drawn_by_synack(&self) -> bool {
        self.sent() && self.facts.trigger.is_some_and(Trigger::is_synack)
    }

    /// This host gave the connection up, as its peer answered nothing any more:
    /// retransmissions (a timeout), or keepalives (a RST of the kernel's own).
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.facts.kind == Kind::Timeout || (self.sent() && self.ran_out_of_keepalives())
    }

    /// Kernel: `tcp_keepalive_timer`. Before 6.10 it gives no reason; but apart from an
    /// administrator it alone resets a connection that neither side has closed.
    fn ran_out_of_keepalives(&self) -> bool {
        let facts = self.facts;
        let Some(reason) = facts.kernel_reason.as_deref() else {
            let probed = facts
                .idle
                .is_some_and(|idle| idle.provoked_by == ProvokedBy::Keepalive);
            return probed && facts.trigger.is_none() && facts.state != Some(State::Close);
        };
        reason == "TCP_KEEPALIVE_TIMEOUT"
    }

    /// This host is the client.
    #[must_use]
    pub const fn is_client(&self) -> bool {
        matches!(self.facts.role, Role::Client)
    }

    /// The state is one of `states`.
    #[must_use]
    pub fn in_state(&self, states: &[State]) -> bool {
        self.facts
            .state
            .is_some_and(|state| states.contains(&state))
    }

    /// The broker's side sent the first FIN.
    #[must_use]
    pub fn broker_closed_first(&self) -> bool {
        self.peer_closed_first()
            .is_some_and(|by_peer| by_peer == self.is_client())
    }

    /// Whether the peer sent the first FIN; `None` where no FIN is known. Of one that no
    /// record shows the state does: only the peer's leads to these (RFC 9293, 3.3.2).
    fn peer_closed_first(&self) -> Option<bool> {
        let by_state = self.in_state(&[State::CloseWait, State::LastAck]);
        let shown = self.facts.fin.map(|fin| fin.by_peer);
        shown.or_else(|| by_state.then_some(true))
    }

    /// This host's kernel answered for a connection that it never had, as far back as it
    /// remembers: within so many milliseconds, or 0 if that is not known.
    #[must_use]
    pub fn never_had(&self) -> Option<u32> {
        match self.facts.had {
            Had::NotWithin(ms) if self.facts.is_answer() && self.context.closing.is_none() => {
                Some(ms)
            }
            _ => None,
        }
    }

    /// The client's side sent the first FIN.
    #[must_use]
    pub fn client_closed_first(&self) -> bool {
        self.peer_closed_first()
            .is_some_and(|by_peer| by_peer != self.is_client())
    }

    /// The packets of its beginning were not observed, and it was so young, so short
    /// and so busy that its first exchange may not have ended well.
    #[must_use]
    pub fn may_be_handshake(&self) -> bool {
        /// Segments with data each way that TLS or SASL take.
        const SEGMENTS: u32 = 8;
        /// A broker that turns a client away does so at once: 0.3 s after a
        /// wrong password.
        const AT_ONCE_MS: f64 = 1_000.0;
        let unseen = self
            .facts
            .packets
            .as_ref()
            .is_none_or(|packets| !packets.from_start);
        let short = self.facts.counters.is_some_and(|counters| {
            counters.data_segs_in <= SEGMENTS && counters.data_segs_out <= SEGMENTS
        });
        let silence_ms = match (self.facts.fin, self.facts.idle) {
            (Some(fin), _) => Some(fin.silence_ms),
            (None, idle) => idle.map(|idle| idle.data_ms),
        };
        let at_once = silence_ms.is_some_and(|silence_ms| silence_ms <= AT_ONCE_MS);
        self.phase == Phase::InUse && unseen && short && self.is_young() && at_once
    }

    fn is_young(&self) -> bool {
        const AGE_MS: f64 = 30_000.0;
        self.facts
            .age
            .is_some_and(|age| age.kind == AgeKind::Exact && age.ms <= AGE_MS)
    }

    /// The broker closed a young TLS connection right after its answer, and in order:
    /// with a `close_notify`, which no process that is killed sends. It may have turned
    /// away a SASL exchange that TLS hid.
    #[must_use]
    pub fn may_be_hidden_sasl(&self) -> bool {
        /// TLS (up to 6), `ApiVersions`, `SaslHandshake` and up to two rounds of
        /// `SaslAuthenticate`, and both `close_notify`. Measured: PLAIN has 9 or 10.
        const TURNS: u16 = 14;
        /// The error goes right before the `close_notify`. Measured: 0.1 to 0.7 ms, and
        /// 44 ms on a busy host.
        const ANSWERED_MS: f64 = 100.0;
        let hidden = self.facts.packets.as_ref().is_some_and(|packets| {
            packets.from_start
                && packets.client_speaks() == Some(FirstBytes::Tls)
                && packets.turns <= TURNS
                && is_close_notify(packets.latest_response_len)
        });
        let soon = self
            .facts
            .fin
            .is_some_and(|fin| !fin.by_exit && fin.silence_ms <= ANSWERED_MS);
        let closed = self.broker_closed_first() && soon;
        self.phase == Phase::InUse && hidden && closed && self.is_young()
    }

    /// The broker closed in order while a request of a connection in use was unanswered, and
    /// the client waits for the answer: a producer with `acks=0` does not.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        let ended_by_fins = matches!(self.facts.kind, Kind::Fin | Kind::Closed);
        let pending = self.facts.packets.as_ref().is_some_and(|packets| {
            let said_goodbye = packets.client_speaks() == Some(FirstBytes::Tls)
                && is_close_notify(packets.latest_request_len);
            packets.requests > 0
                && packets.api_key != Some(api_key::PRODUCE)
                && !packets.broker_spoke_last
                && !packets.sampled
                && !said_goodbye
        });
        ended_by_fins && pending && self.phase == Phase::InUse && self.broker_closed_first()
    }

    /// The broker closed in order, and only the client's `close_notify`, which answered its own, made
    /// that an abort (kernel: `__tcp_close` with data unread): nothing that the client wanted was
    /// left unread.
    #[must_use]
    pub fn aborted_on_close_notify(&self) -> bool {
        let said_goodbye = self.facts.packets.as_ref().is_some_and(|packets| {
            packets.from_start
                && packets.client_speaks() == Some(FirstBytes::Tls)
                && is_close_notify(packets.latest_request_len)
        });
        let aborted = if self.is_client() {
            self.received() && self.facts.reset_is_live() == Some(true)
        } else {
            self.sent() && self.facts.trigger.is_none() && self.facts.id.is_some()
        };
        aborted && said_goodbye && self.broker_closed_first() && !self.facts.by_exit
    }

    /// The client's RST answers the close by which the broker may have rejected it in TLS.
    #[must_use]
    pub fn is_rejected_client(&self) -> bool {
        !self.is_client()
            && self.received()
            && self.broker_closed_first()
            && self.may_be_hidden_sasl()
    }

    /// A received RST that competes on soft facts: the connection was in use
    /// (or a hop reset it before it was), and the peer had not closed it. This
    /// host may have: a device that had forgotten the flow answers its FIN.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.received()
            && (self.phase == Phase::InUse || self.may_be_forged_early())
            && self.peer_closed_first() != Some(true)
            && !self.is_rejected_client()
    }

    /// A RST that came during the first exchange from another distance than the
    /// connection's own packets, and not from a live socket: something between
    /// the ends sent it. On a broker's host a scanner that has sent nothing may
    /// make its packets by hand, its kernel the RST.
    #[must_use]
    pub fn is_early_hop(&self) -> bool {
        // Packets made by hand have no use for timestamps.
        let spoke = match self.phase {
            Phase::Silent => self.is_client() || self.lacks_timestamps(),
            phase => phase.is_handshake() && phase != Phase::Connecting,
        };
        let nearer = self.facts.packets.as_ref().is_some_and(|packets| {
            packets
                .reset
                .zip(packets.baseline_ttl())
                .is_some_and(|(reset, ttl)| {
                    reset.ttl != ttl
                        && Some(reset.ttl) != packets.peer_ttl
                        && !is_farther(reset.ttl, ttl)
                })
        });
        self.received() && spoke && nearer && self.facts.reset_is_live() != Some(true)
    }

    /// The received RST has no timestamps of the peer's, though they were negotiated: no live
    /// Linux socket sent it (kernel: `tcp_send_active_reset`).
    fn lacks_timestamps(&self) -> bool {
        let counters = self.facts.counters;
        counters.is_some_and(|counters| {
            counters.reset_timestamps == Some(false)
                || counters.reset_clock == Some(ResetClock::Other)
        })
    }

    /// A RST that came during the first exchange, of a shape that no Linux stack of the
    /// peer's gives it. No live socket leaves the timestamps out, and what has no
    /// socket answers data with a bare RST (`tcp_v4_send_reset`) and sends none
    /// unasked, as to a broker that has said nothing.
    #[must_use]
    pub fn is_odd_early(&self) -> bool {
        let early = self.phase.is_handshake() && self.phase != Phase::Connecting;
        if !self.received() || !early || !self.lacks_timestamps() || self.facts.fin.is_some() {
            return false;
        }
        let drawn = self.facts.idle.map(|idle| idle.provoked_by);
        if self.is_client() {
            let packet = self.facts.packets.as_ref().and_then(|it| it.reset);
            packet.is_some_and(ResetPacket::has_ack) && drawn == Some(ProvokedBy::Data)
        } else {
            drawn == Some(ProvokedBy::Nothing)
        }
    }

    /// A RST that came during the first exchange and that something between the ends
    /// may have sent: by its distance or its shape.
    #[must_use]
    pub fn may_be_forged_early(&self) -> bool {
        self.is_early_hop() || self.is_odd_early()
    }
}

/// The TTL that a packet was sent with, of those that stacks begin with: each router on
/// the way takes one.
const fn initial(ttl: u8) -> u8 {
    match ttl {
        0..=64 => 64,
        65..=128 => 128,
        _ => 255,
    }
}

/// A packet that came with `ttl` was made by a like stack, farther away than the one
/// that made packets with `other`.
#[must_use]
pub const fn is_farther(ttl: u8, other: u8) -> bool {
    initial(ttl) == initial(other) && ttl < other
}
