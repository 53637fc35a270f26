//! What the kernel knows of a connection of this process.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd as _},
    time::Duration,
};

/// Parts of `struct tcp_info` (include/uapi/linux/tcp.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Info {
    /// Since an acknowledgement came in last (`tcpi_last_ack_recv`). The answer to
    /// a keepalive probe counts, as every segment that passes for an
    /// acknowledgement does (`tcp_ack`, 6.18).
    pub(super) last_ack: Duration,
    /// Smoothed round trip (`tcpi_rtt`).
    pub(super) round_trip: Duration,
    /// Segments that came in (`tcpi_segs_in`, since 4.2), out of window or not
    /// (`tcp_segs_in` in `tcp_v4_rcv`, 6.18): keepalive probes of the other end
    /// show nowhere else.
    pub(super) segments_in: u32,
    /// Segments that went out (`tcpi_segs_out`, since 4.2), keepalive probes among
    /// them (`__tcp_transmit_skb`, 6.18).
    pub(super) segments_out: u32,
}

/// The layout as far as it is read here; what follows was added later.
#[repr(C)]
struct Head {
    bytes: [u8; 8],
    before: [u32; 12],
    last_ack_recv: u32,
    between: [u32; 2],
    rtt: u32,
    after: [u32; 8],
    rates: [u64; 4],
    segs_out: u32,
    segs_in: u32,
}

const _: () = assert!(core::mem::offset_of!(Head, last_ack_recv) == 56);
const _: () = assert!(core::mem::offset_of!(Head, rtt) == 68);
const _: () = assert!(core::mem::offset_of!(Head, segs_in) == 140);

/// Asks for it.
pub(super) fn info(socket: &impl AsFd) -> io::Result<Info> {
    let mut head = MaybeUninit::<Head>::zeroed();
    let mut length = size_of::<Head>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is what there is room for.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            head.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: integers, all zeroed and then perhaps written by the kernel.
    let head = unsafe { head.assume_init() };
    Ok(Info {
        last_ack: Duration::from_millis(head.last_ack_recv.into()),
        round_trip: Duration::from_micros(head.rtt.into()),
        segments_in: head.segs_in,
        segments_out: head.segs_out,
    })
}
