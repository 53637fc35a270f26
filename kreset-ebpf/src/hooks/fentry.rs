//! Packet evidence from function entries: the headers of the RST and of the
//! peer's handshake, without cost for other packets. What only the packets in
//! between show (first bytes, survived silences) stays unknown.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{macros::fentry, programs::FEntryContext};
use kreset_common::record::packets_flag as seen;
use kreset_ebpf::{
    reset::record_reset,
    segment::{Segment, tcp_flag, ttl},
};

use crate::{
    connection::{self, Key},
    kernel::{Skb, Sock},
};

/// Prototype: `tcp_reset(struct sock *sk, struct sk_buff *skb)`, since 5.11.
/// Runs before the tracepoint `tcp_receive_reset` in the same call. The packet is
/// a RST, or data that arrived after this host's own `close()`.
#[fentry(function = "tcp_reset")]
fn reset_enters(ctx: FEntryContext) -> i32 {
    let _untraced = on_reset(Sock(ctx.arg(0)), Skb(ctx.arg(1)));
    0
}

/// Prototype: `tcp_finish_connect(struct sock *sk, struct sk_buff *skb)`, 2.6
/// to 7.3; the packet is the SYN-ACK, or NULL under `TCP_REPAIR`.
#[fentry(function = "tcp_finish_connect")]
fn connect_ends(ctx: FEntryContext) -> i32 {
    let _untraced = on_handshake(Sock(ctx.arg(0)), ctx.arg(1));
    0
}

/// Prototype: `tcp_child_process(struct sock *parent, struct sock *child,
/// struct sk_buff *skb)`, 2.6 to 7.3; the packet completes the handshake, with
/// or without syncookies, over IPv4 and IPv6.
#[fentry(function = "tcp_child_process")]
fn accept_ends(ctx: FEntryContext) -> i32 {
    let _untraced = on_handshake(Sock(ctx.arg(1)), ctx.arg(2));
    0
}

#[inline(always)]
fn on_reset(sock: Sock, skb: Skb) -> Option<()> {
    let entry = connection::get_or_begin_late(sock, sock.tcp()?)?;
    let packets = &entry.packets;
    packets.flags.clear(seen::RESET | seen::RESET_IP_ID);
    let (mut transport, mut network) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    let transport = skb.transport_header(&mut transport)?;
    let network = skb.network_header(&mut network)?;
    // The length of the payload is not used: 0.
    let segment = Segment::of(network, skb.network_header_len().into(), transport, 0)?;
    if !segment.has(tcp_flag::RST) {
        return None;
    }
    record_reset(packets, &segment);
    Some(())
}

#[inline(always)]
fn on_handshake(sock: Sock, skb: *const c_void) -> Option<()> {
    let entry = connection::get(Key::from(sock))?;
    if entry.is_listener() {
        return None;
    }
    if skb.is_null() {
        return None;
    }
    let mut network = MaybeUninit::uninit();
    let network = Skb(skb).network_header(&mut network)?;
    entry.packets.handshake_ttl.set(ttl(network));
    entry.packets.flags.add(seen::HANDSHAKE_TTL);
    Some(())
}
