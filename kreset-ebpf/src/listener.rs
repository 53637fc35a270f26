//! How many sockets listen on a port, and owners of listeners, for kernels on which accepted connections do not inherit
//! the entry of their listener (before 5.11). Of two listeners on one port of a
//! network namespace, the later one counts.

use core::mem::MaybeUninit;

use aya_ebpf::{bindings::BPF_ANY, btf_maps::LruHashMap, macros::btf_map};
use kreset_common::{
    record::{Load, event_flag, load_present},
    tables,
};
use kreset_ebpf::shared::{Shared, array, set_array};

use crate::{
    connection::{Entry, Key},
    kernel::{Listener, TcpSock, has},
    ring,
    settings::constant,
};

/// Where a process listens, on any address.
#[repr(C)]
#[derive(Clone, Copy)]
struct Endpoint {
    netns: u32,
    port: u32,
}

/// The process that listens.
#[repr(C)]
#[derive(Clone, Copy)]
struct Owner {
    start_ns: u64,
    comm: [u64; 2],
    tgid: u64,
}

#[btf_map(name = "LISTENERS")]
static LISTENERS: LruHashMap<Endpoint, Owner, { tables::LISTENERS }> = LruHashMap::new();

/// Stores the owner of a listener for the connections that it accepts.
#[inline(always)]
pub(crate) fn store_owner(entry: &Entry, port: u16) {
    if constant!(SETTINGS.hash_storage) == 0 {
        return;
    }
    let owner = Owner {
        start_ns: entry.connection.owner_start_ns.get(),
        comm: array(&entry.connection.comm),
        tgid: entry.connection.tgid.get().into(),
    };
    let endpoint = Endpoint {
        netns: entry.connection.netns.get(),
        port: u32::from(port),
    };
    let _full = LISTENERS.insert(endpoint, owner, u64::from(BPF_ANY));
}

/// Copies the owner of the listener to an accepted connection.
#[inline(always)]
pub(crate) fn inherit_owner(entry: &Entry, port: u16) {
    if constant!(SETTINGS.hash_storage) == 0 {
        return;
    }
    let endpoint = Endpoint {
        netns: entry.connection.netns.get(),
        port: u32::from(port),
    };
    let Some(owner) = LISTENERS.get_ptr(endpoint) else {
        return;
    };
    let mut copied = MaybeUninit::<Owner>::uninit();
    // SAFETY: an element that the kernel keeps until the program ends (RCU), made of words; all
    // of the copy is written.
    let owner = unsafe {
        ring::copy(owner, copied.as_mut_ptr());
        copied.assume_init()
    };
    entry.connection.owner_start_ns.set(owner.start_ns);
    set_array(&entry.connection.comm, owner.comm);
    entry.connection.tgid.set(owner.tgid as u32);
}

/// The sockets that listen on a port.
#[repr(C)]
struct Listening {
    count: Shared<u64>,
    /// The one that began last, by [`Key::address`]. It may be gone.
    latest: Shared<u64>,
}

/// Sockets that listen on each port, on any address.
#[btf_map(name = "LISTENING")]
static LISTENING: LruHashMap<Endpoint, Listening, { tables::LISTENING }> = LruHashMap::new();

/// A socket listens.
#[inline(always)]
pub(crate) fn opened(netns: u32, port: u16, key: Key) {
    if let Some(known) = listening(netns, port) {
        known.count.add_at_once(1);
        known.latest.set(key.address());
        return;
    }
    let endpoint = Endpoint {
        netns,
        port: u32::from(port),
    };
    let first = Listening {
        count: Shared::new(1),
        latest: Shared::new(key.address()),
    };
    let _full = LISTENING.insert(endpoint, first, u64::from(BPF_ANY));
}

/// A socket listens no more. One that began before anybody counted is not taken off.
#[inline(always)]
pub(crate) fn closed(netns: u32, port: u16) {
    if let Some(known) = listening(netns, port)
        && known.count.get() > 0
    {
        known.count.add_at_once(1_u64.wrapping_neg());
    }
}

/// Sets how busy the listener is that began last on this port.
///
/// # Safety
///
/// `into` is valid for reads and writes.
#[inline(always)]
pub(crate) unsafe fn load_at(into: *mut Load, netns: u32, port: u16) {
    let Some(known) = listening(netns, port) else {
        return;
    };
    let listener = Listener::of_address(known.latest.get());
    let (queue, limit, drops) = (
        listener.ack_backlog(),
        listener.max_ack_backlog(),
        listener.drops(),
    );
    // Asked last: what was read before that is this listener's.
    if listener.is_at(netns, port) {
        // SAFETY: by the caller's contract.
        unsafe { set_load(into, queue, limit, drops) }
    }
}

/// Sets how busy a listener is.
///
/// # Safety
///
/// `into` is valid for reads and writes.
#[inline(always)]
pub(crate) unsafe fn load_of(into: *mut Load, listener: TcpSock) {
    // SAFETY: by the caller's contract.
    unsafe {
        set_load(
            into,
            listener.ack_backlog(),
            listener.max_ack_backlog(),
            listener.drops(),
        );
    }
}

/// # Safety
///
/// `into` is valid for reads and writes.
#[inline(always)]
unsafe fn set_load(into: *mut Load, queue: u32, limit: u32, drops: u32) {
    let mut present = 0;
    if has!(sk_ack_backlog) && has!(sk_max_ack_backlog) {
        present |= load_present::ACCEPT_QUEUE;
    }
    if has!(sk_drops) {
        present |= load_present::DROPS;
    }
    // SAFETY: by the caller's contract.
    unsafe {
        (*into).accept_queue = queue;
        (*into).accept_limit = limit;
        (*into).listener_drops = drops;
        (*into).present |= present;
    }
}

/// The [`event_flag`] that says whether a socket listens on this port; 0 if that
/// is not known.
#[inline(always)]
pub(crate) fn flag(netns: u32, port: u16) -> u16 {
    match listening(netns, port) {
        Some(known) if known.count.get() > 0 => event_flag::LISTENED,
        Some(_) => event_flag::NOT_LISTENED,
        None => 0,
    }
}

/// How many listen there, as long as anybody counted.
#[inline(always)]
fn listening(netns: u32, port: u16) -> Option<&'static Listening> {
    let endpoint = Endpoint {
        netns,
        port: u32::from(port),
    };
    let known = LISTENING.get_ptr(endpoint)?;
    // SAFETY: an element that the kernel keeps until the program ends (RCU), and `Shared`.
    unsafe { known.as_ref() }
}
