//! Brokers that recently sent a reset: a new connection to one of these is
//! reported.

use aya_ebpf::{
    bindings::BPF_ANY,
    btf_maps::{Array, LruHashMap},
    macros::btf_map,
};

use kreset_common::{settings::RECENT_RESET_NS, tables};
use kreset_ebpf::shared::Shared;

use crate::{
    connection::now_ns,
    kernel::{AF_INET6, Sock},
    snapshot::remote_port,
};

/// A broker as its clients address it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Broker {
    address: [u64; 2],
    netns: u32,
    port: u32,
}

/// Time of the latest reset, `CLOCK_MONOTONIC`, nanoseconds.
#[btf_map(name = "RECENT_RESETS")]
static RECENT_RESETS: LruHashMap<Broker, Shared<u64>, { tables::RECENT_RESETS }> =
    LruHashMap::new();

/// Time of the latest reset from any broker: most connections begin long after it.
#[btf_map(name = "RESET_LATEST")]
static LATEST: Array<Shared<u64>, 1> = Array::new();

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

/// Records a reset from the socket's peer.
#[inline(always)]
pub(crate) fn record(sock: Sock) {
    let now = now_ns();
    let _full = RECENT_RESETS.insert(Broker::of(sock), Shared::new(now), u64::from(BPF_ANY));
    if let Some(latest) = LATEST.get(0) {
        latest.set(now);
    }
}

/// The socket's peer has sent a reset recently, as of `now_ns`.
#[inline(always)]
pub(crate) fn contains(sock: Sock, now_ns: u64) -> bool {
    // Another CPU may have set it since.
    let is_recent = |at: &Shared<u64>| now_ns.saturating_sub(at.get()) < RECENT_RESET_NS;
    if !LATEST.get(0).is_some_and(is_recent) {
        return false;
    }
    let at = RECENT_RESETS.get_ptr(Broker::of(sock));
    // SAFETY: an entry that the kernel keeps until the program ends (RCU), and `Shared`.
    at.and_then(|at| unsafe { at.as_ref() })
        .is_some_and(is_recent)
}
