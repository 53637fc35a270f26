//! What is kept of a RST that comes in, until the kernel accepts it.
//!
//! Knows nothing of BPF, so that tests run the same code on a host.

use kreset_common::record::{Packets, packets_flag as seen};

use super::segment::Segment;

/// A RST: kept beside the peer's other packets, to be compared with them. Of two
/// with one sequence number the kernel accepts the first, which may wait in the
/// socket's backlog while the second comes (`tcp_v4_rcv`, `tcp_validate_incoming`,
/// 6.18); one with another number may be the one that it waits for.
#[inline(always)]
pub(crate) const fn reset_came(packets: &mut Packets, segment: &Segment) {
    if packets.flags & seen::RESET != 0 && packets.reset_seq == segment.sequence {
        return;
    }
    packets.flags |= seen::RESET;
    if segment.is_v4 {
        packets.flags |= seen::RESET_IP_ID;
    }
    packets.reset_seq = segment.sequence;
    packets.reset_ip_id = segment.ip_id;
    packets.reset_window = segment.window;
    packets.reset_ttl = segment.ttl;
    packets.reset_flags = segment.flags;
    packets.reset_header = segment.header_len as u8;
}
