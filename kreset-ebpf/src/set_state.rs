//! `inet_sock_set_state`: connections begin, close their sides, and end.
//!
//! There are two of this program, one after the other on the same tracepoint.
//! The kernel skips a program that is running on the processor already
//! (`prog->active` in `__bpf_trace_run`, since 6.1). Packets that arrive while a
//! task is in the program do that: whoever finds the first one busy finds the
//! second one free; where the first one ran, the second one sees so and does
//! nothing. Up to 6.18 no more can meet on one processor than a task and the
//! packets that interrupt it, for tracepoints cannot be preempted. Since 7.0
//! they can (`rcu_read_lock_dont_migrate` in `__bpf_trace_run`), and two tasks
//! may hold one program each, for as long as they wait for the processor. So no
//! change of state is relied on: what a later one, or a packet, finds missing it
//! makes up for, and a RST that nobody saw is told when the socket closes.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use kreset_common::{
    counter,
    record::{Record, connection_flag as flag, kind, packets_flag, role},
};

use crate::{
    connection::{self, Entry, Key, now_ns},
    filter,
    kernel::{Sock, Task, TcpSock, state},
    listener,
    payload::is_sasl,
    receive_reset::{is_real, known_or_late, watches_packets},
    ring,
    settings::constant,
    snapshot::{self, jiffies, local_port, remote_port},
    trouble,
};

/// Errors that a reset leaves in `sk_err` (kernel: `tcp_reset`): not timeouts.
const EPIPE: u32 = 32;
const ECONNRESET: u32 = 104;
const ECONNREFUSED: u32 = 111;

/// Connections with fewer data segments than this are young enough that their
/// end may still be part of the first exchange.
const YOUNG_SEGMENTS: u32 = 24;

/// Prototype: `inet_sock_set_state(const struct sock *sk, const int oldstate,
/// const int newstate)`, since 4.16.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn set_state(ctx: BtfTracePointContext) -> i32 {
    let sock = Sock(ctx.arg(0));
    let old: i32 = ctx.arg(1);
    let new: i32 = ctx.arg(2);
    once(sock, old as u8, new as u8);
    0
}

/// As above: for those whom the first one missed.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn set_state_again(ctx: BtfTracePointContext) -> i32 {
    let sock = Sock(ctx.arg(0));
    let old: i32 = ctx.arg(1);
    let new: i32 = ctx.arg(2);
    once(sock, old as u8, new as u8);
    0
}

/// No socket goes to the same state twice in a row, and each goes on from the
/// state that it last went to.
#[inline(always)]
fn once(sock: Sock, old: u8, new: u8) {
    let known = connection::get(Key::from(sock));
    if let Some(entry) = &known {
        if entry.handled_state == u32::from(new) {
            return;
        }
        // 0: nobody saw it go anywhere yet.
        if entry.handled_state != 0 && entry.handled_state != u32::from(old) {
            ring::count(counter::SKIPPED);
        }
    }
    let known = if begins(new) {
        // Most sockets of a host leave here.
        if known.is_none() && filter::role(sock.num(), remote_port(sock)) == role::UNKNOWN {
            return;
        }
        known
    } else {
        let begun = begun(sock, known, old);
        if begun.is_none() {
            return;
        }
        begun
    };
    if let Some(entry) = on_set_state(sock, known, old, new) {
        entry.handled_state = u32::from(new);
    }
}

/// A socket that nothing is remembered of may be one to remember from here on.
/// Its ports tell: the local one is there in all of these states but `SYN_SENT`,
/// where the remote one counts (kernel: `tcp_set_state` releases it on the way
/// to CLOSE, 5.10 to 7.3).
#[inline(always)]
const fn begins(new: u8) -> bool {
    matches!(
        new,
        state::SYN_SENT | state::LISTEN | state::SYN_RECV | state::ESTABLISHED
    )
}

/// What a later change goes on from. Of a connection that nobody saw begin, what
/// it inherited, or nothing.
#[inline(always)]
fn begun(sock: Sock, known: Handled, old: u8) -> Handled {
    match known {
        Some(entry) => {
            if entry.is_listener() && old != state::LISTEN {
                entry.begin_late(sock.netns(), role::BROKER);
            }
            Some(entry)
        }
        None => missed(sock, old),
    }
}

/// A connection for which both programs were skipped at each change before. One
/// without a file may be older than the tracer: no process shows it to the seeding.
/// Where a table holds entries in place of sockets, nothing is skipped, and what
/// is not there was given up.
#[inline(always)]
fn missed(sock: Sock, old: u8) -> Handled {
    if constant!(SETTINGS.hash_storage) != 0 || matches!(old, state::CLOSE | state::LISTEN) {
        return None;
    }
    let tcp = sock.tcp()?;
    if filter::role(local_port(sock, Some(tcp)), remote_port(sock)) == role::UNKNOWN
        || tcp.without_file()
    {
        return None;
    }
    let entry = known_or_late(sock, tcp)?;
    ring::count(counter::SKIPPED);
    Some(entry)
}

/// The entry of the socket, if it has one now.
type Handled = Option<&'static mut Entry>;

#[inline(always)]
fn on_set_state(sock: Sock, known: Handled, old: u8, new: u8) -> Handled {
    match new {
        state::SYN_SENT => connecting(sock, known),
        state::LISTEN => listening(sock, known),
        state::SYN_RECV => accepting(sock, known, old),
        state::ESTABLISHED => established(sock, known, old),
        state::FIN_WAIT1 | state::LAST_ACK => Some(closing(sock, known?, old, flag::FIN_SENT)),
        state::CLOSE_WAIT | state::CLOSING => Some(closing(sock, known?, old, flag::FIN_RECEIVED)),
        state::CLOSE => closed(sock, known?, old),
        _ => known,
    }
}

/// `connect()`: the remote address is set, the local port not yet
/// (kernel: `tcp_v4_connect`).
#[inline(always)]
fn connecting(sock: Sock, known: Handled) -> Handled {
    if !filter::traced(remote_port(sock)) || !filter::netns(sock.netns()) {
        return known;
    }
    let entry = known_or_made(sock, known)?;
    entry.begin(sock, role::CLIENT, flag::ACTIVE);
    entry.own_by_current();
    Some(entry)
}

/// `listen()`: children will inherit this entry.
#[inline(always)]
fn listening(sock: Sock, known: Handled) -> Handled {
    if !filter::traced(sock.num()) || !filter::netns(sock.netns()) {
        return known;
    }
    let entry = known_or_made(sock, known)?;
    entry.begin(sock, role::BROKER, flag::LISTENER);
    entry.own_by_current();
    listener::remember(entry, sock.num());
    Some(entry)
}

/// A child of a listener (kernel: `inet_csk_clone_lock`), or a simultaneous open.
#[inline(always)]
fn accepting(sock: Sock, known: Handled, old: u8) -> Handled {
    if old != state::LISTEN {
        return known;
    }
    if known.is_none() && !(filter::traced(sock.num()) && filter::netns(sock.netns())) {
        return None;
    }
    let entry = known_or_made(sock, known)?;
    entry.begin(sock, role::BROKER, 0);
    listener::inherit(entry, sock.num());
    Some(entry)
}

#[inline(always)]
fn known_or_made(sock: Sock, known: Handled) -> Handled {
    if known.is_some() {
        return known;
    }
    sock.tcp()?;
    connection::get_or_make(Key::from(sock))
}

#[inline(always)]
fn established(sock: Sock, known: Handled, old: u8) -> Handled {
    let entry = match known {
        Some(entry) if !entry.is_listener() => entry,
        _missed => begun_unseen(sock, old)?,
    };
    // Packets, which may have met it first, do not tell.
    entry.connection.netns = sock.netns();
    entry.connection.established_ns = now_ns();
    entry.set(flag::ESTABLISHED);
    if entry.connection.role == role::CLIENT
        && trouble::is_recent(sock)
        && let Some(tcp) = sock.tcp()
    {
        tell(sock, tcp, kind::ESTABLISHED, state::ESTABLISHED, entry);
    }
    Some(entry)
}

#[inline(always)]
fn tell(sock: Sock, tcp: TcpSock, kind: u8, state: u8, entry: &Entry) {
    ring::emit(|record: *mut Record| {
        // SAFETY: room for a record, just reserved.
        unsafe { snapshot::full(record, kind, state, sock, tcp, entry) }
    });
}

/// A connection for whose first state both programs were skipped.
#[inline(always)]
fn begun_unseen(sock: Sock, old: u8) -> Option<&'static mut Entry> {
    let entry = known_or_late(sock, sock.tcp()?)?;
    if entry.handled_state == 0 {
        // Else `once` has counted it.
        ring::count(counter::SKIPPED);
    }
    if old == state::SYN_SENT {
        entry.connection.role = role::CLIENT;
        entry.set(flag::ACTIVE);
    }
    if constant!(SETTINGS.packets) != 0 {
        entry.packets.flags |= packets_flag::FROM_START;
    }
    Some(entry)
}

/// The FIN of one side. The first one of a broker is reported: it tells an idle
/// or a dying broker from everything that comes after it.
#[inline(always)]
fn closing(sock: Sock, entry: &'static mut Entry, old: u8, side: u32) -> &'static mut Entry {
    if entry.is_listener() {
        return entry;
    }
    entry.note_fins_of(old);
    let first = !entry.has(flag::FIN_SENT) && !entry.has(flag::FIN_RECEIVED);
    entry.set(side);
    if first {
        first_fin(sock, entry, old, side == flag::FIN_RECEIVED);
    }
    entry
}

#[inline(always)]
fn first_fin(sock: Sock, entry: &mut Entry, old: u8, by_peer: bool) -> Option<()> {
    let tcp = sock.tcp()?;
    if by_peer {
        entry.set(flag::PEER_CLOSED_FIRST);
    } else {
        note_exit(entry);
    }
    entry.connection.fin_ns = now_ns();
    entry.connection.fin_silence = silence_before_fin(tcp, by_peer);
    let by_broker = by_peer == (entry.connection.role == role::CLIENT);
    if by_broker && !entry.has(flag::RESET) {
        tell(sock, tcp, kind::FIN, old, entry);
    }
    Some(())
}

/// A FIN sent by the teardown of a process: it exited or was killed.
#[inline(always)]
fn note_exit(entry: &mut Entry) {
    let task = Task::current();
    if task.exiting() {
        entry.set(flag::CLOSED_BY_EXIT);
        entry.connection.exit_signal = task.exit_code() & 0x7f;
    }
}

/// Jiffies without data before a FIN. The peer's own FIN has just refreshed
/// `rcv_tstamp` (`tcp_fin` runs after `tcp_ack`), so that one is left out.
#[inline(always)]
fn silence_before_fin(tcp: TcpSock, by_peer: bool) -> u32 {
    let now = jiffies();
    let sent = now.wrapping_sub(tcp.lsndtime());
    let received = now.wrapping_sub(tcp.lrcvtime());
    let mut silence = if sent < received { sent } else { received };
    if !by_peer {
        let acked = now.wrapping_sub(tcp.rcv_tstamp());
        if acked < silence {
            silence = acked;
        }
    }
    silence
}

/// The socket ends: silently, by a timeout, or after FINs in its first exchange.
#[inline(always)]
fn closed(sock: Sock, entry: &'static mut Entry, old: u8) -> Handled {
    if !entry.is_listener() && !entry.has(flag::RESET) {
        entry.note_fins_of(old);
        report_end(sock, old, entry);
    }
    connection::forget(Key::from(sock), entry)
}

#[inline(always)]
fn report_end(sock: Sock, old: u8, entry: &mut Entry) -> Option<()> {
    let tcp = sock.tcp()?;
    let error = tcp.error();
    let kind = match error {
        // Of ICMP, kept until the kernel gave up (tcp_v4_err, tcp_write_err, 5.10 to
        // 7.3): a RST leaves it in SYN_SENT only.
        ECONNREFUSED if old != state::SYN_SENT => kind::TIMEOUT,
        EPIPE | ECONNRESET | ECONNREFUSED => {
            if !missed_reset(entry, old, error) || !is_real(sock, tcp, entry, old) {
                return None;
            }
            kind::RESET_RECEIVED
        }
        0 if entry.has(flag::FIN_SENT) || entry.has(flag::FIN_RECEIVED) => {
            if !ended_young(entry, tcp) {
                return None;
            }
            kind::CLOSED
        }
        0 => return None,
        _timeout => kind::TIMEOUT,
    };
    tell(sock, tcp, kind, old, entry);
    Some(())
}

/// The kernel left the error of a RST that came in this state (`tcp_reset`, 5.10
/// to 7.3), and neither program saw it. ICMP refuses a connection with the same
/// error (`tcp_v4_err`): a refusal counts only where packets show a RST, and so
/// does any RST where packets are watched.
#[inline(always)]
fn missed_reset(entry: &Entry, old: u8, error: u32) -> bool {
    let fits = match error {
        ECONNREFUSED => old == state::SYN_SENT,
        EPIPE => old == state::CLOSE_WAIT,
        _ => old != state::SYN_SENT && old != state::CLOSE_WAIT,
    };
    let packets = &entry.packets;
    let shown = packets.flags & packets_flag::RESET != 0
        || (error != ECONNREFUSED && !watches_packets(packets));
    fits && shown && entry.handled_reset == 0
}

/// The end may be a failed handshake: few segments, and the packets do not show
/// that a plaintext exchange other than SASL was answered. Where no packets are
/// watched, it may be one that was not answered.
#[inline(always)]
fn ended_young(entry: &Entry, tcp: TcpSock) -> bool {
    let received = tcp.data_segs_in();
    let sent = tcp.data_segs_out();
    if received == 0 && sent == 0 && closed_by_client(entry) {
        return false;
    }
    if received + sent >= YOUNG_SEGMENTS {
        return false;
    }
    let packets = &entry.packets;
    if packets.data_in == 0 && packets.data_out == 0 {
        return received == 0 || sent == 0;
    }
    let answered_in_clear = packets.turns >= 4
        && packets.request_head[0] == 0
        && packets.flags & packets_flag::API_KEY != 0
        && !is_sasl(packets.api_key)
        && packets.flags & (packets_flag::SASL | packets_flag::SASL_DONE) != packets_flag::SASL;
    !answered_in_clear
}

#[inline(always)]
const fn closed_by_client(entry: &Entry) -> bool {
    entry.has(flag::PEER_CLOSED_FIRST) == (entry.connection.role == role::BROKER)
}
