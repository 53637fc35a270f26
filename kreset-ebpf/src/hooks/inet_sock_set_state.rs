//! `inet_sock_set_state`: connections begin, close either side, and end.
//!
//! Two copies of this program are attached to the same tracepoint. The kernel
//! skips a program that is already running on the CPU (`prog->active` in
//! `__bpf_trace_run`, since 6.1), which happens when packets arrive while a task
//! is in the program. If the first copy is active, the second one runs; if the
//! first copy ran, the second one sees that and does nothing. Up to 6.18 two are
//! enough: tracepoints cannot be preempted, so only a task and the packets that
//! interrupt it can meet on one CPU. Since 7.0 they can be preempted
//! (`rcu_read_lock_dont_migrate` in `__bpf_trace_run`), and two tasks may hold one
//! copy each while they wait for the CPU. Therefore no single state change is
//! relied on: a later change, or a packet, completes what is missing, and a RST
//! that was not observed is reported when the socket closes.

use aya_ebpf::{
    btf_maps::PerCpuArray,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use kreset_common::{
    counter,
    record::{Record, connection_flag as flag, kind, packets_flag, role},
};
use kreset_ebpf::{payload::is_sasl, shared::Shared};

use super::tcp_receive_reset::{is_real, observes_packets};
use crate::{
    connection::{self, Entry, Key, now_ns},
    ended, filter, gave_up,
    kernel::{Sock, Task, TcpSock, state},
    listener, owners, recent_resets, ring,
    settings::constant,
    snapshot::{self, jiffies, local_port, remote_port},
};

/// Errors that a reset sets in `sk_err` (kernel: `tcp_reset`): not timeouts.
const EPIPE: u32 = 32;
const ECONNRESET: u32 = 104;
const ECONNREFUSED: u32 = 111;

/// A connection with fewer data segments than this may have closed in its first
/// exchange.
const YOUNG_SEGMENTS: u32 = 24;

/// The change that the first copy handled last on this CPU, by [`mark_of`]; 0 once the second
/// copy has seen it.
#[btf_map(name = "HANDLED_CHANGE")]
static HANDLED_CHANGE: PerCpuArray<Shared<u64>, 1> = PerCpuArray::new();

/// Prototype: `inet_sock_set_state(const struct sock *sk, const int oldstate,
/// const int newstate)`, since 4.16.
#[btf_tracepoint(function = "inet_sock_set_state")]
#[inline(always)]
fn set_state(ctx: BtfTracePointContext) -> i32 {
    let sock = Sock(ctx.arg(0));
    let old: i32 = ctx.arg(1);
    let new: i32 = ctx.arg(2);
    handle_once(sock, old as u8, new as u8);
    if let Some(handled) = HANDLED_CHANGE.get(0) {
        handled.set(mark_of(sock, old as u8, new as u8));
    }
    0
}

/// Second copy: runs when the first is already active on this CPU.
#[btf_tracepoint(function = "inet_sock_set_state")]
#[inline(always)]
fn set_state_again(ctx: BtfTracePointContext) -> i32 {
    let sock = Sock(ctx.arg(0));
    let old: i32 = ctx.arg(1);
    let new: i32 = ctx.arg(2);
    if let Some(handled) = HANDLED_CHANGE.get(0)
        && handled.get() == mark_of(sock, old as u8, new as u8)
    {
        // Nearly always. Another change of this CPU's in between leaves another mark: then
        // the connection's own entry decides.
        handled.set(0);
        return 0;
    }
    handle_once(sock, old as u8, new as u8);
    0
}

/// A change of state of a socket, never 0: an address of the kernel, bytes swapped, ends in
/// ones.
#[inline(always)]
fn mark_of(sock: Sock, old: u8, new: u8) -> u64 {
    Key::from(sock).address() ^ (u64::from(old) << 8 | u64::from(new))
}

/// Handles a change that the other copy has not handled. No socket enters the same
/// state twice in a row, and each change starts from the state that the last one
/// led to; if it does not, a change was skipped.
#[inline(always)]
fn handle_once(sock: Sock, old: u8, new: u8) {
    // Most sockets of a host leave here. Once the local port is released, on the way to
    // CLOSE, only the entry tells (kernel: `tcp_set_state`, 5.10 to 7.3).
    let port = sock.num();
    if (port != 0 || new != state::CLOSE) && filter::role(port, remote_port(sock)) == role::UNKNOWN
    {
        return;
    }
    let known = connection::get(Key::from(sock));
    if let Some(entry) = known {
        let handled = entry.handled_state.get();
        if handled == u32::from(new) {
            return;
        }
        // 0: no change has been handled yet.
        if handled != 0 && handled != u32::from(old) {
            ring::count(counter::SKIPPED);
        }
    }
    let known = if may_begin(new) {
        known
    } else {
        let begun = begun_entry(sock, known, old);
        if begun.is_none() {
            return;
        }
        begun
    };
    if let Some(entry) = on_set_state(sock, known, old, new) {
        entry.handled_state.set(u32::from(new));
    }
}

/// A socket without an entry may get one in this state, decided by its ports. The
/// local one is set in all of these states but `SYN_SENT`, where the remote one
/// decides (kernel: `tcp_set_state` releases it on the way to CLOSE, 5.10 to 7.3).
#[inline(always)]
const fn may_begin(new: u8) -> bool {
    matches!(
        new,
        state::SYN_SENT | state::LISTEN | state::SYN_RECV | state::ESTABLISHED
    )
}

/// The entry that a later change continues. For a connection whose start was not
/// observed, it is the inherited one, or created here.
#[inline(always)]
fn begun_entry(sock: Sock, known: MaybeEntry, old: u8) -> MaybeEntry {
    match known {
        Some(entry) => {
            if entry.is_listener() && old != state::LISTEN {
                entry.begin_late(sock.netns(), role::BROKER);
            }
            Some(entry)
        }
        None => begin_missed(sock, old),
    }
}

/// Begins a connection for which both copies were skipped at every earlier change.
/// One without a file may be older than the tracer: seeding finds sockets through
/// the files of processes. With the table of connections nothing is skipped: an
/// entry that is not there was evicted.
#[inline(always)]
fn begin_missed(sock: Sock, old: u8) -> MaybeEntry {
    if constant!(SETTINGS.hash_storage) != 0 || matches!(old, state::CLOSE | state::LISTEN) {
        return None;
    }
    let tcp = sock.tcp()?;
    if filter::role(local_port(sock, Some(tcp)), remote_port(sock)) == role::UNKNOWN
        || tcp.without_file()
    {
        return None;
    }
    let entry = connection::get_or_begin_late(sock, tcp)?;
    ring::count(counter::SKIPPED);
    Some(entry)
}

/// The entry of the socket, if it has one.
type MaybeEntry = Option<&'static Entry>;

#[inline(always)]
fn on_set_state(sock: Sock, known: MaybeEntry, old: u8, new: u8) -> MaybeEntry {
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
fn connecting(sock: Sock, known: MaybeEntry) -> MaybeEntry {
    if !filter::traced(remote_port(sock)) || !filter::netns(sock.netns()) {
        return known;
    }
    let entry = known_or_created(sock, known)?;
    entry.begin(sock, role::CLIENT, flag::ACTIVE);
    entry.set_owner_to_current();
    Some(entry)
}

/// `listen()`: children will inherit this entry.
#[inline(always)]
fn listening(sock: Sock, known: MaybeEntry) -> MaybeEntry {
    if !filter::traced(sock.num()) || !filter::netns(sock.netns()) {
        return known;
    }
    let entry = known_or_created(sock, known)?;
    entry.begin(sock, role::BROKER, flag::LISTENER);
    entry.set_owner_to_current();
    listener::store_owner(entry, sock.num());
    listener::opened(sock.netns(), sock.num(), Key::from(sock));
    owners::add(entry, sock.num());
    Some(entry)
}

/// A child of a listener (kernel: `inet_csk_clone_lock`), or a simultaneous open.
#[inline(always)]
fn accepting(sock: Sock, known: MaybeEntry, old: u8) -> MaybeEntry {
    if old != state::LISTEN {
        return known;
    }
    if known.is_none() && !(filter::traced(sock.num()) && filter::netns(sock.netns())) {
        return None;
    }
    let entry = match known {
        Some(inherited) => connection::keep_inherited(Key::from(sock), inherited)?,
        None => known_or_created(sock, None)?,
    };
    entry.begin(sock, role::BROKER, 0);
    listener::inherit_owner(entry, sock.num());
    Some(entry)
}

#[inline(always)]
fn known_or_created(sock: Sock, known: MaybeEntry) -> MaybeEntry {
    if known.is_some() {
        return known;
    }
    sock.tcp()?;
    connection::create_first(Key::from(sock))
}

#[inline(always)]
fn established(sock: Sock, known: MaybeEntry, old: u8) -> MaybeEntry {
    let entry = match known {
        Some(entry) if !entry.is_listener() => entry,
        _missed => begin_established(sock, old)?,
    };
    // A packet program, which may have created the entry, cannot read it.
    entry.connection.netns.set(sock.netns());
    let now = now_ns();
    entry.connection.established_ns.set(now);
    entry.set(flag::ESTABLISHED);
    if entry.connection.role.get() == role::CLIENT
        && recent_resets::contains(sock, now)
        && let Some(tcp) = sock.tcp()
    {
        report(sock, tcp, kind::ESTABLISHED, state::ESTABLISHED, entry);
    }
    Some(entry)
}

#[inline(always)]
pub(super) fn report(sock: Sock, tcp: TcpSock, kind: u8, state: u8, entry: &Entry) {
    ring::emit(|record: *mut Record| {
        // SAFETY: room for a record, just reserved.
        unsafe { snapshot::full(record, kind, state, sock, tcp, entry) }
    });
}

/// Begins a connection for whose first state change both copies were skipped.
#[inline(always)]
fn begin_established(sock: Sock, old: u8) -> MaybeEntry {
    let entry = connection::get_or_begin_late(sock, sock.tcp()?)?;
    if entry.handled_state.get() == 0 {
        // Otherwise `handle_once` has counted it.
        ring::count(counter::SKIPPED);
    }
    if old == state::SYN_SENT {
        entry.connection.role.set(role::CLIENT);
        entry.set(flag::ACTIVE);
    }
    if constant!(SETTINGS.packets) != 0 {
        entry.packets.flags.add(packets_flag::FROM_START);
    }
    Some(entry)
}

/// The FIN of one side. The first FIN is reported if the broker sent it: it
/// distinguishes an idle close or a dying broker from later causes. The client's is if it
/// gave up waiting for an answer.
#[inline(always)]
fn closing(sock: Sock, entry: &'static Entry, old: u8, side: u32) -> &'static Entry {
    if entry.is_listener() {
        return entry;
    }
    entry.infer_fins(old);
    let first = !entry.has(flag::FIN_SENT) && !entry.has(flag::FIN_RECEIVED);
    entry.set(side);
    if first {
        first_fin(sock, entry, old, side == flag::FIN_RECEIVED);
    }
    entry
}

#[inline(always)]
fn first_fin(sock: Sock, entry: &Entry, old: u8, by_peer: bool) -> Option<()> {
    let tcp = sock.tcp()?;
    if by_peer {
        entry.set(flag::PEER_CLOSED_FIRST);
    } else {
        record_exit(entry);
    }
    entry.connection.fin_ns.set(now_ns());
    let silence = silence_before_fin(tcp, by_peer);
    entry.connection.fin_silence.set(silence);
    let by_broker = by_peer == (entry.connection.role.get() == role::CLIENT);
    let kind = if by_broker {
        kind::FIN
    } else if gave_up::waited(tcp, entry, by_peer, silence) {
        kind::GAVE_UP
    } else {
        return None;
    };
    if !entry.has(flag::RESET) {
        report(sock, tcp, kind, old, entry);
    }
    Some(())
}

/// Records whether process teardown sent the FIN: the process exited or was killed.
#[inline(always)]
fn record_exit(entry: &Entry) {
    let task = Task::current();
    if task.exiting() {
        entry.set(flag::CLOSED_BY_EXIT);
        if entry.is_of_other_process() {
            entry.set(flag::OTHER_PROCESS);
        }
        entry.connection.exit_signal.set(task.exit_code() & 0x7f);
    }
}

/// Jiffies without data before a FIN. `rcv_tstamp` is not used for the peer's FIN,
/// which has just updated it (`tcp_fin` runs after `tcp_ack`).
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

/// The socket reaches CLOSE: by a timeout, by a RST that was not observed, after
/// FINs in its first exchange, or routinely.
#[inline(always)]
fn closed(sock: Sock, entry: &'static Entry, old: u8) -> MaybeEntry {
    if entry.is_listener() {
        if old == state::LISTEN
            && let Some(tcp) = sock.tcp()
        {
            listener::closed(sock.netns(), local_port(sock, Some(tcp)));
        }
    } else {
        let reset = entry.has(flag::RESET);
        if !reset {
            entry.infer_fins(old);
        }
        ended::add(sock, entry);
        if !reset {
            report_end(sock, old, entry);
        }
    }
    connection::remove(Key::from(sock), entry)
}

/// Reports a timeout, a RST that was not observed, or a close in the first exchange. `None` if
/// the end is none of these.
#[inline(always)]
pub(super) fn report_end(sock: Sock, old: u8, entry: &Entry) -> Option<()> {
    let tcp = sock.tcp()?;
    let error = tcp.error();
    let kind = match error {
        // Set by ICMP, at once in SYN_SENT, else kept until the kernel gave up (tcp_v4_err,
        // tcp_write_err, 5.10 to 7.3): a RST sets this error in SYN_SENT only.
        ECONNREFUSED if old != state::SYN_SENT || !shows_reset(entry) => kind::TIMEOUT,
        EPIPE | ECONNRESET | ECONNREFUSED => {
            if !missed_reset(entry, old, error) || !is_real(sock, tcp, entry, old) {
                return None;
            }
            kind::RESET_RECEIVED
        }
        0 if entry.has(flag::FIN_SENT) || entry.has(flag::FIN_RECEIVED) => {
            if !may_be_first_exchange(entry, tcp) {
                return None;
            }
            kind::CLOSED
        }
        0 => return None,
        _timeout => kind::TIMEOUT,
    };
    report(sock, tcp, kind, old, entry);
    Some(())
}

/// The kernel set the error of a RST received in this state (`tcp_reset`, 5.10 to
/// 7.3), and neither copy observed it. ICMP refuses a connection with the same
/// error (`tcp_v4_err`), so a refusal counts only if the packets show a RST; where
/// packets are observed, so does every RST.
#[inline(always)]
fn missed_reset(entry: &Entry, old: u8, error: u32) -> bool {
    let fits = match error {
        ECONNREFUSED => old == state::SYN_SENT,
        EPIPE => old == state::CLOSE_WAIT,
        _ => old != state::SYN_SENT && old != state::CLOSE_WAIT,
    };
    let shown = shows_reset(entry) || (error != ECONNREFUSED && !observes_packets(&entry.packets));
    fits && shown && entry.handled_reset.get() == 0
}

/// The packets show a RST.
#[inline(always)]
fn shows_reset(entry: &Entry) -> bool {
    entry.packets.flags.has(packets_flag::RESET)
}

/// The close may be a failed first exchange: few segments, and the packets do not
/// show that a plaintext request other than SASL was answered. Without packets:
/// one direction carried no data.
#[inline(always)]
fn may_be_first_exchange(entry: &Entry, tcp: TcpSock) -> bool {
    let received = tcp.data_segs_in();
    let sent = tcp.data_segs_out();
    if received == 0 && sent == 0 && closed_by_client(entry) {
        return false;
    }
    if received + sent >= YOUNG_SEGMENTS {
        return false;
    }
    let packets = &entry.packets;
    if packets.data_in.get() == 0 && packets.data_out.get() == 0 {
        return received == 0 || sent == 0;
    }
    let flags = packets.flags.get();
    let answered_in_plaintext = packets.turns.get() >= 4
        && packets.request_head[0].get() == 0
        && flags & packets_flag::API_KEY != 0
        && !is_sasl(packets.api_key.get())
        && flags & (packets_flag::SASL | packets_flag::SASL_DONE) != packets_flag::SASL;
    !answered_in_plaintext
}

#[inline(always)]
fn closed_by_client(entry: &Entry) -> bool {
    entry.has(flag::PEER_CLOSED_FIRST) == (entry.connection.role.get() == role::BROKER)
}
