//! Which sockets are traced: by port and by network namespace.

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use kreset_common::{
    ports::{PORT_WORDS, bit, word},
    record::role,
};

use crate::settings::constant;

/// One bit for each port.
#[btf_map(name = "PORTS")]
static PORTS: Array<u64, { PORT_WORDS as usize }> = Array::new();

/// `port` (host order) is traced.
#[inline(always)]
pub(crate) fn traced(port: u16) -> bool {
    match PORTS.get(word(port)) {
        Some(bits) => bits & bit(port) != 0,
        None => false,
    }
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
