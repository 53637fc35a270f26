//! Packet evidence from `cgroup_skb`, kept in the connection's entry for the
//! record of its reset.
//!
//! The programs see every packet of every socket in the cgroup, so they first
//! check the ports. Then they let the packets of settled connections pass while these
//! are busy: the socket itself shows both, so the packets around a silence are looked at
//! closely ([`kreset_common::settled`]). Facts are taken only from segments that the
//! kernel accepts ([`kreset_ebpf::window`]).

use aya_ebpf::{macros::cgroup_skb, programs::SkBuffContext};
use kreset_common::{
    counter,
    record::{Record, event_flag, kind, packets_flag as seen, role},
    sequence::is_after,
    settled::{SAMPLE, is_later, is_settled},
};
use kreset_ebpf::{
    payload::{Direction, record_payload},
    reset::record_reset,
    segment::{Segment, plain_flags, tcp_flag},
    shared::SharedPackets,
};

use crate::{
    connection::{self, Entry, Key},
    filter,
    kernel::{SkbPacket, SkbSocket, TcpSock, state},
    ring,
    settings::constant,
    snapshot::{self, jiffies},
};

/// Lets the packet pass.
const ALLOW: i32 = 1;

/// `BPF_CGROUP_INET_INGRESS`, since 4.10.
#[cgroup_skb]
fn packets_in(ctx: SkBuffContext) -> i32 {
    let _untraced = observe(&ctx, Direction::In);
    ALLOW
}

/// `BPF_CGROUP_INET_EGRESS`, since 4.10.
#[cgroup_skb]
fn packets_out(ctx: SkBuffContext) -> i32 {
    let _untraced = observe(&ctx, Direction::Out);
    ALLOW
}

#[inline(always)]
fn observe(ctx: &SkBuffContext, direction: Direction) -> Option<()> {
    let packet = SkbPacket::new(ctx);
    let socket = packet.socket()?;
    let (local, remote) = socket.ports();
    // Most packets of a host leave here.
    let role = filter::role(local, remote);
    if role == role::UNKNOWN {
        return None;
    }
    let tcp = socket.tcp()?;
    // Most packets of a traced port leave here.
    if is_uninteresting(&packet, socket, tcp, direction) {
        return None;
    }
    let socket = socket.full()?;
    let entry = get_or_begin(socket, role)?;
    let segment = Segment::parse(&packet, ctx.skb.len())?;
    let by_client = (entry.connection.role.get() == role::CLIENT) == (direction == Direction::Out);
    match direction {
        Direction::In => received(entry, &packet, &segment, socket, tcp, by_client),
        Direction::Out if segment.has(tcp_flag::RST) => None,
        Direction::Out => {
            sent(&entry.packets, &segment, tcp);
            if segment.payload_len > 0 {
                record_payload(&entry.packets, &packet, &segment, direction, by_client);
            }
            Some(())
        }
    }
}

/// The connection is settled and busy, and the packet neither begins nor ends anything.
///
/// A packet that comes in runs this before the socket knows of it
/// (`tcp_v4_rcv` calls `tcp_filter` before `tcp_v4_do_rcv`, 5.10 to 7.3), and
/// those of this host do not touch these times: the first packets after a silence are not
/// busy. A FIN or RST of this host's leaves in another state than `ESTABLISHED`.
#[inline(always)]
fn is_uninteresting(
    packet: &SkbPacket,
    socket: SkbSocket,
    tcp: TcpSock,
    direction: Direction,
) -> bool {
    let busy = constant!(SETTINGS.busy_jiffies);
    if busy == 0
        || socket.state() != state::ESTABLISHED
        || !is_settled(tcp.data_segs_out(), tcp.bytes_received())
    {
        return false;
    }
    let now = jiffies();
    if now.wrapping_sub(tcp.rcv_tstamp()) >= busy && now.wrapping_sub(tcp.lrcvtime()) >= busy {
        return false;
    }
    match direction {
        Direction::Out => true,
        Direction::In => {
            const ENDS: u8 = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;
            tcp.segs_in() % SAMPLE != 0
                && plain_flags(packet).is_some_and(|flags| flags & ENDS == 0)
        }
    }
}

/// The entry of a connection, created here if the kernel skipped the tracepoint
/// programs when the connection began. The kernel never skips packet programs
/// (`bpf_prog_run_array_cg` does not check `prog->active`, 5.10 to 7.3).
#[inline(always)]
fn get_or_begin(socket: SkbSocket, role: u8) -> Option<&'static Entry> {
    match connection::get(Key::of_packet(socket.as_ptr())) {
        Some(entry) if !entry.is_listener() => Some(entry),
        inherited => begin_missed(socket, role, inherited),
    }
}

#[inline(always)]
fn begin_missed(
    socket: SkbSocket,
    role: u8,
    inherited: Option<&'static Entry>,
) -> Option<&'static Entry> {
    // With the table of connections nothing is skipped: an entry that is not there was
    // evicted. And a packet program cannot read the socket's namespace.
    if constant!(SETTINGS.hash_storage) != 0
        || (inherited.is_none() && constant!(SETTINGS.netns) != 0)
    {
        return None;
    }
    let state = socket.state();
    let opens = state == state::SYN_SENT;
    // A listener has no packets of its own, and no connection begins in CLOSE.
    if !opens && state != state::ESTABLISHED {
        return None;
    }
    // A child of a listener, or the SYN itself: this is the first packet.
    let from_start = inherited.is_some() || opens;
    let entry = match inherited {
        Some(entry) => entry,
        None => connection::create(Key::of_packet(socket.as_ptr()))?,
    };
    entry.begin_at_packet(if opens { role::CLIENT } else { role }, from_start);
    ring::count(counter::SKIPPED);
    Some(entry)
}

/// A packet of the peer's, or one that somebody sent in its name.
#[inline(always)]
fn received(
    entry: &Entry,
    packet: &SkbPacket,
    segment: &Segment,
    socket: SkbSocket,
    tcp: TcpSock,
    by_client: bool,
) -> Option<()> {
    let window = tcp.window();
    let opening = socket.state() == state::SYN_SENT;
    let fits = if !TcpSock::has_window() {
        entry.packets.flags.add(seen::UNCHECKED);
        true
    } else if opening {
        window.answers_syn(segment)
    } else {
        window.fits(segment)
    };
    if segment.has(tcp_flag::RST) {
        // Which of several counts is known once one was accepted. In SYN_SENT that is the
        // acknowledgement, elsewhere the sequence number.
        if fits || !opening {
            record_reset(&entry.packets, segment);
        }
        // The payload of a RST is not data (RFC 9293, 3.10.7.4).
        return Some(());
    }
    if segment.has(tcp_flag::SYN) && socket.state() == state::ESTABLISHED {
        // The kernel challenges it, whatever its numbers are (`tcp_validate_incoming`).
        if entry.packets.flags.has(seen::PEER_TTL) {
            entry.packets.flags.add(seen::SYN_LATEST);
        }
        return Some(());
    }
    // The peer's own carry timestamps once these were negotiated (RFC 7323, 3.2); the kernel
    // accepts a segment without (`tcp_validate_incoming` checks those it finds, 5.10 to 7.3).
    if !fits || (tcp.tstamp_ok() != 0 && !segment.may_have_timestamps()) {
        return None;
    }
    let is_new = opening || window.is_new(segment);
    observe_peer(entry, segment, is_new, socket, tcp);
    // Beyond a gap at the very beginning the first bytes are still to come.
    let begins = entry.packets.data_in.get() > 0 || opening || tcp.rcv_nxt() == segment.sequence;
    if segment.payload_len > 0 && is_new && begins {
        withdraw_rejected(&entry.packets, segment, tcp);
        record_payload(&entry.packets, packet, segment, Direction::In, by_client);
        entry.packets.data_in_seq.set(segment.sequence);
        entry.packets.flags.add(seen::DATA_IN_SEQ);
    }
    Some(())
}

/// Payload at the number that the kernel still waits for, although payload at that number
/// was recorded: the kernel dropped the earlier one, for a wrong checksum perhaps.
#[inline(always)]
fn withdraw_rejected(packets: &SharedPackets, segment: &Segment, tcp: TcpSock) {
    if !packets.flags.has(seen::DATA_IN_SEQ)
        || packets.data_in_seq.get() != segment.sequence
        || tcp.rcv_nxt() != segment.sequence
    {
        return;
    }
    let left = packets.data_in.get().wrapping_sub(1);
    packets.data_in.set(left);
    packets.alert_in.set(0);
    packets.flags.clear(seen::API_KEY);
    if left == 0 && packets.data_out.get() == 0 {
        packets.turns.set(0);
    }
}

#[inline(always)]
fn observe_peer(entry: &Entry, segment: &Segment, is_new: bool, socket: SkbSocket, tcp: TcpSock) {
    let now = jiffies();
    let packets = &entry.packets;
    let mut flags = packets.flags.get();
    if flags & seen::PEER_TTL == 0 && flags & seen::FROM_START != 0 {
        flags |= seen::HANDSHAKE_TTL;
        packets.handshake_ttl.set(segment.ttl);
    }
    packets.peer_ttl.set(segment.ttl);
    packets.peer_ip_id.set(segment.ip_id);
    // Any packet received after a silence shows that the path survived it.
    let before = since_latest(packets, flags, tcp, now, Direction::In);
    let survived = if flags & seen::PENDING != 0 {
        packets.silence.get()
    } else {
        before
    };
    packets.silence_in.set(before);
    if segment.has(tcp_flag::SYN) || (segment.payload_len > 0 && is_new) {
        let silence = since_data(packets, flags, tcp, now, Direction::In);
        packets.data_silence_in.set(silence);
        flags |= seen::SEEN_DATA;
        packets.last_data.set(now);
    }
    flags &= !(seen::SYN_LATEST | seen::PENDING | seen::DATA_PENDING);
    packets.flags.set(flags | seen::PEER_TTL | seen::SEEN_IN);
    packets.last_in.set(now);
    if survived >= constant!(SETTINGS.silence_jiffies) && survived > 0 {
        survived_silence(entry, survived, socket);
    }
}

/// A packet of this host. If it requires an answer, the silence before it is kept
/// until the answer arrives: retransmissions and later packets do not shorten it.
#[inline(always)]
fn sent(packets: &SharedPackets, segment: &Segment, tcp: TcpSock) {
    let now = jiffies();
    let consumed = segment.consumes();
    let end = segment.end();
    // `snd_nxt` moves over a segment once it has left (`tcp_event_new_data_sent`).
    let is_new = is_after(end, tcp.snd_nxt());
    // Kernel: tcp_xmit_probe_skb sends a keepalive with sequence snd_una - 1.
    let is_probe = consumed == 0 && end.wrapping_add(1) == tcp.snd_una();
    let mut flags = packets.flags.get();
    if flags & seen::PENDING == 0 && (consumed > 0 || is_probe) {
        packets.silence.set(if is_new || is_probe {
            since_latest(packets, flags, tcp, now, Direction::Out)
        } else {
            // It was sent before, while the connection was busy, or another packet was
            // answered since: nothing was silent then.
            0
        });
        flags |= seen::PENDING;
    }
    if segment.is_data() && is_new {
        if flags & (seen::DATA_PENDING | seen::SEEN_DATA) == seen::SEEN_DATA {
            let silence = since_data(packets, flags, tcp, now, Direction::Out);
            packets.data_silence.set(silence);
            flags |= seen::DATA_PENDING;
        }
        packets.last_data.set(now);
        flags |= seen::SEEN_DATA;
    }
    packets.flags.set(flags | seen::SEEN_OUT);
    packets.last_out.set(now);
}

/// Jiffies since the latest packet in either direction, before one in `direction`; 0
/// before the first. Packets that were let pass leave their times in the socket.
#[inline(always)]
fn since_latest(
    packets: &SharedPackets,
    flags: u32,
    tcp: TcpSock,
    now: u32,
    direction: Direction,
) -> u32 {
    let mut least = u32::MAX;
    if flags & seen::SEEN_IN != 0 {
        let last_in = packets.last_in.get();
        least = now.wrapping_sub(last_in);
        for kernel in [tcp.rcv_tstamp(), tcp.lrcvtime()] {
            least = least.min(since_unseen(kernel, last_in, now));
        }
    }
    if flags & seen::SEEN_OUT != 0 {
        let last_out = packets.last_out.get();
        least = least.min(now.wrapping_sub(last_out));
        least = least.min(since_unseen_data_out(last_out, tcp, now, direction));
    }
    if least == u32::MAX { 0 } else { least }
}

/// Jiffies since the latest payload in either direction, before payload in `direction`; 0
/// before the first.
#[inline(always)]
fn since_data(
    packets: &SharedPackets,
    flags: u32,
    tcp: TcpSock,
    now: u32,
    direction: Direction,
) -> u32 {
    if flags & seen::SEEN_DATA == 0 {
        return 0;
    }
    let mut least = now.wrapping_sub(packets.last_data.get());
    if flags & seen::SEEN_IN != 0 {
        let last_in = packets.last_in.get();
        // What was acknowledged unseen was sent just before.
        for kernel in [tcp.rcv_tstamp(), tcp.lrcvtime()] {
            least = least.min(since_unseen(kernel, last_in, now));
        }
    }
    if flags & seen::SEEN_OUT != 0 {
        let last_out = packets.last_out.get();
        least = least.min(since_unseen_data_out(last_out, tcp, now, direction));
    }
    least
}

/// Jiffies since this host sent payload unseen. At a packet of this host's the time in the
/// socket is that of the packet itself (`tcp_event_data_sent` in `__tcp_transmit_skb`).
#[inline(always)]
fn since_unseen_data_out(last_out: u32, tcp: TcpSock, now: u32, direction: Direction) -> u32 {
    match direction {
        Direction::In => since_unseen(tcp.lsndtime(), last_out, now),
        Direction::Out => u32::MAX,
    }
}

/// Jiffies since a time in the socket, if it is later than what was recorded; else
/// `u32::MAX`.
#[inline(always)]
fn since_unseen(kernel: u32, recorded: u32, now: u32) -> u32 {
    if is_later(kernel, recorded) && !is_later(kernel, now) {
        // The kernel's may be a tick ahead.
        now.wrapping_sub(kernel).min(now.wrapping_sub(recorded))
    } else {
        u32::MAX
    }
}

/// Reports a survived silence if it is a quarter longer than every earlier one of
/// this connection, so that a connection reports only a few.
#[inline(always)]
fn survived_silence(entry: &Entry, survived: u32, socket: SkbSocket) {
    let before = entry.packets.silence_max.get();
    if survived > before {
        entry.packets.silence_max.set(survived);
    }
    if survived <= before.saturating_add(before / 4) {
        return;
    }
    ring::emit(|record: *mut Record| {
        // SAFETY: room for a record, just reserved.
        unsafe {
            let event = &raw mut (*record).event;
            snapshot::begin(event, kind::SURVIVED);
            socket.set_addresses(event);
            (*event).role = entry.connection.role.get();
            (*event).netns = entry.connection.netns.get();
            (*event).flags = event_flag::FULL;
            ring::clear(&raw mut (*record).tcp);
            ring::copy(&raw const entry.connection, &raw mut (*record).connection);
            ring::copy(&raw const entry.packets, &raw mut (*record).packets);
            ring::clear(&raw mut (*record).incoming);
            ring::clear(&raw mut (*record).load);
        }
    });
}
