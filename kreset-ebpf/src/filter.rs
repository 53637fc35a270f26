//! Which sockets are traced: by port and by network namespace.

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use kreset_common::{
    ports::{PORT_WORDS, bit, word},
    record::role,
};

use crate::settings::{SETTINGS, constant, read};

/// One bit for each port; for lists that need more than a few ranges.
#[btf_map(name = "PORTS")]
static PORTS: Array<u64, { PORT_WORDS as usize }> = Array::new();

/// `port` (host order) is traced.
#[inline(always)]
pub(crate) fn traced(port: u16) -> bool {
    let count = constant!(SETTINGS.port_range_count);
    if count != 0 {
        return in_range(port, 0)
            || (count > 1 && in_range(port, 1))
            || (count > 2 && in_range(port, 2))
            || (count > 3 && in_range(port, 3));
    }
    match PORTS.get(word(port)) {
        Some(bits) => bits & bit(port) != 0,
        None => false,
    }
}

#[inline(always)]
fn in_range(port: u16, range: usize) -> bool {
    let range = &SETTINGS.port_ranges[range];
    u32::from(port).wrapping_sub(read(&range.first)) <= read(&range.more)
}

/// The role of a socket by its ports; `role::UNKNOWN` if neither is traced.
///
/// Where both are, only the handshake decides: the hook of `connect()` overrides
/// this.
#[inline(always)]
pub(crate) fn role(local_port: u16, remote_port: u16) -> u8 {
    if traced(local_port) {
        role::BROKER
    } else if traced(remote_port) {
        role::CLIENT
    } else {
        role::UNKNOWN
    }
}

/// Network namespace `netns` is traced. An unknown one (0) is not, if only one
/// namespace is traced.
#[inline(always)]
pub(crate) fn netns(netns: u32) -> bool {
    let only = constant!(SETTINGS.netns);
    only == 0 || netns == only
}
