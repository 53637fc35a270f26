//! `tcp_receive_reset`: a RST was accepted, or so the kernel says. There are two
//! of this program for the reason that `set_state` gives.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use aya_log_ebpf::debug;
use kreset_common::record::{Packets, Record, connection_flag as flag, kind, packets_flag, role};

use crate::{
    connection::{self, Entry, Key},
    filter,
    kernel::{Sock, TcpSock, state},
    ring,
    settings::constant,
    snapshot::{self, closed_here, jiffies, local_port, remote_port},
    trouble,
};

/// `RCV_SHUTDOWN | SEND_SHUTDOWN`; kernel: `include/net/sock.h`.
const SHUTDOWN_MASK: u8 = 3;

/// Prototype: `tcp_receive_reset(struct sock *sk)`, since 4.16; `sk` is a full
/// socket, in the state that the RST found it in.
#[btf_tracepoint(function = "tcp_receive_reset")]
fn receive_reset(ctx: BtfTracePointContext) -> i32 {
    let sock = Sock(ctx.arg(0));
    if let Some(emitted) = on_receive_reset(sock)
        && constant!(SETTINGS.debug) != 0
    {
        debug!(
            &ctx,
            "tcp_receive_reset: {}",
            if emitted { "reported" } else { "no RST came" }
        );
    }
    0
}

/// As above: for those whom the first one missed.
#[btf_tracepoint(function = "tcp_receive_reset")]
fn receive_reset_again(ctx: BtfTracePointContext) -> i32 {
    let _handled = on_receive_reset(Sock(ctx.arg(0)));
    0
}

#[inline(always)]
fn on_receive_reset(sock: Sock) -> Option<bool> {
    let tcp = sock.tcp()?;
    let entry = known_or_late(sock, tcp)?;
    // A socket accepts one RST in its life, and is closed by it.
    if entry.handled_reset != 0 {
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

/// Whether a RST came, and takes note of it.
#[inline(always)]
pub(crate) fn is_real(sock: Sock, tcp: TcpSock, entry: &mut Entry, state: u8) -> bool {
    entry.handled_reset = 1;
    if drawn_by_own_close(entry, tcp, state) {
        return false;
    }
    entry.set(flag::RESET);
    entry.note_fins_of(state);
    if entry.connection.role == role::CLIENT {
        trouble::note(sock);
    }
    true
}

/// The entry of a traced socket; made now for one that the seeding missed, and
/// for one whose beginning the kernel skipped the programs for.
#[inline(always)]
pub(crate) fn known_or_late(sock: Sock, tcp: TcpSock) -> Option<&'static mut Entry> {
    let key = Key::from(sock);
    if let Some(entry) = connection::get(key) {
        if !entry.is_listener() {
            return Some(entry);
        }
        if sock.state() == state::LISTEN {
            return None;
        }
        // A child that nobody saw begin still has what it inherited.
    }
    let role = filter::role(local_port(sock, Some(tcp)), remote_port(sock));
    if role == role::UNKNOWN || !filter::netns(sock.netns()) {
        return None;
    }
    let entry = connection::get_or_make(key)?;
    entry.begin_late(sock.netns(), role);
    Some(entry)
}

/// Data that arrives after this host's own `close()` makes the kernel call
/// `tcp_reset()` although no RST came (`tcp_rcv_state_process`, 5.10 to 7.3). The
/// packets prove it; without them, that data was acknowledging this very
/// jiffy is the best sign.
#[inline(always)]
fn drawn_by_own_close(entry: &Entry, tcp: TcpSock, state: u8) -> bool {
    if !closed_here(state) || tcp.shutdown() & SHUTDOWN_MASK != SHUTDOWN_MASK {
        return false;
    }
    if constant!(SETTINGS.fentry) != 0 || watches_packets(&entry.packets) {
        return !has_fitting_reset(&entry.packets, tcp);
    }
    tcp.rcv_tstamp() == jiffies()
}

/// Packet programs see this connection.
#[inline(always)]
pub(crate) fn watches_packets(packets: &Packets) -> bool {
    constant!(SETTINGS.packets) != 0 && packets.flags & packets_flag::SEEN_IN != 0
}

/// The last RST that came is one that this host accepts: anybody can send
/// others. The second number is taken once the peer has sent its FIN (kernel:
/// `tcp_reset_check`, 4.14 to 7.3).
#[inline(always)]
fn has_fitting_reset(packets: &Packets, tcp: TcpSock) -> bool {
    let ahead = tcp.rcv_nxt().wrapping_sub(packets.reset_seq);
    packets.flags & packets_flag::RESET != 0 && ahead <= 1
}
