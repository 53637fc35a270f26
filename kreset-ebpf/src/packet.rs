//! Packet evidence from `cgroup_skb`: what the packets of traced connections
//! show, kept in the connection's entry until its reset asks for it.
//!
//! The programs see every packet of every socket in the cgroup, so the first
//! thing they do is to leave: a socket without an entry costs one look-up.

use core::ptr;

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock},
    helpers::generated::bpf_sk_fullsock,
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use kreset_common::record::{
    Event, LATEST_HEAD, Packets, REQUEST_HEAD, RESPONSE_HEAD, Record, event_flag, kind,
    packets_flag as seen, role,
};

use crate::{
    connection::{self, Entry, Key},
    kernel::AF_INET6,
    ring,
    segment::{Segment, load, tcp_flag},
    settings::constant,
    snapshot::{self, jiffies},
};

/// Let the packet through.
const ALLOW: i32 = 1;
/// Segments each way whose first bytes are kept: the handshakes of TLS and
/// SASL are shorter.
const EARLY_SEGMENTS: u32 = 16;
/// First byte of a TLS record that carries a handshake, or an alert.
const TLS_HANDSHAKE: u8 = 0x16;
const TLS_ALERT: u8 = 0x15;
/// Largest Kafka request: `socket.request.max.bytes`, 100 MiB by default.
const MAX_REQUEST: u32 = 0x0640_0000;
/// Above the highest API key and version in use.
const MAX_API_KEY: u16 = 100;
const MAX_API_VERSION: u16 = 32;

/// Packets that come in; since 4.10.
#[cgroup_skb]
fn packets_in(ctx: SkBuffContext) -> i32 {
    let _untraced = observe(&ctx, Way::In);
    ALLOW
}

/// Packets that go out; since 4.10.
#[cgroup_skb]
fn packets_out(ctx: SkBuffContext) -> i32 {
    let _untraced = observe(&ctx, Way::Out);
    ALLOW
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

#[inline(always)]
fn observe(ctx: &SkBuffContext, way: Way) -> Option<()> {
    let skb = ctx.skb.skb;
    // SAFETY: the kernel hands a valid context.
    let socket = unsafe { (*skb).__bindgen_anon_2.sk };
    if socket.is_null() {
        return None;
    }
    // SAFETY: checked for NULL; a mini-socket yields NULL.
    let socket = unsafe { bpf_sk_fullsock(socket) };
    if socket.is_null() {
        return None;
    }
    let entry = connection::get(Key::of_packet(socket.cast()))?;
    if entry.is_listener() {
        return None;
    }
    let segment = Segment::parse(skb, ctx.skb.len())?;
    match way {
        Way::In if segment.has(tcp_flag::RST) => {
            reset_came(&mut entry.packets, &segment);
            // What it carries is no data (RFC 9293, 3.10.7.4).
            return Some(());
        }
        Way::In => came(entry, &segment, socket),
        Way::Out if segment.has(tcp_flag::RST) => return None,
        Way::Out => went(&mut entry.packets, &segment),
    }
    if segment.payload_len > 0 {
        let by_client = (entry.connection.role == role::CLIENT) == (way == Way::Out);
        payload(&mut entry.packets, skb, &segment, way, by_client);
    }
    Some(())
}

/// A RST: kept beside the peer's other packets, to be compared with them.
#[inline(always)]
fn reset_came(packets: &mut Packets, segment: &Segment) {
    packets.flags |= seen::RESET;
    if segment.is_v4 {
        packets.flags |= seen::RESET_IP_ID;
    }
    packets.reset_seq = segment.sequence;
    packets.reset_ip_id = segment.ip_id;
    packets.reset_window = segment.window;
    packets.reset_ttl = segment.ttl;
    packets.reset_flags = segment.flags;
    packets.reset_header = segment.header_len as u8;
}

#[inline(always)]
fn came(entry: &mut Entry, segment: &Segment, socket: *mut bpf_sock) {
    let now = jiffies();
    let packets = &mut entry.packets;
    let first = packets.flags & seen::PEER_TTL == 0;
    if first && packets.flags & seen::FROM_START != 0 {
        packets.flags |= seen::HANDSHAKE_TTL;
        packets.handshake_ttl = segment.ttl;
    }
    packets.peer_ttl = segment.ttl;
    packets.peer_ip_id = segment.ip_id;
    // Whatever comes in after a silence shows that the path survived it.
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
        came_through(entry, survived, socket);
    }
}

/// Our packet. One that asks for an answer keeps the silence before it until
/// the answer comes: retransmissions and later packets do not shorten it.
#[inline(always)]
fn went(packets: &mut Packets, segment: &Segment) {
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

/// Jiffies since the latest packet, either way; 0 before the first.
#[inline(always)]
fn silence(packets: &Packets, now: u32) -> u32 {
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

/// Reports a survived silence when it is a quarter longer than any before it on
/// this connection, so that a connection reports a handful in its life.
#[inline(always)]
fn came_through(entry: &mut Entry, survived: u32, socket: *mut bpf_sock) {
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
            addresses(event, socket);
            (*event).role = entry.connection.role;
            (*event).netns = entry.connection.netns;
            (*event).flags = event_flag::FULL;
            ring::clear(&raw mut (*record).tcp);
            ring::copy(&raw const entry.connection, &raw mut (*record).connection);
            ring::copy(&raw const entry.packets, &raw mut (*record).packets);
        }
    });
}

/// Sets the addresses from the kernel's stable view of the socket.
///
/// # Safety
///
/// `event` is valid for writes, `socket` is a full socket of this program.
#[inline(always)]
unsafe fn addresses(event: *mut Event, socket: *mut bpf_sock) {
    // SAFETY: by the caller's contract; each field is its own load, as the
    // kernel rewrites accesses to `bpf_sock` one by one.
    unsafe {
        let family = ptr::read_volatile(&raw const (*socket).family);
        (*event).family = family as u16;
        (*event).local_port = ptr::read_volatile(&raw const (*socket).src_port) as u16;
        (*event).remote_port = u16::from_be(ptr::read_volatile(&raw const (*socket).dst_port));
        let local = (&raw mut (*event).local_address).cast::<u32>();
        let remote = (&raw mut (*event).remote_address).cast::<u32>();
        if family == u32::from(AF_INET6) {
            local.write(ptr::read_volatile(&raw const (*socket).src_ip6[0]));
            local
                .add(1)
                .write(ptr::read_volatile(&raw const (*socket).src_ip6[1]));
            local
                .add(2)
                .write(ptr::read_volatile(&raw const (*socket).src_ip6[2]));
            local
                .add(3)
                .write(ptr::read_volatile(&raw const (*socket).src_ip6[3]));
            remote.write(ptr::read_volatile(&raw const (*socket).dst_ip6[0]));
            remote
                .add(1)
                .write(ptr::read_volatile(&raw const (*socket).dst_ip6[1]));
            remote
                .add(2)
                .write(ptr::read_volatile(&raw const (*socket).dst_ip6[2]));
            remote
                .add(3)
                .write(ptr::read_volatile(&raw const (*socket).dst_ip6[3]));
        } else {
            local.write(ptr::read_volatile(&raw const (*socket).src_ip4));
            remote.write(ptr::read_volatile(&raw const (*socket).dst_ip4));
        }
    }
}

#[inline(always)]
fn payload(
    packets: &mut Packets,
    skb: *mut __sk_buff,
    segment: &Segment,
    way: Way,
    by_client: bool,
) -> Option<()> {
    let turned = (packets.flags & seen::LAST_DATA_IN != 0) != (way == Way::In);
    if turned || (packets.data_in == 0 && packets.data_out == 0) {
        packets.turns = packets.turns.saturating_add(1);
    }
    let count = match way {
        Way::In => {
            packets.flags |= seen::LAST_DATA_IN;
            packets.data_in = packets.data_in.wrapping_add(1);
            packets.latest_in_len = segment.payload_len;
            packets.data_in
        }
        Way::Out => {
            packets.flags &= !seen::LAST_DATA_IN;
            packets.data_out = packets.data_out.wrapping_add(1);
            packets.latest_out_len = segment.payload_len;
            packets.data_out
        }
    };
    if count == 1 {
        first_bytes(packets, skb, segment, by_client);
    }
    if !by_client && packets.flags & seen::SASL != 0 && !is_sasl(packets.api_key) {
        packets.flags |= seen::SASL_DONE;
    }
    let encrypted = packets.request_head[0] == TLS_HANDSHAKE;
    if count > EARLY_SEGMENTS && (encrypted || !by_client) {
        return None;
    }
    let mut head = [0_u8; LATEST_HEAD];
    if segment.payload_len < LATEST_HEAD as u32 {
        // A TLS alert in clear is 7 bytes.
        if segment.payload_len != LATEST_HEAD as u32 - 1 {
            return None;
        }
        let mut short = [0_u8; LATEST_HEAD - 1];
        load(skb, segment.payload, &mut short)?;
        let mut byte = 0;
        while byte < LATEST_HEAD - 1 {
            head[byte] = short[byte];
            byte += 1;
        }
    } else {
        load(skb, segment.payload, &mut head)?;
    }
    if count <= EARLY_SEGMENTS {
        match way {
            Way::In => packets.latest_in = head,
            Way::Out => packets.latest_out = head,
        }
        if let Some(alert) = tls_alert(head) {
            match way {
                Way::In => packets.alert_in = alert,
                Way::Out => packets.alert_out = alert,
            }
        }
    }
    if by_client
        && !encrypted
        && let Some(key) = request_key(head)
    {
        packets.flags |= seen::API_KEY;
        packets.api_key = key;
        if is_sasl(key) {
            packets.flags |= seen::SASL;
        }
    }
    Some(())
}

/// A TLS alert in clear: level << 8 | description (RFC 8446, 6).
#[inline(always)]
fn tls_alert(head: [u8; LATEST_HEAD]) -> Option<u16> {
    let is_alert = head[0] == TLS_ALERT && head[1] == 3 && head[3] == 0 && head[4] == 2;
    is_alert.then_some(u16::from_be_bytes([head[5], head[6]]))
}

/// The API keys of the SASL exchange: SaslHandshake and SaslAuthenticate.
#[inline(always)]
pub(crate) fn is_sasl(api_key: u16) -> bool {
    api_key == 17 || api_key == 36
}

/// The API key, if the bytes can be the head of a Kafka request: a length that
/// brokers accept, a key and a version that exist.
#[inline(always)]
fn request_key(head: [u8; LATEST_HEAD]) -> Option<u16> {
    let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let key = u16::from_be_bytes([head[4], head[5]]);
    let version = u16::from_be_bytes([head[6], head[7]]);
    let plausible =
        (8..=MAX_REQUEST).contains(&size) && key <= MAX_API_KEY && version <= MAX_API_VERSION;
    plausible.then_some(key)
}

/// Keeps the head of the first segment of one side, as much as is there.
#[inline(always)]
fn first_bytes(packets: &mut Packets, skb: *mut __sk_buff, segment: &Segment, by_client: bool) {
    let len = segment.payload_len;
    if by_client {
        let head = &mut packets.request_head;
        packets.request_len = if len >= REQUEST_HEAD as u32 {
            prefix::<REQUEST_HEAD, REQUEST_HEAD>(skb, segment, head)
        } else if len >= 64 {
            prefix::<64, REQUEST_HEAD>(skb, segment, head)
        } else if len >= 48 {
            prefix::<48, REQUEST_HEAD>(skb, segment, head)
        } else if len >= 32 {
            prefix::<32, REQUEST_HEAD>(skb, segment, head)
        } else if len >= 16 {
            prefix::<16, REQUEST_HEAD>(skb, segment, head)
        } else if len >= 7 {
            prefix::<7, REQUEST_HEAD>(skb, segment, head)
        } else if len >= 4 {
            prefix::<4, REQUEST_HEAD>(skb, segment, head)
        } else {
            prefix::<1, REQUEST_HEAD>(skb, segment, head)
        };
    } else {
        let head = &mut packets.response_head;
        packets.response_len = if len >= RESPONSE_HEAD as u32 {
            prefix::<RESPONSE_HEAD, RESPONSE_HEAD>(skb, segment, head)
        } else if len >= 16 {
            prefix::<16, RESPONSE_HEAD>(skb, segment, head)
        } else if len >= 7 {
            prefix::<7, RESPONSE_HEAD>(skb, segment, head)
        } else {
            prefix::<1, RESPONSE_HEAD>(skb, segment, head)
        };
    }
}

/// Copies the first `N` payload bytes; says how many are set.
#[inline(always)]
fn prefix<const N: usize, const ROOM: usize>(
    skb: *mut __sk_buff,
    segment: &Segment,
    into: &mut [u8; ROOM],
) -> u8 {
    let Some(head) = into.first_chunk_mut::<N>() else {
        return 0;
    };
    match load(skb, segment.payload, head) {
        Some(()) => N as u8,
        None => 0,
    }
}
