//! Packet evidence from `cgroup_skb`, kept in the connection's entry for the
//! record of its reset.
//!
//! The programs see every packet of every socket in the cgroup, so they first
//! check the ports: a packet of another port costs two look-ups.

use aya_ebpf::{macros::cgroup_skb, programs::SkBuffContext};
use kreset_common::{
    counter,
    record::{Packets, Record, event_flag, kind, packets_flag as seen, role},
};
use kreset_ebpf::{
    payload::{Direction, record_payload},
    reset::record_reset,
    segment::{Segment, tcp_flag},
};

use crate::{
    connection::{self, Entry, Key},
    filter,
    kernel::{SkbPacket, SkbSocket, state},
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
    let socket = socket.full()?;
    let entry = get_or_begin(socket, role)?;
    let segment = Segment::parse(&packet, ctx.skb.len())?;
    match direction {
        Direction::In if segment.has(tcp_flag::RST) => {
            record_reset(&mut entry.packets, &segment);
            // The payload of a RST is not data (RFC 9293, 3.10.7.4).
            return Some(());
        }
        Direction::In => received(entry, &segment, socket),
        Direction::Out if segment.has(tcp_flag::RST) => return None,
        Direction::Out => sent(&mut entry.packets, &segment),
    }
    if segment.payload_len > 0 {
        let by_client = (entry.connection.role == role::CLIENT) == (direction == Direction::Out);
        record_payload(&mut entry.packets, &packet, &segment, direction, by_client);
    }
    Some(())
}

/// The entry of a connection, created here if the kernel skipped the tracepoint
/// programs when the connection began. The kernel never skips packet programs
/// (`bpf_prog_run_array_cg` does not check `prog->active`, 5.10 to 7.3).
#[inline(always)]
fn get_or_begin(socket: SkbSocket, role: u8) -> Option<&'static mut Entry> {
    match connection::get(Key::of_packet(socket.as_ptr())) {
        Some(entry) if !entry.is_listener() => Some(entry),
        inherited => begin_missed(socket, role, inherited),
    }
}

#[inline(always)]
fn begin_missed(
    socket: SkbSocket,
    role: u8,
    inherited: Option<&'static mut Entry>,
) -> Option<&'static mut Entry> {
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
        None => connection::get_or_create(Key::of_packet(socket.as_ptr()))?,
    };
    entry.begin_at_packet(if opens { role::CLIENT } else { role }, from_start);
    ring::count(counter::SKIPPED);
    Some(entry)
}

#[inline(always)]
fn received(entry: &mut Entry, segment: &Segment, socket: SkbSocket) {
    let now = jiffies();
    let packets = &mut entry.packets;
    let first = packets.flags & seen::PEER_TTL == 0;
    packets.flags &= !seen::SYN_LATEST;
    // A SYN,ACK never meets an established socket: its connection is not in use yet.
    if segment.has(tcp_flag::SYN) && socket.state() == state::ESTABLISHED && !first {
        packets.flags |= seen::SYN_LATEST;
    }
    if first && packets.flags & seen::FROM_START != 0 {
        packets.flags |= seen::HANDSHAKE_TTL;
        packets.handshake_ttl = segment.ttl;
    }
    packets.peer_ttl = segment.ttl;
    packets.peer_ip_id = segment.ip_id;
    // Any packet received after a silence shows that the path survived it.
    let survived = if packets.flags & seen::PENDING != 0 {
        packets.silence
    } else {
        silence(packets, now)
    };
    packets.silence_in = silence(packets, now);
    packets.flags =
        (packets.flags | seen::PEER_TTL | seen::SEEN_IN) & !(seen::PENDING | seen::DATA_PENDING);
    packets.last_in = now;
    if segment.is_data() {
        packets.data_silence_in = if packets.flags & seen::SEEN_DATA != 0 {
            now.wrapping_sub(packets.last_data)
        } else {
            0
        };
        packets.flags |= seen::SEEN_DATA;
        packets.last_data = now;
    }
    if survived >= constant!(SETTINGS.silence_jiffies) && survived > 0 {
        survived_silence(entry, survived, socket);
    }
}

/// A packet of this host. If it requires an answer, the silence before it is kept
/// until the answer arrives: retransmissions and later packets do not shorten it.
#[inline(always)]
fn sent(packets: &mut Packets, segment: &Segment) {
    let now = jiffies();
    let consumed = segment.consumes();
    let end = segment.sequence.wrapping_add(consumed);
    let known = packets.flags & seen::SEEN_SEQUENCE != 0;
    let is_new = !known || (end.wrapping_sub(packets.next_out) as i32) > 0;
    // Kernel: tcp_xmit_probe_skb sends a keepalive with sequence snd_una - 1.
    let is_probe = known && consumed == 0 && end.wrapping_add(1) == packets.next_out;
    if packets.flags & seen::PENDING == 0 && (consumed > 0 || is_probe) {
        packets.silence = silence(packets, now);
        packets.flags |= seen::PENDING;
    }
    if segment.is_data() && is_new {
        if packets.flags & (seen::DATA_PENDING | seen::SEEN_DATA) == seen::SEEN_DATA {
            packets.data_silence = now.wrapping_sub(packets.last_data);
            packets.flags |= seen::DATA_PENDING;
        }
        packets.last_data = now;
        packets.flags |= seen::SEEN_DATA;
    }
    if is_new && !is_probe {
        packets.next_out = end;
    }
    packets.flags |= seen::SEEN_OUT | seen::SEEN_SEQUENCE;
    packets.last_out = now;
}

/// Jiffies since the latest packet in either direction; 0 before the first.
#[inline(always)]
const fn silence(packets: &Packets, now: u32) -> u32 {
    let since_in = now.wrapping_sub(packets.last_in);
    let since_out = now.wrapping_sub(packets.last_out);
    match (
        packets.flags & seen::SEEN_IN != 0,
        packets.flags & seen::SEEN_OUT != 0,
    ) {
        (true, true) if since_in < since_out => since_in,
        (true, false) => since_in,
        (_, true) => since_out,
        (false, false) => 0,
    }
}

/// Reports a survived silence if it is a quarter longer than every earlier one of
/// this connection, so that a connection reports only a few.
#[inline(always)]
fn survived_silence(entry: &mut Entry, survived: u32, socket: SkbSocket) {
    let before = entry.packets.silence_max;
    if survived <= before.saturating_add(before / 4) {
        if survived > before {
            entry.packets.silence_max = survived;
        }
        return;
    }
    entry.packets.silence_max = survived;
    ring::emit(|record: *mut Record| {
        // SAFETY: room for a record, just reserved.
        unsafe {
            let event = &raw mut (*record).event;
            snapshot::begin(event, kind::SURVIVED);
            socket.set_addresses(event);
            (*event).role = entry.connection.role;
            (*event).netns = entry.connection.netns;
            (*event).flags = event_flag::FULL;
            ring::clear(&raw mut (*record).tcp);
            ring::copy(&raw const entry.connection, &raw mut (*record).connection);
            ring::copy(&raw const entry.packets, &raw mut (*record).packets);
        }
    });
}
