//! How many sockets listen on a port, and owners of listeners, for kernels on which accepted connections do not inherit
//! the entry of their listener (before 5.11). Of two listeners on one port of a
//! network namespace, the later one counts.

use core::mem::MaybeUninit;

use aya_ebpf::{bindings::BPF_ANY, btf_maps::LruHashMap, macros::btf_map};
use kreset_common::record::event_flag;
use kreset_ebpf::shared::{Shared, array, set_array};

use crate::{connection::Entry, ring, settings::constant};

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
static LISTENERS: LruHashMap<Endpoint, Owner, 1024> = LruHashMap::new();

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

/// Sockets that listen on each port, on any address.
#[btf_map(name = "LISTENING")]
static LISTENING: LruHashMap<Endpoint, Shared<u32>, 1024> = LruHashMap::new();

/// A socket listens. Two CPUs may count at once: then one is lost, and
/// [`closed`] never counts below 0.
#[inline(always)]
pub(crate) fn opened(netns: u32, port: u16) {
    if let Some(count) = listening(netns, port) {
        count.set(count.get().wrapping_add(1));
        return;
    }
    let endpoint = Endpoint {
        netns,
        port: u32::from(port),
    };
    let _full = LISTENING.insert(endpoint, Shared::new(1), u64::from(BPF_ANY));
}

/// A socket listens no more.
#[inline(always)]
pub(crate) fn closed(netns: u32, port: u16) {
    if let Some(count) = listening(netns, port) {
        count.set(count.get().saturating_sub(1));
    }
}

/// The [`event_flag`] that says whether a socket listens on this port; 0 if that
/// is not known.
#[inline(always)]
pub(crate) fn flag(netns: u32, port: u16) -> u16 {
    match listening(netns, port) {
        Some(count) if count.get() > 0 => event_flag::LISTENED,
        Some(_) => event_flag::NOT_LISTENED,
        None => 0,
    }
}

/// How many listen there, as long as anybody counted.
#[inline(always)]
fn listening(netns: u32, port: u16) -> Option<&'static Shared<u32>> {
    let endpoint = Endpoint {
        netns,
        port: u32::from(port),
    };
    let count = LISTENING.get_ptr(endpoint)?;
    // SAFETY: an element that the kernel keeps until the program ends (RCU), and `Shared`.
    unsafe { count.as_ref() }
}
