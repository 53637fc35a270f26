//! Sequence numbers, which wrap (RFC 9293, 3.4).

/// The sequence numbers of the first data byte of this end and of its peer: they name the
/// connection at both ends, whatever rewrites its addresses.
///
/// `at` is `snd_una` and `rcv_nxt`, `bytes` is `bytes_acked` and `bytes_received`, of which
/// the low half is enough. The end that called `connect()` counts its SYN among the bytes
/// acknowledged (kernel: `tcp_rcv_synsent_state_process` calls `tcp_ack` with `snd_una` at
/// the SYN); the accepting end starts after its own (`tcp_create_openreq_child`); neither
/// counts the peer's (5.10 to 6.18). A FIN is in both numbers.
#[inline(always)]
#[must_use]
pub const fn first_sequences(is_active: bool, at: [u32; 2], bytes: [u32; 2]) -> [u32; 2] {
    [
        at[0].wrapping_sub(bytes[0]).wrapping_add(is_active as u32),
        at[1].wrapping_sub(bytes[1]),
    ]
}

/// Whether a packet with these numbers may be of an ended connection.
///
/// That one had sent up to `snd_nxt` and received up to `rcv_nxt`. Of the packets of a later
/// connection with the same ends one in 32,768 passes.
#[inline(always)]
#[must_use]
pub const fn may_follow(sequence: u32, acknowledged: u32, snd_nxt: u32, rcv_nxt: u32) -> bool {
    /// More than a connection has in flight.
    const NEAR: u32 = 1 << 24;
    // The FIN may have been sent after `snd_nxt` was noted.
    let unacknowledged = snd_nxt.wrapping_add(1).wrapping_sub(acknowledged);
    let ahead = sequence.wrapping_sub(rcv_nxt).wrapping_add(NEAR);
    unacknowledged < NEAR && ahead < 2 * NEAR
}
