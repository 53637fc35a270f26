//! `tcp_send_reset`: this host sends a RST, from a socket or without one. There
//! are two copies of this program; `inet_sock_set_state` says why. A call without
//! a socket has no entry that could show it was handled, so the first copy marks
//! the call in a map, and the second removes the mark.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    bindings::BPF_ANY,
    btf_maps::LruHashMap,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;
use kreset_common::{
    record::{
        KernelEvent, Listened, Record, connection_flag as flag, event_flag, kind, role, sequence,
    },
    tables,
};
use kreset_ebpf::segment::{tcp_flag, ttl};

use crate::{
    connection::{self, Entry, Key},
    ended, filter,
    kernel::{AF_INET, AF_INET6, Header, Skb, Sock, has, state},
    listener, ring,
    settings::constant,
    snapshot,
};

/// Prototype: `tcp_send_reset(const struct sock *sk, const struct sk_buff
/// *skb)`, 4.16 to 6.9; only with a full socket.
#[btf_tracepoint(function = "tcp_send_reset")]
fn send_reset(ctx: BtfTracePointContext) -> i32 {
    let call = Call::new(ctx.arg(0), ctx.arg(1), ProgramCopy::First);
    log_outcome(&ctx, on_send_reset(call, None))
}

/// Second copy: runs when the first is already active on this CPU.
#[btf_tracepoint(function = "tcp_send_reset")]
fn send_again(ctx: BtfTracePointContext) -> i32 {
    let call = Call::new(ctx.arg(0), ctx.arg(1), ProgramCopy::Second);
    let _handled = on_send_reset(call, None);
    0
}

/// Prototype: `tcp_send_reset(const struct sock *sk, const struct sk_buff
/// *skb__nullable, const enum sk_rst_reason reason)`, since 6.10; `sk` may be
/// NULL or a mini-socket.
#[btf_tracepoint(function = "tcp_send_reset")]
fn send_reset_reason(ctx: BtfTracePointContext) -> i32 {
    let reason: u32 = ctx.arg(2);
    let call = Call::new(ctx.arg(0), ctx.arg(1), ProgramCopy::First);
    log_outcome(&ctx, on_send_reset(call, Some(reason)))
}

/// Second copy: runs when the first is already active on this CPU.
#[btf_tracepoint(function = "tcp_send_reset")]
fn send_again_reason(ctx: BtfTracePointContext) -> i32 {
    let reason: u32 = ctx.arg(2);
    let call = Call::new(ctx.arg(0), ctx.arg(1), ProgramCopy::Second);
    let _handled = on_send_reset(call, Some(reason));
    0
}

/// Calls of the tracepoint that the first copy handled and the second has not
/// run for yet: the addresses of socket and packet.
#[btf_map(name = "SENDING")]
static SENDING: LruHashMap<[u64; 2], u32, { tables::SENDING }> = LruHashMap::new();

#[derive(Clone, Copy, PartialEq, Eq)]
enum ProgramCopy {
    First,
    Second,
}

/// One call of the tracepoint in one of the two copies.
#[derive(Clone, Copy)]
struct Call {
    sk: *const c_void,
    skb: *const c_void,
    copy: ProgramCopy,
}

impl Call {
    #[inline(always)]
    const fn new(sk: *const c_void, skb: *const c_void, copy: ProgramCopy) -> Self {
        Self { sk, skb, copy }
    }

    /// Whether this copy has to handle the call.
    #[inline(always)]
    fn claim(self) -> bool {
        // Bytes swapped as in `connection::Key::address`.
        let mark = [
            (self.sk as u64).swap_bytes(),
            (self.skb as u64).swap_bytes(),
        ];
        match self.copy {
            ProgramCopy::First => SENDING.insert(mark, 0, BPF_ANY.into()).is_ok(),
            ProgramCopy::Second => SENDING.remove(mark).is_err(),
        }
    }
}

#[inline(always)]
fn log_outcome(ctx: &BtfTracePointContext, outcome: Option<u8>) -> i32 {
    if let Some(state) = outcome
        && constant!(SETTINGS.debug) != 0
    {
        debug!(ctx, "tcp_send_reset: reported in state {}", state);
    }
    0
}

#[inline(always)]
fn on_send_reset(call: Call, reason: Option<u32>) -> Option<u8> {
    let Call { sk, skb, .. } = call;
    let trigger = (!skb.is_null()).then_some(Skb(skb));
    if sk.is_null() {
        return without_socket(call, trigger?, None, 0, reason);
    }
    // From 6.10 to early 6.12 the verifier assumes that `sk` is never NULL and
    // removes the test above; a load through NULL then reads state 0.
    let sock = Sock(sk);
    let state = sock.state();
    match state {
        0 | state::LISTEN => without_socket(call, trigger?, Some(sock), state, reason),
        state::TIME_WAIT | state::NEW_SYN_RECV => mini_socket(call, sock, trigger, state, reason),
        _full => full_socket(call, sock, trigger, state, reason),
    }
}

#[inline(always)]
fn full_socket(
    call: Call,
    sock: Sock,
    trigger: Option<Skb>,
    state: u8,
    reason: Option<u32>,
) -> Option<u8> {
    let tcp = sock.tcp()?;
    let entry = connection::get_or_begin_late(sock, tcp)?;
    if !call.claim() {
        return None;
    }
    entry.set(flag::RESET);
    ring::emit(|record: *mut Record| {
        // SAFETY: room for a record, just reserved.
        unsafe {
            snapshot::full(record, kind::RESET_SENT, state, sock, tcp, entry);
            let event = &raw mut (*record).event;
            set_reason(event, reason);
            match trigger {
                Some(skb) => {
                    set_trigger(event, skb, false);
                }
                // No packet triggered it: the hook runs in the closing task.
                None => {
                    snapshot::set_closing_task(event, entry);
                    set_reset_sequence(event, tcp.snd_nxt());
                }
            }
        }
    });
    Some(state)
}

#[inline(always)]
fn mini_socket(
    call: Call,
    sock: Sock,
    trigger: Option<Skb>,
    state: u8,
    reason: Option<u32>,
) -> Option<u8> {
    let role = filter::role(sock.num(), snapshot::remote_port(sock));
    if role == role::UNKNOWN || !filter::netns(sock.netns()) || !call.claim() {
        return None;
    }
    ring::emit(|event: *mut KernelEvent| {
        // SAFETY: room for an event, just reserved.
        unsafe {
            begin(event, state, role, reason);
            snapshot::addresses(event, sock, None);
            if role == role::BROKER {
                (*event).flags |= listener::flag(sock.netns(), sock.num());
            }
            if let Some(skb) = trigger {
                let numbers = set_trigger(event, skb, false);
                if state == state::TIME_WAIT {
                    ended::recall_first(event, numbers);
                }
            }
        }
    });
    Some(state)
}

/// No socket, or a listener, which has no remote address: the addresses are read
/// from the packet.
#[inline(always)]
fn without_socket(
    call: Call,
    skb: Skb,
    sock: Option<Sock>,
    state: u8,
    reason: Option<u32>,
) -> Option<u8> {
    let mut transport = MaybeUninit::<Transport>::uninit();
    let transport = skb.transport_header(&mut transport)?;
    let role = filter::role(transport.destination(), transport.source());
    let netns = match sock {
        Some(sock) if state == state::LISTEN => sock.netns(),
        _ => skb.netns(),
    };
    if role == role::UNKNOWN || !filter::netns(netns) || !call.claim() {
        return None;
    }
    let fill = |event: *mut KernelEvent| {
        // SAFETY: room for an event, just reserved.
        unsafe {
            begin(event, state, role, reason);
            (*event).netns = netns;
            let numbers = set_trigger(event, skb, true);
            ended::recall(event, numbers);
            if role == role::BROKER {
                (*event).flags |= listener::flag(netns, (*event).local_port);
            }
            if let Some(sock) = sock
                && state == state::LISTEN
                && has_full_queue(sock)
            {
                (*event).flags |= event_flag::QUEUE_FULL;
            }
        }
    };
    match sock.filter(|_| state == state::LISTEN).and_then(entry_of) {
        Some(entry) => ring::emit(|record: *mut Listened| {
            // SAFETY: room for a record, just reserved.
            unsafe {
                let event = &raw mut (*record).event;
                fill(event);
                (*event).flags |= event_flag::LISTENER;
                ring::copy(&raw const entry.connection, &raw mut (*record).listener);
                let load = &raw mut (*record).load;
                ring::clear(load);
                if let Some(listener) = sock.and_then(Sock::tcp) {
                    listener::load_of(load, listener);
                }
            }
        }),
        None => ring::emit(fill),
    }
    Some(state)
}

/// Kernel: `sk_acceptq_is_full`.
#[inline(always)]
fn has_full_queue(sock: Sock) -> bool {
    let Some(tcp) = sock.tcp() else {
        return false;
    };
    has!(sk_ack_backlog) && has!(sk_max_ack_backlog) && tcp.ack_backlog() > tcp.max_ack_backlog()
}

/// The entry of a listener.
#[inline(always)]
fn entry_of(sock: Sock) -> Option<&'static Entry> {
    connection::get(Key::from(sock)).filter(|entry| entry.is_listener())
}

/// Begins an event without a full socket.
///
/// # Safety
///
/// `event` is valid for writes.
#[inline(always)]
unsafe fn begin(event: *mut KernelEvent, state: u8, role: u8, reason: Option<u32>) {
    // SAFETY: by the caller's contract.
    unsafe {
        snapshot::begin(event, kind::RESET_SENT);
        (*event).state = state;
        (*event).role = role;
        set_reason(event, reason);
    }
}

/// # Safety
///
/// `event` is valid for writes and was begun.
#[inline(always)]
unsafe fn set_reason(event: *mut KernelEvent, reason: Option<u32>) {
    if let Some(reason) = reason {
        // SAFETY: by the caller's contract.
        unsafe {
            (*event).reason = reason;
            (*event).flags |= event_flag::HAS_REASON;
        }
    }
}

/// The fixed part of a TCP header.
#[repr(C)]
#[derive(Clone, Copy)]
struct Transport {
    ports: [u16; 2],
    numbers: [u32; 2],
    offset: u8,
    flags: u8,
    rest: [u16; 3],
}

impl Transport {
    const fn source(self) -> u16 {
        u16::from_be(self.ports[0])
    }

    const fn destination(self) -> u16 {
        u16::from_be(self.ports[1])
    }

    fn header_len(self) -> u32 {
        u32::from(self.offset >> 4) * 4
    }
}

/// The fixed part of an IPv4 or IPv6 header, as words.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Network([u8; 40]);

// SAFETY: numbers, without padding.
unsafe impl Header for Transport {}
// SAFETY: bytes.
unsafe impl Header for Network {}

/// The sequence number of the RST. One that no packet drew has `snd_nxt`, unless the peer
/// has shrunk its window since (kernel: `tcp_acceptable_seq`, 5.10 to 7.3).
///
/// # Safety
///
/// `event` is valid for writes and was begun.
#[inline(always)]
const unsafe fn set_reset_sequence(event: *mut KernelEvent, number: u32) {
    // SAFETY: by the caller's contract.
    unsafe {
        (*event).reset_sequence = number;
        (*event).sequences |= sequence::RESET;
    }
}

/// Describes the packet that triggered the RST. With `addresses`, also takes the
/// addresses from it: its destination is this host. Returns the packet's sequence and
/// acknowledgement numbers, if it has both.
///
/// # Safety
///
/// `event` is valid for writes and was begun.
#[inline(always)]
unsafe fn set_trigger(event: *mut KernelEvent, skb: Skb, addresses: bool) -> Option<[u32; 2]> {
    let (mut transport, mut network) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    let transport = skb.transport_header::<Transport>(&mut transport)?;
    let Network(network) = skb.network_header(&mut network)?;
    let [number, acknowledged] = transport.numbers.map(u32::from_be);
    let acknowledges = transport.flags & tcp_flag::ACK != 0;
    let network_len = u32::from(skb.network_header_len());
    let is_v4 = network[0] >> 4 == 4;
    let total = if is_v4 {
        u32::from(u16::from_be_bytes([network[2], network[3]]))
    } else {
        u32::from(u16::from_be_bytes([network[4], network[5]])) + 40
    };
    // SAFETY: by the caller's contract.
    unsafe {
        (*event).flags |= event_flag::HAS_TRIGGER;
        // Kernel: `tcp_v4_send_reset`, `tcp_v6_send_reset`, 5.10 to 7.3.
        set_reset_sequence(event, if acknowledges { acknowledged } else { 0 });
        (*event).trigger_flags = transport.flags;
        (*event).trigger_ttl = network.first_chunk().map_or(0, ttl);
        (*event).trigger_payload = total.saturating_sub(network_len + transport.header_len());
        if addresses {
            (*event).flags |= event_flag::ADDRESSES_FROM_PACKET;
            (*event).local_port = transport.destination();
            (*event).remote_port = transport.source();
            if is_v4 {
                (*event).family = AF_INET;
                let mut byte = 0;
                while byte < 4 {
                    (*event).remote_address[byte] = network[12 + byte];
                    (*event).local_address[byte] = network[16 + byte];
                    byte += 1;
                }
            } else {
                (*event).family = AF_INET6;
                let mut byte = 0;
                while byte < 16 {
                    (*event).remote_address[byte] = network[8 + byte];
                    (*event).local_address[byte] = network[24 + byte];
                    byte += 1;
                }
            }
        }
    }
    acknowledges.then_some([number, acknowledged])
}
