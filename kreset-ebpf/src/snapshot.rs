//! Fills records: addresses, owner, and the state of the socket.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use kreset_common::record::{
    Incoming, KernelEvent, Load, Record, Tcp, event_flag, incoming_present, load_present, role,
    sequence, tcp_present,
};
use kreset_common::sequence::is_after;
use kreset_ebpf::sequence::first_sequences;

use crate::{
    connection::{Entry, Key, now_ns},
    kernel::{AF_INET6, Sock, Task, TcpSock, has, state},
    listener, ring,
};

/// Low half of `bpf_jiffies64`: the clock of the socket's own timestamps.
#[inline(always)]
pub(crate) fn jiffies() -> u32 {
    // SAFETY: no arguments; in tracing programs since 5.9.
    (unsafe { bpf_jiffies64() }) as u32
}

/// Local port of a socket, host order: `inet_sport` where there is a full
/// socket, because `skc_num` is 0 once the port is released.
#[inline(always)]
pub(crate) fn local_port(sock: Sock, tcp: Option<TcpSock>) -> u16 {
    let port = match tcp {
        Some(tcp) => u16::from_be(tcp.sport()),
        None => 0,
    };
    if port == 0 { sock.num() } else { port }
}

/// Remote port of a socket, host order.
#[inline(always)]
pub(crate) fn remote_port(sock: Sock) -> u16 {
    u16::from_be(sock.dport())
}

/// Clears an event and sets the fields that do not depend on a socket.
///
/// # Safety
///
/// `event` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn begin(event: *mut KernelEvent, kind: u8) {
    // SAFETY: by the caller's contract; `KernelEvent` is a whole number of words.
    unsafe {
        ring::clear(event);
        (*event).ktime_ns = now_ns();
        (*event).jiffies = jiffies();
        (*event).kind = kind;
    }
}

/// Sets the addresses of a socket, full or mini.
///
/// # Safety
///
/// `event` is valid for writes and was begun.
#[inline(always)]
#[expect(
    clippy::cast_ptr_alignment,
    reason = "kreset-common asserts that addresses are aligned to words"
)]
pub(crate) unsafe fn addresses(event: *mut KernelEvent, sock: Sock, tcp: Option<TcpSock>) {
    let family = sock.family();
    // SAFETY: by the caller's contract; addresses are aligned to 8 bytes.
    unsafe {
        (*event).family = family;
        (*event).local_port = local_port(sock, tcp);
        (*event).remote_port = remote_port(sock);
        (*event).netns = sock.netns();
        let local = (&raw mut (*event).local_address).cast::<u64>();
        let remote = (&raw mut (*event).remote_address).cast::<u64>();
        if family == AF_INET6 {
            let [low, high] = sock.v6_rcv_saddr();
            local.write(low);
            local.add(1).write(high);
            let [low, high] = sock.v6_daddr();
            remote.write(low);
            remote.add(1).write(high);
        } else {
            local.cast::<u32>().write(sock.rcv_saddr());
            remote.cast::<u32>().write(sock.daddr());
        }
    }
}

/// Writes a whole record of a full socket.
///
/// # Safety
///
/// `record` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn full(
    record: *mut Record,
    kind: u8,
    state: u8,
    sock: Sock,
    tcp: TcpSock,
    entry: &Entry,
) {
    // SAFETY: by the caller's contract; all six parts are written whole.
    unsafe {
        let event = &raw mut (*record).event;
        begin(event, kind);
        addresses(event, sock, Some(tcp));
        (*event).socket = Key::from(sock).address();
        (*event).cgroup = tcp.cgroup();
        (*event).state = state;
        let role = entry.connection.role.get();
        (*event).role = role;
        (*event).error = tcp.error();
        let mut flags = event_flag::FULL;
        if tcp.without_file() {
            flags |= event_flag::NO_FILE;
        }
        if role == role::BROKER {
            flags |= listener::flag(sock.netns(), (*event).local_port);
        }
        (*event).flags = flags;
        if let Some([local, remote]) = first_of(tcp, entry) {
            (*event).first_local = local;
            (*event).first_remote = remote;
            (*event).sequences = sequence::FIRST;
        }
        snapshot(&raw mut (*record).tcp, tcp);
        ring::copy(&raw const entry.connection, &raw mut (*record).connection);
        ring::copy(&raw const entry.packets, &raw mut (*record).packets);
        incoming(&raw mut (*record).incoming, tcp);
        let load = &raw mut (*record).load;
        windows(load, tcp);
        if role == role::BROKER {
            listener::load_at(load, sock.netns(), (*event).local_port);
        }
    }
}

/// Kernel: `tcp_receive_window`.
#[inline(always)]
fn receive_window(tcp: TcpSock) -> u32 {
    let end = tcp.rcv_wup().wrapping_add(tcp.rcv_wnd());
    if is_after(end, tcp.rcv_nxt()) {
        end.wrapping_sub(tcp.rcv_nxt())
    } else {
        0
    }
}

/// # Safety
///
/// `into` is valid for writes.
#[inline(always)]
unsafe fn windows(into: *mut Load, tcp: TcpSock) {
    // SAFETY: by the caller's contract; `Load` is a whole number of words.
    unsafe {
        ring::clear(into);
        if TcpSock::has_window() && has!(snd_wnd) {
            (*into).rcv_wnd = receive_window(tcp);
            (*into).snd_wnd = tcp.snd_wnd();
            (*into).present = load_present::WINDOWS;
        }
    }
}

/// # Safety
///
/// `into` is valid for writes.
#[inline(always)]
unsafe fn incoming(into: *mut Incoming, tcp: TcpSock) {
    let mut present = 0;
    if has!(ts_recent) && has!(ts_recent_stamp) && has!(rcv_tsval) && has!(rcv_tsecr) {
        present |= incoming_present::CLOCK;
    }
    if has!(num_sacks) && has!(sack_end_3) {
        present |= incoming_present::SACK;
    }
    // SAFETY: by the caller's contract; every field is written.
    unsafe {
        (*into).ts_recent = tcp.ts_recent();
        (*into).ts_recent_stamp = tcp.ts_recent_stamp();
        (*into).rcv_tsval = tcp.rcv_tsval();
        (*into).rcv_tsecr = tcp.rcv_tsecr();
        (*into).sack_end = tcp.sack_end();
        (*into).present = present;
    }
}

/// Sequence numbers of the first data of this host and of its peer. `None` until the
/// peer's SYN has come: `rcv_nxt` is 0 until then (kernel: `tcp_connect_init`).
#[inline(always)]
pub(crate) fn first_of(tcp: TcpSock, entry: &Entry) -> Option<[u32; 2]> {
    if !has!(bytes_acked) || !has!(bytes_received) || tcp.rcv_nxt() == 0 {
        return None;
    }
    Some(first_sequences(
        entry.is_active(),
        [tcp.snd_una(), tcp.rcv_nxt()],
        [tcp.bytes_acked() as u32, tcp.bytes_received() as u32],
    ))
}

/// Records whether the running task is exiting, for hooks that run in the
/// context of the task that closes the socket.
///
/// # Safety
///
/// `event` is valid for writes and was begun.
#[inline(always)]
pub(crate) unsafe fn set_closing_task(event: *mut KernelEvent, entry: &Entry) {
    let task = Task::current();
    if !task.exiting() {
        return;
    }
    // SAFETY: by the caller's contract.
    unsafe {
        (*event).flags |= event_flag::TASK_EXITING;
        if entry.is_of_other_process() {
            (*event).flags |= event_flag::OTHER_PROCESS;
        }
        if has!(task_exit_code) {
            (*event).flags |= event_flag::HAS_EXIT_SIGNAL;
            (*event).exit_signal = (task.exit_code() & 0x7f) as u8;
        }
    }
}

/// # Safety
///
/// `into` is valid for writes.
#[inline(always)]
unsafe fn snapshot(into: *mut Tcp, tcp: TcpSock) {
    // SAFETY: by the caller's contract; every field is written.
    unsafe {
        let mut present = 0;
        if has!(tcp_mstamp) && has!(first_tx_mstamp) {
            present |= tcp_present::FLIGHT;
        }
        if has!(bytes_sent) && has!(bytes_retrans) && has!(bytes_received) {
            present |= tcp_present::BYTES_SENT;
        }
        if has!(probes_out) {
            present |= tcp_present::PROBES;
        }
        if has!(min_rtt_us) {
            present |= tcp_present::MIN_RTT;
        }
        if has!(saw_tstamp) && has!(tstamp_ok) {
            present |= tcp_present::TIMESTAMPS;
        }
        if has!(num_sacks) {
            present |= tcp_present::SACKS;
        }
        if has!(mss_clamp) {
            present |= tcp_present::PEER_MSS;
        }
        if has!(copied_seq) {
            present |= tcp_present::COPIED;
        }
        (*into).tcp_mstamp = tcp.tcp_mstamp();
        (*into).first_tx_mstamp = tcp.first_tx_mstamp();
        (*into).bytes_sent = tcp.bytes_sent().wrapping_sub(tcp.bytes_retrans());
        (*into).bytes_acked = tcp.bytes_acked();
        (*into).bytes_received = tcp.bytes_received();
        (*into).lsndtime = tcp.lsndtime();
        (*into).rcv_tstamp = tcp.rcv_tstamp();
        (*into).lrcvtime = tcp.lrcvtime();
        (*into).srtt_us = tcp.srtt_us();
        (*into).min_rtt_us = tcp.min_rtt_us();
        (*into).packets_out = tcp.packets_out();
        (*into).total_retrans = tcp.total_retrans();
        (*into).snd_una = tcp.snd_una();
        (*into).snd_nxt = tcp.snd_nxt();
        (*into).rcv_nxt = tcp.rcv_nxt();
        (*into).segs_in = tcp.segs_in();
        (*into).segs_out = tcp.segs_out();
        (*into).data_segs_in = tcp.data_segs_in();
        (*into).data_segs_out = tcp.data_segs_out();
        (*into).present = present;
        (*into).probes_out = tcp.probes_out();
        (*into).retransmits = tcp.retransmits();
        (*into).saw_tstamp = tcp.saw_tstamp();
        (*into).tstamp_ok = tcp.tstamp_ok();
        (*into).shutdown = tcp.shutdown();
        (*into).num_sacks = tcp.num_sacks();
        (*into).copied_seq = tcp.copied_seq().to_ne_bytes();
        (*into).peer_mss = tcp.mss_clamp();
    }
}

/// A state in which this host has already closed its side.
#[inline(always)]
pub(crate) const fn closed_here(state: u8) -> bool {
    matches!(
        state,
        state::FIN_WAIT1 | state::FIN_WAIT2 | state::CLOSING | state::LAST_ACK
    )
}
