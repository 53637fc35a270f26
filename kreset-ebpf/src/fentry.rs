//! Packet evidence from function entries: the headers of the RST and of the
//! peer's handshake, at no cost to any other packet. What only the packets in
//! between could tell (first bytes, survived silences) stays unknown.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{macros::fentry, programs::FEntryContext};
use kreset_common::record::{Packets, packets_flag as seen};

use crate::{
    connection::{self, Key},
    kernel::{Skb, Sock},
    receive_reset::known_or_late,
    segment::tcp_flag,
};

/// match-proto: tcp_reset(struct sock *sk, struct sk_buff *skb), since 5.11.
/// Runs before the tracepoint tcp_receive_reset in the same call. The packet is
/// a RST, or data that arrived after this host's own close().
#[fentry(function = "tcp_reset")]
fn reset_enters(ctx: FEntryContext) -> i32 {
    let _untraced = on_reset(Sock(ctx.arg(0)), Skb(ctx.arg(1)));
    0
}

/// match-proto: tcp_finish_connect(struct sock *sk, struct sk_buff *skb), 2.6
/// to 7.3; the packet is the SYN,ACK, or NULL under TCP_REPAIR.
#[fentry(function = "tcp_finish_connect")]
fn connect_ends(ctx: FEntryContext) -> i32 {
    let _untraced = on_handshake(Sock(ctx.arg(0)), ctx.arg(1));
    0
}

/// match-proto: tcp_child_process(struct sock *parent, struct sock *child,
/// struct sk_buff *skb), 2.6 to 7.3; the packet ends the handshake, with or
/// without syncookies, of either IP version.
#[fentry(function = "tcp_child_process")]
fn accept_ends(ctx: FEntryContext) -> i32 {
    let _untraced = on_handshake(Sock(ctx.arg(1)), ctx.arg(2));
    0
}

#[inline(always)]
fn on_reset(sock: Sock, skb: Skb) -> Option<()> {
    let entry = known_or_late(sock, sock.tcp()?)?;
    let packets = &mut entry.packets;
    packets.flags &= !(seen::RESET | seen::RESET_IP_ID);
    let (mut transport, mut network) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    let transport: &[u8; 20] = skb.transport_header(&mut transport)?;
    let network = skb.network_header(&mut network)?;
    if transport[13] & tcp_flag::RST == 0 {
        return None;
    }
    reset_came(packets, network, transport);
    Some(())
}

#[inline(always)]
fn reset_came(packets: &mut Packets, network: &[u8; 20], transport: &[u8; 20]) {
    packets.flags |= seen::RESET;
    if network[0] >> 4 == 4 {
        packets.flags |= seen::RESET_IP_ID;
        packets.reset_ip_id = u16::from_be_bytes([network[4], network[5]]);
    }
    packets.reset_ttl = ttl(network);
    packets.reset_seq =
        u32::from_be_bytes([transport[4], transport[5], transport[6], transport[7]]);
    packets.reset_header = (transport[12] >> 4) * 4;
    packets.reset_flags = transport[13];
    packets.reset_window = u16::from_be_bytes([transport[14], transport[15]]);
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
    entry.packets.flags |= seen::HANDSHAKE_TTL;
    entry.packets.handshake_ttl = ttl(network);
    Some(())
}

/// TTL or hop limit.
#[inline(always)]
fn ttl(network: &[u8; 20]) -> u8 {
    if network[0] >> 4 == 4 {
        network[8]
    } else {
        network[7]
    }
}
