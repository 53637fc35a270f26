//! Which connections are settled: their beginning is known, and their packets are
//! looked at closely only around silences and at their end.

/// Data segments sent, and bytes received, from which on a connection is settled: its
/// first exchange is long over.
const SEGMENTS_OUT: u32 = 32;
const BYTES_IN: u64 = 64;
/// The same where nearly everything goes one way: a long fetch, a producer that asks for
/// no answers. More than any handshake takes.
const FEW_SEGMENTS_OUT: u32 = 3;
const MANY_BYTES_IN: u64 = 64 << 10;

/// Of a settled connection that is busy, the packet programs look closely at one inbound
/// packet in so many: the peer's TTL is never older.
pub const SAMPLE: u32 = 64;

/// How long after the peer was last heard from packets still count as busy, ms. Shorter
/// than delayed acknowledgements wait (kernel: `TCP_DELACK_MIN`, 40 ms), so that those
/// are seen.
pub const BUSY_MS: u32 = 32;

/// Whether a connection is settled, by `tcp_sock.data_segs_out` and `bytes_received`.
///
/// Both count what this host and its peer really sent, and nothing that another host makes
/// up: the latter counts what was accepted in order.
#[inline(always)]
#[must_use]
pub const fn is_settled(data_segs_out: u32, bytes_received: u64) -> bool {
    (data_segs_out >= SEGMENTS_OUT && bytes_received >= BYTES_IN)
        || (data_segs_out >= FEW_SEGMENTS_OUT && bytes_received >= MANY_BYTES_IN)
}

/// The kernel knows of activity after the last packet that was recorded: packets in
/// between were not looked at. Both are jiffies; they may be a tick apart for one packet.
#[inline(always)]
#[must_use]
pub const fn is_later(kernel: u32, recorded: u32) -> bool {
    (kernel.wrapping_sub(recorded) as i32) > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_exchange_is_not_settled_however_long_its_request() {
        assert!(!is_settled(1_000, 0), "no answer yet");
        assert!(!is_settled(1, 1 << 20), "one request, a large answer");
        assert!(!is_settled(12, 9_000), "TLS and SASL");
        assert!(is_settled(32, 2_000));
        assert!(is_settled(3, 1 << 20), "a fetch");
    }

    #[test]
    fn one_packet_is_not_later_than_itself() {
        assert!(!is_later(8, 7) && !is_later(7, 7) && !is_later(6, 7));
        assert!(is_later(9, 7) && is_later(1, u32::MAX));
    }
}
