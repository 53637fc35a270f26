//! `tcp_destroy_sock`: the socket is freed. Every traced connection went to CLOSE before
//! that, so there is something to do only if no program saw it
//! (`hooks::inet_sock_set_state` says how that happens).

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use kreset_common::{
    counter,
    record::{connection_flag as flag, kind},
};

use super::inet_sock_set_state::{report, report_end};
use crate::{
    connection::{self, Entry, Key},
    ended,
    kernel::{Sock, state},
    ring,
};

/// Prototype: `tcp_destroy_sock(struct sock *sk)`, since 4.16; for IPv6 as well
/// (`tcp_v4_destroy_sock`). The socket's storage is still there (`__sk_destruct`).
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn destroy_sock(ctx: BtfTracePointContext) -> i32 {
    let _unobserved = freed(Sock(ctx.arg(0)));
    0
}

#[inline(always)]
fn freed(sock: Sock) -> Option<()> {
    let key = Key::from(sock);
    let entry = connection::get(key)?;
    connection::count_out(key, entry);
    if entry.is_listener() || entry.handled_state.get() == u32::from(state::CLOSE) {
        return None;
    }
    // 0: no change of state was handled yet.
    let old = match entry.handled_state.get() {
        0 => state::ESTABLISHED,
        known => known as u8,
    };
    entry.infer_fins(old);
    ended::add(sock, entry);
    if !entry.has(flag::RESET)
        && report_end(sock, old, entry).is_none()
        && !is_orderly(entry, old)
        && let Some(tcp) = sock.tcp()
    {
        ring::count(counter::UNOBSERVED);
        report(sock, tcp, kind::UNOBSERVED, old, entry);
    }
    connection::remove(key, entry);
    Some(())
}

/// A FIN each way, or an attempt to connect that this host gave up: nothing was cut off.
#[inline(always)]
fn is_orderly(entry: &Entry, old: u8) -> bool {
    entry.has(flag::FIN_SENT | flag::FIN_RECEIVED)
        || matches!(old, state::FIN_WAIT2 | state::SYN_SENT | state::SYN_RECV)
}
