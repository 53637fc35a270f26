//! `tcp_receive_reset`: the kernel accepted a RST, or acts as if it had. There are
//! two copies of this program; `inet_sock_set_state` says why.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use aya_log_ebpf::debug;
use kreset_common::{
    record::{Record, connection_flag as flag, kind, packets_flag, role},
    sequence::ResetWindow,
};
use kreset_ebpf::shared::SharedPackets;

use crate::{
    connection::{self, Entry},
    kernel::{Sock, TcpSock, state},
    recent_resets, ring,
    settings::constant,
    snapshot::{self, closed_here, jiffies},
};

/// `RCV_SHUTDOWN | SEND_SHUTDOWN`; kernel: `include/net/sock.h`.
const SHUTDOWN_MASK: u8 = 3;

/// Prototype: `tcp_receive_reset(struct sock *sk)`, since 4.16; `sk` is a full
/// socket, still in the state in which the RST arrived.
#[btf_tracepoint(function = "tcp_receive_reset")]
fn receive_reset(ctx: BtfTracePointContext) -> i32 {
    let sock = Sock(ctx.arg(0));
    if let Some(emitted) = on_receive_reset(sock)
        && constant!(SETTINGS.debug) != 0
    {
        debug!(
            &ctx,
            "tcp_receive_reset: {}",
            if emitted {
                "reported"
            } else {
                "no RST received"
            }
        );
    }
    0
}

/// Second copy: runs when the first is already active on this CPU.
#[btf_tracepoint(function = "tcp_receive_reset")]
fn receive_reset_again(ctx: BtfTracePointContext) -> i32 {
    let _handled = on_receive_reset(Sock(ctx.arg(0)));
    0
}

#[inline(always)]
fn on_receive_reset(sock: Sock) -> Option<bool> {
    let tcp = sock.tcp()?;
    let entry = connection::get_or_begin_late(sock, tcp)?;
    // A socket accepts one RST in its life, and is closed by it.
    if entry.handled_reset.get() != 0 {
        return None;
    }
    let state = sock.state();
    if !is_real(sock, tcp, entry, state) {
        return Some(false);
    }
    ring::emit(|record: *mut Record| {
        // SAFETY: room for a record, just reserved.
        unsafe { snapshot::full(record, kind::RESET_RECEIVED, state, sock, tcp, entry) }
    });
    Some(true)
}

/// Whether a RST was received; if so, records it in the entry.
#[inline(always)]
pub(crate) fn is_real(sock: Sock, tcp: TcpSock, entry: &Entry, state: u8) -> bool {
    entry.handled_reset.set(1);
    if caused_by_own_close(entry, tcp, state) {
        return false;
    }
    entry.set(flag::RESET);
    entry.infer_fins(state);
    if entry.connection.role.get() == role::CLIENT {
        recent_resets::record(sock);
    }
    true
}

/// For data that arrives after this host's own `close()` the kernel calls
/// `tcp_reset()` although it received no RST (`tcp_rcv_state_process`, 5.10 to
/// 7.3). The packets prove which it was; without them, the best sign is that an
/// acknowledgement was processed in this very jiffy.
#[inline(always)]
fn caused_by_own_close(entry: &Entry, tcp: TcpSock, state: u8) -> bool {
    if !closed_here(state) || tcp.shutdown() & SHUTDOWN_MASK != SHUTDOWN_MASK {
        return false;
    }
    if constant!(SETTINGS.fentry) != 0 || observes_packets(&entry.packets) {
        return !has_fitting_reset(&entry.packets, tcp, state);
    }
    tcp.rcv_tstamp() == jiffies()
}

/// The packet programs observe this connection.
#[inline(always)]
pub(crate) fn observes_packets(packets: &SharedPackets) -> bool {
    constant!(SETTINGS.packets) != 0 && packets.flags.has(packets_flag::SEEN_IN)
}

/// The last RST has a sequence number that this host accepts; others may be
/// forged.
#[inline(always)]
fn has_fitting_reset(packets: &SharedPackets, tcp: TcpSock, state: u8) -> bool {
    let window = ResetWindow {
        rcv_nxt: tcp.rcv_nxt(),
        after_fin: is_after_fin(state),
        sack_end: tcp.sack_end(),
    };
    packets.flags.has(packets_flag::RESET) && window.accepts(packets.reset_seq.get())
}

/// A state in which the peer's FIN was received.
#[inline(always)]
const fn is_after_fin(state: u8) -> bool {
    matches!(state, state::CLOSE_WAIT | state::LAST_ACK | state::CLOSING)
}
