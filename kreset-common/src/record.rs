//! The records that the kernel side writes to the ring buffer.
//!
//! Every record begins with a [`KernelEvent`]. Where there is a full socket, a
//! [`Record`] adds its snapshot ([`Tcp`]), the connection's history
//! ([`Connection`]) and its packet evidence ([`Packets`]). A reset without a
//! socket is a [`KernelEvent`] alone: at tens of thousands a second, size counts.
//! A reset sent by a listener adds the listener ([`Listened`]). What happens to a process
//! is a [`ProcessRecord`](crate::process::ProcessRecord).

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What happened. Values of [`KernelEvent::kind`].
pub mod kind {
    /// `tcp_receive_reset`: a RST was accepted on this socket.
    pub const RESET_RECEIVED: u8 = 1;
    /// `tcp_send_reset`: this host sent a RST.
    pub const RESET_SENT: u8 = 2;
    /// The socket closed by itself with an error other than a reset, such as
    /// ETIMEDOUT after retransmissions.
    pub const TIMEOUT: u8 = 3;
    /// The first FIN of a connection, the broker's.
    pub const FIN: u8 = 4;
    /// The socket reached CLOSE without a reset after a FIN.
    pub const CLOSED: u8 = 5;
    /// A connection to a broker that sent a reset recently became ESTABLISHED.
    pub const ESTABLISHED: u8 = 6;
    /// A packet arrived after a silence, so the path survived it.
    pub const SURVIVED: u8 = 7;
    /// The socket was freed, and no program saw it end.
    pub const UNOBSERVED: u8 = 8;
    /// Something happened to a process that owns a listener: a
    /// [`ProcessRecord`](crate::process::ProcessRecord).
    pub const PROCESS: u8 = 9;
    /// The first FIN of a connection, the client's: its latest request had not been answered
    /// for [`Settings::unanswered_jiffies`](crate::settings::Settings::unanswered_jiffies).
    pub const GAVE_UP: u8 = 10;
}

/// Which end of the connection this host's socket is. Values of
/// [`KernelEvent::role`].
pub mod role {
    /// Neither port is traced, or both are and the handshake was not observed.
    pub const UNKNOWN: u8 = 0;
    /// This socket's peer has the traced port.
    pub const CLIENT: u8 = 1;
    /// This socket has the traced port.
    pub const BROKER: u8 = 2;
}

/// Bits of [`KernelEvent::flags`].
pub mod event_flag {
    /// The addresses come from the packet that drew the RST, not a socket.
    pub const ADDRESSES_FROM_PACKET: u16 = 1 << 0;
    /// The program ran in the context of an exiting task (`PF_EXITING`), so
    /// the socket was closed by process teardown.
    pub const TASK_EXITING: u16 = 1 << 1;
    /// `sock.sk_socket` was NULL: not yet accepted, or closed by its process.
    pub const NO_FILE: u16 = 1 << 2;
    /// [`KernelEvent::reason`](super::KernelEvent::reason) is valid: the kernel's tracepoint has one.
    pub const HAS_REASON: u16 = 1 << 3;
    /// A packet drew this RST; [`KernelEvent::trigger_flags`](super::KernelEvent::trigger_flags) is valid.
    pub const HAS_TRIGGER: u16 = 1 << 4;
    /// [`Tcp`](super::Tcp), [`Connection`](super::Connection) and [`Packets`](super::Packets) follow.
    pub const FULL: u16 = 1 << 5;
    /// `task_struct.exit_code` was readable: [`KernelEvent::exit_signal`](super::KernelEvent::exit_signal) is valid.
    pub const HAS_EXIT_SIGNAL: u16 = 1 << 6;
    /// The [`Connection`](super::Connection) of the listener that received the packet follows.
    pub const LISTENER: u16 = 1 << 7;
    /// Without a socket: a connection of these ends ended on this host, and
    /// [`KernelEvent::remembered_ms`](super::KernelEvent::remembered_ms) says when it began.
    pub const HAD: u16 = 1 << 8;
    /// Without a socket: none did within
    /// [`KernelEvent::remembered_ms`](super::KernelEvent::remembered_ms).
    pub const NOT_HAD: u16 = 1 << 9;
    /// The listener's accept queue was full (`sk_acceptq_is_full`).
    pub const QUEUE_FULL: u16 = 1 << 10;
    /// With [`TASK_EXITING`]: the task is of another process than the one that
    /// listened, or connected.
    pub const OTHER_PROCESS: u16 = 1 << 11;
    /// A socket listens on the broker's port of this network namespace.
    pub const LISTENED: u16 = 1 << 12;
    /// None does.
    pub const NOT_LISTENED: u16 = 1 << 13;
    /// With [`HAD`]: both ends had closed, and the packet carries nothing that came after.
    pub const HAD_ENDED_IN_ORDER: u16 = 1 << 14;
}

/// The part that every record has.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq)]
pub struct KernelEvent {
    /// `bpf_ktime_get_ns`: `CLOCK_MONOTONIC`, nanoseconds.
    pub ktime_ns: u64,
    /// Identity of the socket while it lives (its address); 0 for none.
    pub socket: u64,
    /// Cgroup v2 id of the socket (`kernfs_node.id`); 0 if unknown.
    pub cgroup: u64,
    /// Local address in network order; IPv4 in the first 4 bytes.
    pub local_address: [u8; 16],
    /// Remote address, likewise.
    pub remote_address: [u8; 16],
    /// `net.ns.inum` of the socket, or of the packet's device.
    pub netns: u32,
    /// `bpf_jiffies64`, low 32 bits.
    pub jiffies: u32,
    /// `enum sk_rst_reason` of `tcp_send_reset`, since 6.10; see
    /// [`event_flag::HAS_REASON`].
    pub reason: u32,
    /// `sock.sk_err` of a full socket.
    pub error: u32,
    /// Local port, host order.
    pub local_port: u16,
    /// Remote port, host order.
    pub remote_port: u16,
    /// [`event_flag`] bits.
    pub flags: u16,
    /// `AF_INET` (2) or `AF_INET6` (10).
    pub family: u16,
    /// [`kind`].
    pub kind: u8,
    /// [`role`].
    pub role: u8,
    /// `sock.__sk_common.skc_state` at the event; 0 without a socket. For
    /// [`kind::FIN`], [`kind::GAVE_UP`] and [`kind::CLOSED`] the state that was left.
    pub state: u8,
    /// TCP flags of the packet that drew a sent RST.
    pub trigger_flags: u8,
    /// TTL or hop limit of the packet that drew a sent RST.
    pub trigger_ttl: u8,
    /// Signal that ended the exiting task, 0 for a plain exit.
    pub exit_signal: u8,
    /// Zero.
    pub padding: [u8; 2],
    /// Payload bytes of the packet that drew a sent RST.
    pub trigger_payload: u32,
    /// With [`event_flag::HAD`], milliseconds since that connection began; with
    /// [`event_flag::NOT_HAD`], since when no ended connection was forgotten; 0 if unknown.
    pub remembered_ms: u32,
    /// Sequence number of the first byte of data that this host sent, or would have sent; see
    /// [`sequence::FIRST`].
    pub first_local: u32,
    /// The same of the peer.
    pub first_remote: u32,
    /// Sequence number of the RST that this host sends; see [`sequence::RESET`].
    pub reset_sequence: u32,
    /// [`sequence`] bits.
    pub sequences: u32,
}

/// Bits of [`KernelEvent::sequences`]: which sequence numbers are known.
pub mod sequence {
    /// `first_local` and `first_remote`: both handshake packets came, and the socket
    /// was not restored by `TCP_REPAIR`. That cannot be seen; it makes them wrong.
    pub const FIRST: u32 = 1 << 0;
    /// `reset_sequence`.
    pub const RESET: u32 = 1 << 1;
}

// The kernel side writes these as words.
const _: () = assert!(
    offset_of!(KernelEvent, local_address).is_multiple_of(8)
        && offset_of!(KernelEvent, remote_address).is_multiple_of(8)
        && offset_of!(Connection, comm).is_multiple_of(8)
);

/// Snapshot of `struct tcp_sock` at the event. Unknown values are 0 with
/// their bit missing in `present`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq)]
pub struct Tcp {
    /// `tcp_sock.tcp_mstamp`, microseconds: time of this packet or timer.
    pub tcp_mstamp: u64,
    /// `tcp_sock.first_tx_mstamp`, microseconds: start of the flight.
    pub first_tx_mstamp: u64,
    /// `tcp_sock.bytes_sent` without `bytes_retrans`: first transmissions.
    pub bytes_sent: u64,
    /// `tcp_sock.bytes_acked`.
    pub bytes_acked: u64,
    /// `tcp_sock.bytes_received`.
    pub bytes_received: u64,
    /// `tcp_sock.lsndtime`, jiffies.
    pub lsndtime: u32,
    /// `tcp_sock.rcv_tstamp`, jiffies.
    pub rcv_tstamp: u32,
    /// `inet_connection_sock.icsk_ack.lrcvtime`, jiffies.
    pub lrcvtime: u32,
    /// `tcp_sock.srtt_us`, microseconds << 3.
    pub srtt_us: u32,
    /// `tcp_sock.rtt_min`, microseconds; `u32::MAX` before the first sample.
    pub min_rtt_us: u32,
    /// `tcp_sock.packets_out`.
    pub packets_out: u32,
    /// `tcp_sock.total_retrans`.
    pub total_retrans: u32,
    /// `tcp_sock.snd_una`.
    pub snd_una: u32,
    /// `tcp_sock.snd_nxt`.
    pub snd_nxt: u32,
    /// `tcp_sock.rcv_nxt`.
    pub rcv_nxt: u32,
    /// `tcp_sock.segs_in`; already counts a received RST.
    pub segs_in: u32,
    /// `tcp_sock.segs_out`.
    pub segs_out: u32,
    /// `tcp_sock.data_segs_in`.
    pub data_segs_in: u32,
    /// `tcp_sock.data_segs_out`.
    pub data_segs_out: u32,
    /// [`tcp_present`] bits.
    pub present: u32,
    /// `inet_connection_sock.icsk_probes_out`.
    pub probes_out: u8,
    /// `inet_connection_sock.icsk_retransmits`: timeouts in a row.
    pub retransmits: u8,
    /// `tcp_sock.rx_opt.saw_tstamp`: the segment being processed (a received
    /// RST) carried timestamps.
    pub saw_tstamp: u8,
    /// `tcp_sock.rx_opt.tstamp_ok`: timestamps were negotiated.
    pub tstamp_ok: u8,
    /// `sock.sk_shutdown`.
    pub shutdown: u8,
    /// `tcp_sock.rx_opt.num_sacks`: ranges received beyond a gap.
    pub num_sacks: u8,
    /// `tcp_sock.copied_seq`, the next byte that the process reads: a number in this machine's
    /// byte order, which is not aligned here.
    pub copied_seq: [u8; 4],
    /// `tcp_sock.rx_opt.mss_clamp`: the segment size that the peer's SYN announced, at most
    /// what this host set by `TCP_MAXSEG`; 536 if it announced none (RFC 9293, 3.7.1).
    pub peer_mss: u16,
}

/// Bits of [`Tcp::present`]: which optional fields this kernel has.
pub mod tcp_present {
    /// `tcp_mstamp` and `first_tx_mstamp`.
    pub const FLIGHT: u32 = 1 << 0;
    /// `bytes_sent`.
    pub const BYTES_SENT: u32 = 1 << 1;
    /// `saw_tstamp` and `tstamp_ok`.
    pub const TIMESTAMPS: u32 = 1 << 2;
    /// `probes_out`.
    pub const PROBES: u32 = 1 << 3;
    /// `min_rtt_us`.
    pub const MIN_RTT: u32 = 1 << 4;
    /// `num_sacks`.
    pub const SACKS: u32 = 1 << 5;
    /// `peer_mss`.
    pub const PEER_MSS: u32 = 1 << 6;
    /// `copied_seq`.
    pub const COPIED: u32 = 1 << 7;
}

/// Bits of [`Connection::flags`].
pub mod connection_flag {
    /// The socket is a listener: its children inherit the entry.
    pub const LISTENER: u32 = 1 << 0;
    /// Older than the tracer: `first_seen_ns` is not when it began.
    pub const SEEDED: u32 = 1 << 1;
    /// A reset of this connection was reported.
    pub const RESET: u32 = 1 << 2;
    /// The peer's FIN was received.
    pub const FIN_RECEIVED: u32 = 1 << 3;
    /// This host's FIN was sent.
    pub const FIN_SENT: u32 = 1 << 4;
    /// The peer's FIN came before this host's.
    pub const PEER_CLOSED_FIRST: u32 = 1 << 5;
    /// The socket was closed by the teardown of its process.
    pub const CLOSED_BY_EXIT: u32 = 1 << 6;
    /// This socket called `connect()`.
    pub const ACTIVE: u32 = 1 << 7;
    /// The tracer saw the connection reach ESTABLISHED.
    pub const ESTABLISHED: u32 = 1 << 8;
    /// With [`CLOSED_BY_EXIT`]: by the teardown of another process than the owner.
    pub const OTHER_PROCESS: u32 = 1 << 9;
}

/// History of one connection, as the kernel side kept it.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq)]
pub struct Connection {
    /// When it began (SYN sent, or the child socket made), or when it was first
    /// observed; monotonic ns.
    pub first_seen_ns: u64,
    /// Monotonic ns of ESTABLISHED; 0 if not observed.
    pub established_ns: u64,
    /// Monotonic ns of the first FIN, either side's; 0 for none.
    pub fin_ns: u64,
    /// `task_struct.start_boottime` of the owner, ns since boot; 0 unknown.
    pub owner_start_ns: u64,
    /// Owner: who called `connect()` or `listen()`, or held the descriptor when
    /// the tracer started; 0 if unknown.
    pub tgid: u32,
    /// [`connection_flag`] bits.
    pub flags: u32,
    /// Jiffies without data, either way, before the first FIN.
    pub fin_silence: u32,
    /// Signal that ended the process whose teardown sent the FIN.
    pub exit_signal: u32,
    /// Command name of the owner, NUL-padded.
    pub comm: [u8; 16],
    /// `net.ns.inum` of the socket; 0 if unknown.
    pub netns: u32,
    /// [`role`].
    pub role: u8,
    /// Zero.
    pub padding: [u8; 3],
}

/// Bits of [`Packets::flags`].
pub mod packets_flag {
    /// `handshake_ttl` is from the handshake (or, on the accepting side, from
    /// the first segment after it).
    pub const HANDSHAKE_TTL: u32 = 1 << 0;
    /// `peer_ttl` is from some packet of the peer.
    pub const PEER_TTL: u32 = 1 << 1;
    /// The `reset_*` fields describe a received RST.
    pub const RESET: u32 = 1 << 2;
    /// A packet sent that requires an answer (data, FIN, keepalive probe) has not
    /// been answered yet; `silence` is the silence before it.
    pub const PENDING: u32 = 1 << 3;
    /// The packets of this connection were observed from the first one on.
    pub const FROM_START: u32 = 1 << 4;
    /// `last_in` and `last_out` are set.
    pub const SEEN_IN: u32 = 1 << 5;
    /// See [`Self::SEEN_IN`](SEEN_IN).
    pub const SEEN_OUT: u32 = 1 << 6;
    /// `api_key` is set.
    pub const API_KEY: u32 = 1 << 7;
    /// The last packet with payload was received, not sent.
    pub const LAST_DATA_IN: u32 = 1 << 8;
    /// `reset_ip_id` and `peer_ip_id` are set: the connection is IPv4.
    pub const RESET_IP_ID: u32 = 1 << 9;
    /// New data sent has not been answered yet; `data_silence` is the silence
    /// before it.
    pub const DATA_PENDING: u32 = 1 << 10;
    /// `last_data` is set.
    pub const SEEN_DATA: u32 = 1 << 11;
    /// The client began a SASL exchange.
    pub const SASL: u32 = 1 << 13;
    /// The broker answered another request after it: the client is authenticated.
    pub const SASL_DONE: u32 = 1 << 14;
    /// The broker's latest answer to `SaslAuthenticate` carries no error.
    pub const SASL_ACCEPTED: u32 = 1 << 15;
    /// The peer's latest packet, on an established connection, was a SYN.
    pub const SYN_LATEST: u32 = 1 << 16;
    /// `data_in_seq` is set.
    pub const DATA_IN_SEQ: u32 = 1 << 17;
    /// The recorded RST had a payload.
    pub const RESET_PAYLOAD: u32 = 1 << 18;
    /// The kernel lacks the fields by which a segment is known to be acceptable: a
    /// forged one may be among those that were recorded.
    pub const UNCHECKED: u32 = 1 << 19;
    /// The connection was busy after the last packet that was recorded. Set by the
    /// decoder, which finds it in the socket's times.
    pub const LET_PASS: u32 = 1 << 20;
}

/// Bytes kept of the client's first segment: room for an `ApiVersions` request
/// up to the client software's name and version (KIP-511).
pub const REQUEST_HEAD: usize = 96;
/// Bytes kept of the broker's first segment.
pub const RESPONSE_HEAD: usize = 32;
/// Bytes kept of the latest segment each way.
pub const LATEST_HEAD: usize = 8;

/// Packet evidence of one connection. All zero where no packets are observed.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq)]
pub struct Packets {
    /// [`packets_flag`] bits.
    pub flags: u32,
    /// Jiffies of the peer's last packet other than a RST.
    pub last_in: u32,
    /// Jiffies of this host's last packet.
    pub last_out: u32,
    /// Jiffies of the latest packet with payload (or of the handshake), either
    /// direction, without this host's retransmissions.
    pub last_data: u32,
    /// Jiffies without any packet before the oldest unanswered packet sent.
    pub silence: u32,
    /// Jiffies without payload before the oldest unanswered payload sent.
    pub data_silence: u32,
    /// Sequence number of the latest segment with payload received.
    pub data_in_seq: u32,
    /// Jiffies without any packet before the peer's latest one.
    pub silence_in: u32,
    /// Jiffies without payload before the peer's latest payload.
    pub data_silence_in: u32,
    /// Longest silence that this connection survived, jiffies.
    pub silence_max: u32,
    /// Sequence number of the RST.
    pub reset_seq: u32,
    /// Segments with payload received.
    pub data_in: u32,
    /// Segments with payload sent.
    pub data_out: u32,
    /// Payload bytes of the latest segment received.
    pub latest_in_len: u32,
    /// Payload bytes of the latest segment sent.
    pub latest_out_len: u32,
    /// IPv4 identification of the RST.
    pub reset_ip_id: u16,
    /// Window field of the RST, unscaled.
    pub reset_window: u16,
    /// IPv4 identification of the peer's last packet before.
    pub peer_ip_id: u16,
    /// API key of the client's latest request that began at the start of a
    /// segment.
    pub api_key: u16,
    /// Times that the direction of the payload changed, from 1 at the first.
    pub turns: u16,
    /// TLS alert received: level << 8 | description; 0 for none.
    pub alert_in: u16,
    /// TLS alert sent, likewise.
    pub alert_out: u16,
    /// TTL or hop limit of the peer's handshake.
    pub handshake_ttl: u8,
    /// TTL or hop limit of the peer's last packet before the RST.
    pub peer_ttl: u8,
    /// TTL or hop limit of the RST.
    pub reset_ttl: u8,
    /// TCP flags of the RST.
    pub reset_flags: u8,
    /// TCP header length of the RST, bytes.
    pub reset_header: u8,
    /// Bytes of `request_head` that are set.
    pub request_len: u8,
    /// Bytes of `response_head` that are set.
    pub response_len: u8,
    /// Sequence number after the client's latest segment that held only a request's
    /// length, in this host's byte order.
    pub length_end: [u8; 4],
    /// Zero.
    pub padding: [u8; 3],
    /// First bytes of the client.
    pub request_head: [u8; REQUEST_HEAD],
    /// First bytes of the broker.
    pub response_head: [u8; RESPONSE_HEAD],
    /// First bytes of the latest early segment received.
    pub latest_in: [u8; LATEST_HEAD],
    /// First bytes of the latest early segment sent.
    pub latest_out: [u8; LATEST_HEAD],
}

/// The record of a full socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq)]
pub struct Record {
    /// What happened.
    pub event: KernelEvent,
    /// The socket.
    pub tcp: Tcp,
    /// Its history.
    pub connection: Connection,
    /// Its packet evidence.
    pub packets: Packets,
    /// What a received RST is checked with. From here on recordings may end that were made
    /// before the parts were added: zero there.
    pub incoming: Incoming,
    /// How busy its two ends are.
    pub load: Load,
}

/// What waits at the two ends of a connection. All zero where unknown.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq)]
pub struct Load {
    /// What is left of the window that this host offered, bytes (kernel: `tcp_receive_window`).
    pub rcv_wnd: u32,
    /// `tcp_sock.snd_wnd`: the window that the peer offered last, bytes.
    pub snd_wnd: u32,
    /// Of the listener at the broker's port of this host, `sock.sk_ack_backlog`: connections
    /// that its process has not accepted.
    pub accept_queue: u32,
    /// `sock.sk_max_ack_backlog`: one more than these fit (kernel: `sk_acceptq_is_full`).
    pub accept_limit: u32,
    /// `sock.sk_drops`: SYNs and handshakes that the listener dropped, for want of room in that
    /// queue for one (kernel: `tcp_listendrop`).
    pub listener_drops: u32,
    /// [`load_present`] bits.
    pub present: u32,
}

/// Bits of [`Load::present`].
pub mod load_present {
    /// `rcv_wnd` and `snd_wnd`.
    pub const WINDOWS: u32 = 1 << 0;
    /// `accept_queue` and `accept_limit`.
    pub const ACCEPT_QUEUE: u32 = 1 << 1;
    /// `listener_drops`.
    pub const DROPS: u32 = 1 << 2;
}

/// What the kernel keeps of the peer to validate its segments with
/// (`tcp_validate_incoming`). All zero for [`kind::SURVIVED`].
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq)]
pub struct Incoming {
    /// `tcp_sock.rx_opt.ts_recent`: the peer's latest timestamp in order.
    pub ts_recent: u32,
    /// `tcp_sock.rx_opt.ts_recent_stamp`: `ktime_get_seconds` when it came.
    pub ts_recent_stamp: u32,
    /// `tcp_sock.rx_opt.rcv_tsval`: timestamp of the segment being processed.
    pub rcv_tsval: u32,
    /// `tcp_sock.rx_opt.rcv_tsecr`: the timestamp of this host's that it echoes, ms of
    /// `tcp_mstamp`.
    pub rcv_tsecr: u32,
    /// Highest end of what was received out of order; `rcv_nxt` if nothing was.
    pub sack_end: u32,
    /// [`incoming_present`] bits.
    pub present: u32,
}

/// Bits of [`Incoming::present`].
pub mod incoming_present {
    /// The four timestamps.
    pub const CLOCK: u32 = 1 << 0;
    /// `sack_end`.
    pub const SACK: u32 = 1 << 1;
}

/// A RST sent by a listener: there is no connection, but a process listens.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq)]
pub struct Listened {
    /// What happened.
    pub event: KernelEvent,
    /// The listener's entry, which names its owner.
    pub listener: Connection,
    /// How busy it is. Not in recordings made before it was added.
    pub load: Load,
}

impl Packets {
    /// No packet observed.
    pub const NONE: Self = zerocopy::transmute!([0_u8; size_of::<Self>()]);

    /// Some packet of the connection was observed.
    #[must_use]
    pub const fn has_any(&self) -> bool {
        let any = packets_flag::SEEN_IN | packets_flag::SEEN_OUT | packets_flag::RESET;
        self.flags & any != 0
    }
}

impl Connection {
    /// Nothing known.
    pub const UNKNOWN: Self = zerocopy::transmute!([0_u8; size_of::<Self>()]);
}
