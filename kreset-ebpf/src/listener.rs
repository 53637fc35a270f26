//! How many sockets listen on a port, and owners of listeners, for kernels on which accepted connections do not inherit
//! the entry of their listener (before 5.11). Of two listeners on one port of a
//! network namespace, the later one counts.

use aya_ebpf::{bindings::BPF_ANY, btf_maps::LruHashMap, macros::btf_map};

use kreset_common::record::event_flag;

use crate::{connection::Entry, settings::constant};

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
    comm: [u8; 16],
    tgid: u32,
    padding: u32,
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
        start_ns: entry.connection.owner_start_ns,
        comm: entry.connection.comm,
        tgid: entry.connection.tgid,
        padding: 0,
    };
    let endpoint = Endpoint {
        netns: entry.connection.netns,
        port: u32::from(port),
    };
    let _full = LISTENERS.insert(endpoint, owner, u64::from(BPF_ANY));
}

/// Copies the owner of the listener to an accepted connection.
#[inline(always)]
pub(crate) fn inherit_owner(entry: &mut Entry, port: u16) {
    if constant!(SETTINGS.hash_storage) == 0 {
        return;
    }
    let endpoint = Endpoint {
        netns: entry.connection.netns,
        port: u32::from(port),
    };
    if let Some(owner) = LISTENERS.get_ptr_mut(endpoint) {
        // SAFETY: an entry that the kernel keeps until the program ends (RCU).
        let owner = unsafe { *owner };
        entry.connection.owner_start_ns = owner.start_ns;
        entry.connection.comm = owner.comm;
        entry.connection.tgid = owner.tgid;
    }
}

/// Sockets that listen on each port, on any address.
#[btf_map(name = "LISTENING")]
static LISTENING: LruHashMap<Endpoint, u32, 1024> = LruHashMap::new();

/// A socket listens. Two CPUs may count at once: then one is lost, and
/// [`closed`] never counts below 0.
#[inline(always)]
pub(crate) fn opened(netns: u32, port: u16) {
    let endpoint = Endpoint {
        netns,
        port: u32::from(port),
    };
    match LISTENING.get_ptr_mut(endpoint) {
        // SAFETY: an entry that the kernel keeps until the program ends (RCU).
        Some(count) => unsafe { *count += 1 },
        None => {
            let _full = LISTENING.insert(endpoint, 1, u64::from(BPF_ANY));
        }
    }
}

/// A socket listens no more.
#[inline(always)]
pub(crate) fn closed(netns: u32, port: u16) {
    let endpoint = Endpoint {
        netns,
        port: u32::from(port),
    };
    if let Some(count) = LISTENING.get_ptr_mut(endpoint) {
        // SAFETY: an entry that the kernel keeps until the program ends (RCU).
        unsafe {
            if *count > 0 {
                *count -= 1;
            }
        }
    }
}

/// The [`event_flag`] that says whether a socket listens on this port; 0 if that
/// is not known.
#[inline(always)]
pub(crate) fn flag(netns: u32, port: u16) -> u16 {
    let endpoint = Endpoint {
        netns,
        port: u32::from(port),
    };
    match LISTENING.get_ptr_mut(endpoint) {
        // SAFETY: an entry that the kernel keeps until the program ends (RCU).
        Some(count) if unsafe { *count } > 0 => event_flag::LISTENED,
        Some(_) => event_flag::NOT_LISTENED,
        None => 0,
    }
}
