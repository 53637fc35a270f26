//! `tcp_receive_reset`: a RST was accepted, or so the kernel says. There are two
//! of this program for the reason that `set_state` gives.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use aya_log_ebpf::debug;
use kreset_common::{
    counter,
    record::{Record, connection_flag as flag, kind, packets_flag, role},
};

use crate::{
    connection::{self, Entry, Key, now_ns},
    filter,
    kernel::{Sock, TcpSock},
    ring,
    settings::constant,
    snapshot::{self, closed_here, jiffies, local_port, remote_port},
    trouble,
};

/// `RCV_SHUTDOWN | SEND_SHUTDOWN`; kernel: `include/net/sock.h`.
const SHUTDOWN_MASK: u8 = 3;

/// match-proto: tcp_receive_reset(struct sock *sk), since 4.16; `sk` is a full
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
    entry.handled_reset = 1;
    let state = sock.state();
    if drawn_by_own_close(entry, tcp, state) {
        ring::count(counter::LOCAL_RESET);
        return Some(false);
    }
    entry.set(flag::RESET);
    if entry.connection.role == role::CLIENT {
        trouble::note(sock);
    }
    ring::emit(|record: *mut Record| {
        // SAFETY: room for a record, just reserved.
        unsafe { snapshot::full(record, kind::RESET_RECEIVED, state, sock, tcp, entry) }
    });
    Some(true)
}

/// The entry of a traced socket; made now for one that the seeding missed.
#[inline(always)]
pub(crate) fn known_or_late(sock: Sock, tcp: TcpSock) -> Option<&'static mut Entry> {
    let key = Key::from(sock);
    if let Some(entry) = connection::get(key) {
        return if entry.is_listener() {
            None
        } else {
            Some(entry)
        };
    }
    let role = filter::role(local_port(sock, Some(tcp)), remote_port(sock));
    if role == role::UNKNOWN || !filter::netns(sock.netns()) {
        return None;
    }
    let entry = connection::get_or_make(key)?;
    entry.connection.first_seen_ns = now_ns();
    entry.connection.flags = flag::SEEDED;
    entry.connection.role = role;
    entry.connection.netns = sock.netns();
    Some(entry)
}

/// Data that arrives after this host's own close() makes the kernel call
/// tcp_reset() although no RST came (tcp_rcv_state_process, 5.10 to 7.3). The
/// packets prove it; without them, that data was acknowledging this very
/// jiffy is the best sign.
#[inline(always)]
fn drawn_by_own_close(entry: &Entry, tcp: TcpSock, state: u8) -> bool {
    if !closed_here(state) || tcp.shutdown() & SHUTDOWN_MASK != SHUTDOWN_MASK {
        return false;
    }
    let packets = &entry.packets;
    if constant!(SETTINGS.fentry) != 0 {
        return packets.flags & packets_flag::RESET == 0;
    }
    if constant!(SETTINGS.packets) != 0 && packets.flags & packets_flag::SEEN_IN != 0 {
        return packets.flags & packets_flag::RESET == 0;
    }
    tcp.rcv_tstamp() == jiffies()
}
