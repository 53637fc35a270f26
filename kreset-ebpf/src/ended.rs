//! Connections that ended on this host. A packet that finds no socket either
//! belongs to one of them, or to a connection that this host never had.
//!
//! The memory is bounded; how far back it is complete is part of each answer.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::BPF_ANY,
    btf_maps::{Array, LruHashMap},
    macros::btf_map,
};
use kreset_common::{
    record::{KernelEvent, connection_flag as flag, event_flag, sequence},
    sequence::is_after,
    tables,
};
use kreset_ebpf::{sequence::may_follow, shared::Shared};

use crate::{
    connection::{Entry, now_ns},
    kernel::{AF_INET6, Sock},
    ring,
    snapshot::{first_of, local_port, remote_port},
};

/// Both ends of a connection; IPv4 addresses in their IPv4-mapped form.
#[repr(C)]
#[derive(Clone, Copy)]
struct Ends {
    local: [u64; 2],
    remote: [u64; 2],
    netns: u32,
    ports: [u16; 2],
}

/// An ended connection.
#[repr(C)]
#[derive(Clone, Copy)]
struct Ended {
    /// When it began, monotonic ns; 0 if it is older than the tracer.
    began_ns: u64,
    /// [`first_of`]; zeroes if unknown.
    first: [u32; 2],
    /// `snd_nxt` and `rcv_nxt` when it ended.
    next: [u32; 2],
    /// Not 0 if it ended in order: a FIN each way, and no RST.
    in_order: u64,
}

#[btf_map(name = "ENDED")]
static ENDED: LruHashMap<Ends, Ended, { tables::ENDED }> = LruHashMap::new();

/// Ends added before the memory is known to be complete only from later on. Two epochs are well
/// under what the table holds, as it does not give up the oldest first (kernel:
/// `__bpf_lru_list_shrink`, 6.18).
const EPOCH: u64 = 3_072;
const _: () = assert!(2 * EPOCH as usize <= tables::ENDED * 3 / 4);

/// From when on no end is missing: the start of the previous epoch.
///
/// Programs on several CPUs update it at once. Where two begin an epoch together, the memory counts
/// as complete from then on alone: less than it is.
#[repr(C)]
struct Reach {
    /// Start of the previous epoch, monotonic ns; 0 before the first.
    complete_ns: Shared<u64>,
    /// Start of this epoch.
    epoch_ns: Shared<u64>,
    /// Ends added in this epoch.
    added: Shared<u64>,
}

#[btf_map(name = "ENDED_REACH")]
static REACH: Array<Reach, 1> = Array::new();

/// Starts the memory, unless it has begun. Called while seeding: the connections
/// that exist by then are known.
#[inline(always)]
pub(crate) fn start() {
    if let Some(reach) = reach()
        && reach.complete_ns.get() == 0
    {
        let now = now_ns();
        reach.complete_ns.set(now);
        reach.epoch_ns.set(now);
    }
}

/// Adds a connection that goes to CLOSE.
#[inline(always)]
pub(crate) fn add(sock: Sock, entry: &Entry) {
    let Some(tcp) = sock.tcp() else {
        return;
    };
    let (local, remote) = if sock.family() == AF_INET6 {
        (sock.v6_rcv_saddr(), sock.v6_daddr())
    } else {
        (mapped(sock.rcv_saddr()), mapped(sock.daddr()))
    };
    let ends = Ends {
        local,
        remote,
        netns: sock.netns(),
        ports: [local_port(sock, Some(tcp)), remote_port(sock)],
    };
    let ended = Ended {
        began_ns: if entry.has(flag::SEEDED) {
            0
        } else {
            entry.connection.first_seen_ns.get()
        },
        first: first_of(tcp, entry).unwrap_or([0, 0]),
        next: [tcp.snd_nxt(), tcp.rcv_nxt()],
        in_order: (entry.has(flag::FIN_SENT | flag::FIN_RECEIVED) && !entry.has(flag::RESET))
            .into(),
    };
    let inserted = ENDED.insert(ends, ended, BPF_ANY.into());
    let Some(reach) = reach() else {
        return;
    };
    if inserted.is_err() {
        // Kernel: its bucket is locked by what this program interrupted, or no memory is left
        // (`htab_lru_map_update_elem`, 6.18).
        let now = now_ns();
        reach.complete_ns.set(now);
        reach.epoch_ns.set(now);
    }
    reach.added.add_at_once(1);
    if reach.added.get() >= EPOCH {
        reach.complete_ns.set(reach.epoch_ns.get());
        reach.epoch_ns.set(now_ns());
        reach.added.set(0);
    }
}

/// Records whether this host had the connection of an event without a socket, and its first
/// sequence numbers. `trigger` is the sequence and the acknowledgement number of the packet
/// that found no socket.
///
/// # Safety
///
/// `event` is valid for reads and writes, and has its addresses.
#[inline(always)]
pub(crate) unsafe fn recall(event: *mut KernelEvent, trigger: Option<[u32; 2]>) {
    // SAFETY: by the caller's contract.
    unsafe {
        let now = (*event).ktime_ns;
        let mut copied = MaybeUninit::uninit();
        let (bits, from_ns) = match ended(event, &mut copied) {
            Some(ended) => {
                set_first(event, ended, trigger);
                let mut bits = event_flag::HAD;
                if ended.in_order != 0 && is_leftover(trigger, ended.next) {
                    bits |= event_flag::HAD_ENDED_IN_ORDER;
                }
                (bits, ended.began_ns)
            }
            None => (
                event_flag::NOT_HAD,
                reach().map_or(0, |it| it.complete_ns.get()),
            ),
        };
        (*event).flags |= bits;
        (*event).remembered_ms = match from_ns {
            0 => 0,
            from_ns => whole_ms(now.saturating_sub(from_ns)),
        };
    }
}

/// Records the first sequence numbers of a connection in `TIME_WAIT`, which has ended: its
/// socket went to CLOSE (kernel: `tcp_time_wait`).
///
/// # Safety
///
/// `event` is valid for reads and writes, and has its addresses.
#[inline(always)]
pub(crate) unsafe fn recall_first(event: *mut KernelEvent, trigger: Option<[u32; 2]>) {
    // SAFETY: by the caller's contract.
    unsafe {
        let mut copied = MaybeUninit::uninit();
        if let Some(ended) = ended(event, &mut copied) {
            set_first(event, ended, trigger);
        }
    }
}

/// # Safety
///
/// `event` is valid for writes.
#[inline(always)]
unsafe fn set_first(event: *mut KernelEvent, ended: &Ended, trigger: Option<[u32; 2]>) {
    let Some([number, acknowledged]) = trigger else {
        return;
    };
    let ([local, remote], [snd_nxt, rcv_nxt]) = (ended.first, ended.next);
    if remote == 0 || !may_follow(number, acknowledged, snd_nxt, rcv_nxt) {
        return;
    }
    // SAFETY: by the caller's contract.
    unsafe {
        (*event).first_local = local;
        (*event).first_remote = remote;
        (*event).sequences |= sequence::FIRST;
    }
}

/// The latest connection of an event's ends that ended on this host, copied: another end may
/// take its place in the map meanwhile.
///
/// # Safety
///
/// `event` is valid for reads, and has its addresses.
#[inline(always)]
#[expect(
    clippy::cast_ptr_alignment,
    reason = "kreset-common asserts that addresses are aligned to words"
)]
unsafe fn ended(event: *const KernelEvent, into: &mut MaybeUninit<Ended>) -> Option<&Ended> {
    // SAFETY: by the caller's contract; addresses are aligned to 8 bytes. An element of the
    // map is valid while the program runs, and a whole number of words.
    unsafe {
        let local = (&raw const (*event).local_address).cast::<u64>();
        let remote = (&raw const (*event).remote_address).cast::<u64>();
        let (local, remote) = if (*event).family == AF_INET6 {
            (
                [local.read(), local.add(1).read()],
                [remote.read(), remote.add(1).read()],
            )
        } else {
            (
                mapped(local.cast::<u32>().read()),
                mapped(remote.cast::<u32>().read()),
            )
        };
        let ends = Ends {
            local,
            remote,
            netns: (*event).netns,
            ports: [(*event).local_port, (*event).remote_port],
        };
        ring::copy(ENDED.get_ptr(ends)?, into.as_mut_ptr());
        Some(into.assume_init_ref())
    }
}

/// Whether a packet with these numbers was sent before its sender had closed, or repeats
/// that: the last acknowledgement, or a FIN sent again.
#[inline(always)]
fn is_leftover(trigger: Option<[u32; 2]>, [snd_nxt, rcv_nxt]: [u32; 2]) -> bool {
    trigger.is_some_and(|[number, acknowledged]| {
        may_follow(number, acknowledged, snd_nxt, rcv_nxt) && !is_after(number, rcv_nxt)
    })
}

/// Milliseconds, at least 1: 0 means unknown.
#[inline(always)]
const fn whole_ms(ns: u64) -> u32 {
    let ms = ns / 1_000_000 + 1;
    if ms > u32::MAX as u64 {
        u32::MAX
    } else {
        ms as u32
    }
}

/// `::ffff:a.b.c.d`; RFC 4291, 2.5.5.2.
#[inline(always)]
fn mapped(address: u32) -> [u64; 2] {
    let [a, b, c, d] = address.to_ne_bytes();
    [0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d])]
}

#[inline(always)]
fn reach() -> Option<&'static Reach> {
    REACH.get(0)
}
