//! Packets that did not fit a packet socket's buffer.

use std::{
    mem::MaybeUninit,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::libc;

/// Packets that `socket` lost since this was last asked; packet(7), `PACKET_STATISTICS`.
pub(crate) fn since_last_asked(socket: &OwnedFd) -> u64 {
    let mut statistics = MaybeUninit::<libc::tpacket_stats>::zeroed();
    let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is what there is room for.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            statistics.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return 0;
    }
    // SAFETY: integers, all zeroed and then perhaps written by the kernel.
    unsafe { statistics.assume_init() }.tp_drops.into()
}
