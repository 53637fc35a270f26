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
    PORTS.get(word(port)).is_some_and(|bits| bits & bit(port) != 0)
}

/// The role of a socket by its ports; `None` if neither is traced.
///
/// Where both are, nothing but the handshake can tell: the caller that saw
/// connect() overrides it.
#[inline(always)]
pub(crate) fn role(local_port: u16, remote_port: u16) -> Option<u8> {
    if traced(local_port) {
        Some(role::BROKER)
    } else if traced(remote_port) {
        Some(role::CLIENT)
    } else {
        None
    }
}

/// A socket or packet of network namespace `netns` is traced. One whose
/// namespace cannot be known is not, where only one was asked for.
#[inline(always)]
pub(crate) fn netns(netns: Option<u32>) -> bool {
    let only = constant!(SETTINGS.netns);
    only == 0 || netns == Some(only)
}
