//! What one host knows of one event: the kernel's record, decoded and put into
//! units that people use. Pure: the same for live records, recorded ones and
//! tests.
//!
//! Nothing here judges. A field that the kernel or the tracer could not know
//! is `None`.

pub mod api_key;
mod client_names;
mod clock;
mod close_notify;
mod decode;
mod idle;
pub mod load;
mod packets;
pub mod process;
mod sequence;
mod settled;

use std::net::IpAddr;

pub use client_names::read as client_names;
pub use clock::ResetClock;
pub use close_notify::is_close_notify;
pub use decode::{DecodeError, Decoder};
pub use packets::{FirstBytes, PacketFacts, ResetPacket, TlsAlert};
pub use sequence::Flow;

use smol_str::SmolStr;

use self::{load::Load, process::ProcessId};
use crate::event::{
    AgeKind, Direction, Endpoint, KresetProbe, PROBE_BYTES, PROBE_MSS, PROBE_PROCESS, ProvokedBy,
    Role,
};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A RST was accepted on a socket of this host.
    ResetReceived,
    /// This host sent a RST.
    ResetSent,
    /// The socket gave up: retransmissions or keepalives went unanswered.
    Timeout,
    /// The broker's side sent the first FIN.
    Fin,
    /// A young connection ended after FINs, without any RST.
    Closed,
    /// A connection became ESTABLISHED to a broker that had trouble lately.
    Established,
    /// A connection came through a silence.
    Survived,
    /// Its socket was freed, and nothing was observed of how it ended.
    Unobserved,
    /// The client's side sent the first FIN, after it had waited long for an answer.
    GaveUp,
}

/// A TCP state; kernel: `include/net/tcp_states.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum State {
    Established = 1,
    SynSent,
    SynRecv,
    FinWait1,
    FinWait2,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    Closing,
    NewSynRecv,
}

impl State {
    const ALL: [(Self, &'static str); 12] = [
        (Self::Established, "ESTABLISHED"),
        (Self::SynSent, "SYN_SENT"),
        (Self::SynRecv, "SYN_RECV"),
        (Self::FinWait1, "FIN_WAIT1"),
        (Self::FinWait2, "FIN_WAIT2"),
        (Self::TimeWait, "TIME_WAIT"),
        (Self::Close, "CLOSE"),
        (Self::CloseWait, "CLOSE_WAIT"),
        (Self::LastAck, "LAST_ACK"),
        (Self::Listen, "LISTEN"),
        (Self::Closing, "CLOSING"),
        (Self::NewSynRecv, "NEW_SYN_RECV"),
    ];

    /// The state of a kernel number; `None` for 0, which means no socket.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        let index = usize::from(number).checked_sub(1)?;
        Self::ALL.get(index).map(|(state, _)| *state)
    }

    /// The kernel's name without `TCP_`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(state, _)| *state == self)
            .map_or("", |(_, name)| name)
    }
}

/// How old a connection is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Age {
    /// Milliseconds since it was made, or a lower bound.
    pub ms: f64,
    /// Which of the two.
    pub kind: AgeKind,
}

/// What went before the RST.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Idle {
    /// Milliseconds without data before the packet that drew the RST, or
    /// before the RST where none did.
    pub data_ms: f64,
    /// The same without any packet at all: what a device's idle timer counts.
    pub wire_ms: f64,
    /// What drew the RST.
    pub provoked_by: ProvokedBy,
    /// Microseconds from the first packet of the pending flight to the RST.
    pub delay_us: Option<u64>,
    /// The packets themselves were seen; otherwise the socket's time stamps
    /// were read, to which keepalives of the peer are invisible.
    pub from_packets: bool,
    /// The peer was heard from long after what it has not answered went out.
    pub heard_since: bool,
    /// Nothing was pending, but an acknowledgement of this host's went out so shortly
    /// before the RST that it may have drawn it.
    pub acknowledged: bool,
}

/// The first FIN of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fin {
    /// The peer sent it, rather than this host.
    pub by_peer: bool,
    /// Milliseconds from it to the event.
    pub ago_ms: f64,
    /// Milliseconds without data before it.
    pub silence_ms: f64,
    /// The kernel sent it when it closed the sockets of an ending process of this host.
    pub by_exit: bool,
    /// That process was not the owner, but for example a child that inherited the
    /// connection.
    pub by_other_exit: bool,
}

/// The packet that drew a RST that this host sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Its TCP flags.
    pub flags: u8,
    /// Its payload, bytes.
    pub payload: u32,
}

impl Trigger {
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;

    /// It asked for a new connection.
    #[must_use]
    pub const fn is_syn(self) -> bool {
        self.flags & Self::SYN != 0 && self.flags & Self::ACK == 0
    }

    /// It answers a request for a new connection.
    #[must_use]
    pub const fn is_synack(self) -> bool {
        self.flags & (Self::SYN | Self::ACK) == Self::SYN | Self::ACK
    }

    /// It belongs to no connection of a listener's: all segments of those but the SYN
    /// acknowledge something (RFC 9293, 3.5.2), and only a listener sends `SYN,ACK`.
    #[must_use]
    pub const fn is_stray(self) -> bool {
        let flags = self.flags & (Self::SYN | Self::ACK);
        flags == 0 || flags == Self::SYN | Self::ACK
    }
}

/// Whether this host had the connection of a packet that found no socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Had {
    /// Nothing was recorded about it.
    Unknown,
    /// A connection of these ends ended on this host.
    Yes,
    /// It ended in order: both ends had closed, and the packet carries nothing newer.
    InOrder,
    /// None did within the last so many milliseconds; 0 if that is not known.
    NotWithin(u32),
}

/// The socket's own counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Retransmission timeouts in a row; kernel: `icsk_retransmits`.
    pub retransmits: u32,
    /// Bytes sent, first transmissions; kernel: `tcp_sock.bytes_sent` without
    /// `bytes_retrans`.
    pub bytes_sent: Option<u64>,
    /// Bytes received; kernel: `tcp_sock.bytes_received`.
    pub bytes_received: Option<u64>,
    /// Segments with payload received.
    pub data_segs_in: u32,
    /// Segments with payload sent.
    pub data_segs_out: u32,
    /// Smoothed round trip, microseconds.
    pub srtt_us: Option<u32>,
    /// Least round trip, microseconds.
    pub min_rtt_us: Option<u32>,
    /// TCP timestamps were negotiated.
    pub timestamps_negotiated: Option<bool>,
    /// The received RST carried timestamps; meaningful if negotiated.
    pub reset_timestamps: Option<bool>,
    /// Whose timestamps it carried.
    pub reset_clock: Option<ResetClock>,
    /// The maximum segment size that the peer announced, or less where this end limits
    /// it; kernel: `tcp_sock.rx_opt.mss_clamp`.
    pub peer_mss: Option<u16>,
    /// Bytes received that the process has not read; kernel: `tcp_sock.copied_seq`.
    pub unread: Option<u64>,
}

/// The owner of this host's socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Thread group id.
    pub pid: Option<u32>,
    /// Command name, as the kernel had it; untrusted text.
    pub name: Option<SmolStr>,
    /// When it started, nanoseconds since boot.
    pub start_boottime_ns: Option<u64>,
    /// Cgroup v2 id.
    pub cgroup_id: Option<u64>,
}

impl Owner {
    /// What names the process; `None` if it is not known.
    #[must_use]
    pub fn process(&self) -> Option<ProcessId> {
        Some(ProcessId {
            pid: self.pid?,
            start_boottime_ns: self.start_boottime_ns.unwrap_or(0),
        })
    }
}

/// What a broker's log says of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerLog {
    /// What it is about.
    pub kind: LogKind,
    /// The line, shortened.
    pub text: SmolStr,
}

/// What a line of a broker's log is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// A client failed to authenticate.
    Authentication,
    /// A TLS handshake failed.
    TlsHandshake,
    /// What is no request, with the length that it was read as.
    InvalidReceive(u32),
    /// A client or its address had too many connections.
    TooMany,
    /// The broker shuts down.
    Shutdown,
    /// The broker ran out of memory.
    OutOfMemory,
    /// Another error closed the connection.
    Closed,
}

/// What a client's log says of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLog {
    /// What it is about.
    pub kind: ClientLogKind,
    /// The line, shortened.
    pub text: SmolStr,
}

/// What a line of a client's log is about, in the order of how much it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientLogKind {
    /// The connection ended.
    Disconnected,
    /// It ended in order.
    EndOfStream,
    /// It was reset.
    Reset,
    /// The client waited too long for an answer.
    RequestTimeout,
    /// Nothing listened.
    Refused,
    /// A TLS handshake failed.
    TlsHandshake,
    /// The client speaks TLS, and takes the listener for one without.
    TlsToPlaintext,
    /// The other way round.
    PlaintextToTls,
    /// The broker refused the client's credentials.
    Authentication,
}

/// Identity of a connection on this host while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Address of the socket.
    pub socket: u64,
    /// When it was first seen: sockets are reused.
    pub first_seen_ns: u64,
}

/// Both ends of a connection, in the network namespace of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Network namespace; 0 if unknown.
    pub netns: u32,
    /// This host's end.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
}

/// What one host knows of one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// What happened.
    pub kind: Kind,
    /// When; `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
    /// The connection, if the event has a full socket.
    pub id: Option<ConnectionId>,
    /// Which end this host is.
    pub role: Role,
    /// This host's end.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// State of the socket; `None` without one.
    pub state: Option<State>,
    /// The local kernel's reason for a sent RST, without its prefix.
    pub kernel_reason: Option<SmolStr>,
    /// The packet that drew a sent RST.
    pub trigger: Option<Trigger>,
    /// The kernel sent the RST or FIN when it closed the sockets of an ending process
    /// of this host.
    pub by_exit: bool,
    /// That process was not the owner.
    pub by_other_exit: bool,
    /// Signal that ended that process; 0 for a plain exit.
    pub exit_signal: Option<u8>,
    /// `errno` that the socket closed with.
    pub error: Option<u32>,
    /// The socket belonged to no file: not accepted yet, or closed already.
    pub without_file: bool,
    /// Whether this host had the connection, where no socket knows it.
    pub had: Had,
    /// The accept queue of the listener that answered was full.
    pub queue_full: bool,
    /// Whether a socket listened on the broker's port of this host.
    pub listened: Option<bool>,
    /// What names the connection on both hosts.
    pub flow: Option<Flow>,
    /// The sequence number of the RST.
    pub reset_sequence: Option<u32>,
    /// How old the connection is.
    pub age: Option<Age>,
    /// What went before the RST.
    pub idle: Option<Idle>,
    /// The first FIN, if one came or went.
    pub fin: Option<Fin>,
    /// The handshake was seen to end: the connection is (or was) ESTABLISHED.
    pub established: bool,
    /// The socket's counters.
    pub counters: Option<Counters>,
    /// What the packets showed.
    pub packets: Option<PacketFacts>,
    /// The owner of this host's socket; of the listener, where that answered.
    pub owner: Owner,
    /// How busy both ends were.
    pub load: Load,
    /// What the broker's log says of it, where one was given.
    pub broker_log: Option<BrokerLog>,
    /// What the other end's record says of the same ending, where that end is on this
    /// host as well.
    pub other_end: Option<Box<Self>>,
    /// What the client's log says of it, where one was given.
    pub client_log: Option<ClientLog>,
}

impl Facts {
    /// The client's end.
    #[must_use]
    pub const fn client(&self) -> Endpoint {
        match self.role {
            Role::Client => self.local,
            Role::Broker => self.remote,
        }
    }

    /// The broker's end.
    #[must_use]
    pub const fn broker(&self) -> Endpoint {
        match self.role {
            Role::Client => self.remote,
            Role::Broker => self.local,
        }
    }

    /// It ended by FINs.
    #[must_use]
    pub const fn is_close(&self) -> bool {
        matches!(self.kind, Kind::Fin | Kind::Closed)
    }

    /// The connection ended: this is no mere news of one.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        !matches!(self.kind, Kind::Established | Kind::Survived)
    }

    /// Which way the RST (or the first FIN) went.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        match self.kind {
            Kind::ResetSent => Direction::Sent,
            Kind::Fin | Kind::Closed | Kind::GaveUp => match self.fin {
                Some(fin) if !fin.by_peer => Direction::Sent,
                _ => Direction::Received,
            },
            _ => Direction::Received,
        }
    }

    /// Whether this host had the connection of a packet that found no socket.
    #[must_use]
    pub const fn is_had(&self) -> bool {
        matches!(self.had, Had::Yes | Had::InOrder)
    }

    /// Whether a live socket sent the received RST: it carries the negotiated
    /// timestamps or, where none were negotiated, has the flags and window of an
    /// active reset (kernel: `tcp_send_active_reset`). `None` where neither shows.
    #[must_use]
    pub fn reset_is_live(&self) -> Option<bool> {
        let counters = self.counters?;
        if counters.reset_clock == Some(ResetClock::Other) {
            return Some(false);
        }
        counters.reset_timestamps.or_else(|| {
            let packet = self.packets.as_ref()?.reset?;
            Some(packet.has_ack() && packet.window != 0)
        })
    }

    /// The received RST carries the peer's own timestamps: whatever else it looks like,
    /// the peer sent it.
    #[must_use]
    pub fn reset_is_peers(&self) -> bool {
        let clock = self.counters.and_then(|counters| counters.reset_clock);
        clock == Some(ResetClock::Peer)
    }

    /// How the connection is known to be one of `kreset-trace probe`.
    ///
    /// The announced size alone does not say so: whoever can write it, a client or a
    /// device on the path, is not to hide the end of a connection in use by it.
    #[must_use]
    pub fn kreset_probe(&self) -> Option<KresetProbe> {
        if self.role == Role::Client && self.owner.name.as_deref() == Some(PROBE_PROCESS) {
            return Some(KresetProbe::Process);
        }
        let counters = self.counters?;
        let from_client = match self.role {
            Role::Client => counters.bytes_sent,
            Role::Broker => counters.bytes_received,
        };
        let is_unused = from_client.is_some_and(|bytes| bytes <= PROBE_BYTES);
        (counters.peer_mss == Some(PROBE_MSS) && is_unused).then_some(KresetProbe::Mss)
    }

    /// The kernel's reason for the RST, whichever end on this host sent it.
    #[must_use]
    pub fn reset_reason(&self) -> Option<&SmolStr> {
        let other = || self.other_end.as_ref()?.kernel_reason.as_ref();
        self.kernel_reason.as_ref().or_else(other)
    }

    /// A RST of this host's that no socket sent, to a packet that belongs to a
    /// connection. A SYN is an attempt of its own.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.kind == Kind::ResetSent
            && self.id.is_none()
            && !self.trigger.is_some_and(Trigger::is_syn)
    }

    /// The broker's process, on this host, ended the connection by ending itself.
    #[must_use]
    pub fn broker_exited(&self) -> bool {
        let by_exit = self.by_exit || self.fin.is_some_and(|fin| fin.by_exit);
        self.role == Role::Broker && by_exit
    }

    /// Another process of this host than the one that listens ended the connection by
    /// ending itself: a worker, or a child that had inherited it.
    #[must_use]
    pub fn worker_exited(&self) -> bool {
        let by_exit = self.by_other_exit || self.fin.is_some_and(|fin| fin.by_other_exit);
        self.role == Role::Broker && by_exit
    }

    /// When the connection began, monotonic ns; `None` where only a bound is known.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a span in the past"
    )]
    pub fn began_ns(&self) -> Option<u64> {
        let age = self.age.filter(|age| age.kind == AgeKind::Exact)?;
        let span_ns = (age.ms.max(0.0) * 1e6) as u64;
        Some(self.at_ns.saturating_sub(span_ns))
    }

    /// What names the connection on this host even without a socket.
    #[must_use]
    pub fn tuple(&self) -> Tuple {
        Tuple {
            netns: self.netns.unwrap_or(0),
            local: self.local,
            remote: self.remote,
        }
    }

    /// The path that the connection took.
    #[must_use]
    pub fn path(&self) -> PathKey {
        PathKey {
            netns: self.netns.unwrap_or(0),
            far: self.remote_side(),
        }
    }

    const fn remote_side(&self) -> PathFar {
        match self.role {
            Role::Client => PathFar::Broker(self.remote),
            Role::Broker => PathFar::Client {
                client: self.remote.address,
                port: self.local.port,
            },
        }
    }
}

/// All connections of one netns to one broker address, or, on a broker host,
/// from one client address: they share whatever stands between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathKey {
    /// Network namespace of this host's end; 0 if unknown.
    pub netns: u32,
    /// The far end.
    pub far: PathFar,
}

/// The far end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathFar {
    /// Seen from a client: the broker.
    Broker(Endpoint),
    /// Seen from a broker: the client's address and this host's port.
    Client {
        /// Address of the client.
        client: IpAddr,
        /// Port of the broker.
        port: u16,
    },
}
