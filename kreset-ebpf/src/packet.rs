//! Packet evidence from `cgroup_skb`: what the packets of traced connections
//! show, kept in the connection's entry until its reset asks for it.
//!
//! The programs see every packet of every socket in the cgroup, so the first
//! thing they do is to leave: a socket without an entry costs one look-up.

use core::{mem::MaybeUninit, ptr};

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock},
    helpers::generated::{bpf_sk_fullsock, bpf_skb_load_bytes},
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use kreset_common::{
    counter,
    record::{KernelEvent, Packets, Record, event_flag, kind, packets_flag as seen, role},
};

use crate::{
    connection::{self, Entry, Key},
    filter,
    kernel::{AF_INET6, state},
    payload::{Way, payload},
    reset::reset_came,
    ring,
    segment::{Packet, Segment, tcp_flag},
    settings::constant,
    snapshot::{self, jiffies},
};

/// Let the packet through.
const ALLOW: i32 = 1;

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

/// The kernel's packet, from the network header on.
struct SkbPacket(*mut __sk_buff);

impl SkbPacket {
    /// # Safety
    ///
    /// `into` is valid for writes of `len` bytes.
    #[inline(always)]
    unsafe fn read(&self, offset: u32, into: *mut u8, len: u32) -> bool {
        // SAFETY: by the caller's contract; the helper checks the packet's bounds.
        unsafe { bpf_skb_load_bytes(self.0.cast(), offset, into.cast(), len) == 0 }
    }
}

impl Packet for SkbPacket {
    #[inline(always)]
    fn in_place<const N: usize>(&self) -> Option<&[u8; N]> {
        // SAFETY: the kernel's context is valid; each field is its own load.
        let (data, end) = unsafe {
            (
                ptr::read_volatile(&raw const (*self.0).data) as usize,
                ptr::read_volatile(&raw const (*self.0).data_end) as usize,
            )
        };
        // SAFETY: N bytes from the network header on lie before the end of what
        // lies in one piece (kernel: bpf_compute_data_pointers, for cgroup_skb
        // since 4.20), and stay while the program runs. Bytes need no alignment.
        (data + N <= end).then(|| unsafe { &*(data as *const [u8; N]) })
    }

    #[inline(always)]
    fn load<'a, const N: usize>(
        &self,
        offset: u32,
        into: &'a mut MaybeUninit<[u8; N]>,
    ) -> Option<&'a [u8; N]> {
        // SAFETY: the destination has room for N bytes, and has all of them
        // where the helper succeeded.
        unsafe {
            self.read(offset, into.as_mut_ptr().cast(), N as u32)
                .then(|| into.assume_init_ref())
        }
    }

    #[inline(always)]
    fn load_over<const N: usize>(&self, offset: u32, len: u32, into: &mut [u8; N]) -> Option<u8> {
        // SAFETY: a local variable, read anew so that the compiler knows no more of it
        // than the verifier. That one learns from a comparison with 0 on 6.18, and not
        // on 6.1, where one more than something bounded is not 0 either.
        let rest = unsafe { ptr::read_volatile(&raw const len) }.wrapping_sub(1);
        let len = rest.min(N as u32 - 1) + 1;
        // SAFETY: the destination has room for N bytes, of which these are some.
        unsafe { self.read(offset, into.as_mut_ptr(), len) }.then_some(len as u8)
    }
}

#[inline(always)]
fn observe(ctx: &SkBuffContext, way: Way) -> Option<()> {
    let skb = ctx.skb.skb;
    // SAFETY: the kernel hands a valid context.
    let socket = unsafe { (*skb).__bindgen_anon_2.sk };
    if socket.is_null() {
        return None;
    }
    // SAFETY: checked for NULL; each field is its own load.
    let (local, remote) = unsafe {
        (
            ptr::read_volatile(&raw const (*socket).src_port) as u16,
            u16::from_be(ptr::read_volatile(&raw const (*socket).dst_port)),
        )
    };
    // Most packets of a host leave here.
    let role = filter::role(local, remote);
    if role == role::UNKNOWN {
        return None;
    }
    // SAFETY: checked for NULL; a mini-socket yields NULL.
    let socket = unsafe { bpf_sk_fullsock(socket) };
    if socket.is_null() {
        return None;
    }
    let entry = known_or_missed(socket, role)?;
    let segment = Segment::parse(&SkbPacket(skb), ctx.skb.len())?;
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
        payload(
            &mut entry.packets,
            &SkbPacket(skb),
            &segment,
            way,
            by_client,
        );
    }
    Some(())
}

/// The entry of a connection. One whose beginning the kernel skipped all programs
/// on tracepoints for gets it here: packet programs it never skips (kernel:
/// `bpf_prog_run_array_cg` looks at no `prog->active`, 5.10 to 7.3).
#[inline(always)]
fn known_or_missed(socket: *mut bpf_sock, role: u8) -> Option<&'static mut Entry> {
    match connection::get(Key::of_packet(socket.cast())) {
        Some(entry) if !entry.is_listener() => Some(entry),
        inherited => missed(socket, role, inherited),
    }
}

#[inline(always)]
fn missed(
    socket: *mut bpf_sock,
    role: u8,
    inherited: Option<&'static mut Entry>,
) -> Option<&'static mut Entry> {
    // Where a table holds entries in place of sockets, nothing is skipped, and what
    // is not there was given up. Packets tell no namespace.
    if constant!(SETTINGS.hash_storage) != 0
        || (inherited.is_none() && constant!(SETTINGS.netns) != 0)
    {
        return None;
    }
    // SAFETY: a full socket of this program.
    let state = unsafe { ptr::read_volatile(&raw const (*socket).state) } as u8;
    let opens = state == state::SYN_SENT;
    // A listener has no packets of its own, and in CLOSE nothing begins.
    if !opens && state != state::ESTABLISHED {
        return None;
    }
    // A child of a listener, or the SYN itself: no packet went before.
    let from_start = inherited.is_some() || opens;
    let entry = match inherited {
        Some(entry) => entry,
        None => connection::get_or_make(Key::of_packet(socket.cast()))?,
    };
    entry.begin_unseen(if opens { role::CLIENT } else { role }, from_start);
    ring::count(counter::SKIPPED);
    Some(entry)
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
#[expect(
    clippy::cast_ptr_alignment,
    reason = "kreset-common asserts that addresses are aligned to words"
)]
unsafe fn addresses(event: *mut KernelEvent, socket: *mut bpf_sock) {
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
