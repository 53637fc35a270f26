//! Brokers that a reset came from lately: only for these is a new connection
//! worth a record.

use aya_ebpf::{bindings::BPF_ANY, btf_maps::LruHashMap, macros::btf_map};

use crate::{
    connection::now_ns,
    kernel::{AF_INET6, Sock},
    snapshot::remote_port,
};

/// How long a broker counts as troubled, nanoseconds.
const LATELY_NS: u64 = 3_000_000_000;

/// A broker as a client reaches it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Broker {
    address: [u64; 2],
    netns: u32,
    port: u32,
}

/// When the latest reset was.
#[btf_map(name = "TROUBLED")]
static TROUBLED: LruHashMap<Broker, u64, 4096> = LruHashMap::new();

impl Broker {
    #[inline(always)]
    fn of(sock: Sock) -> Self {
        let address = if sock.family() == AF_INET6 {
            sock.v6_daddr()
        } else {
            [u64::from(sock.daddr()), 0]
        };
        Self {
            address,
            netns: sock.netns(),
            port: u32::from(remote_port(sock)),
        }
    }
}

/// Notes that a reset came from the socket's peer.
#[inline(always)]
pub(crate) fn note(sock: Sock) {
    let _full = TROUBLED.insert(Broker::of(sock), now_ns(), u64::from(BPF_ANY));
}

/// A reset came from the socket's peer lately.
#[inline(always)]
pub(crate) fn is_recent(sock: Sock) -> bool {
    match TROUBLED.get_ptr_mut(Broker::of(sock)) {
        // SAFETY: an entry that the kernel keeps until the program ends (RCU).
        Some(at) => now_ns().wrapping_sub(unsafe { *at }) < LATELY_NS,
        None => false,
    }
}
