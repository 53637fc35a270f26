//! Records a received RST until the kernel accepts it.

use kreset_common::record::{Packets, packets_flag as seen};

use crate::segment::Segment;

/// Keeps a RST beside the peer's other packets, to be compared with them.
///
/// Of two with the same sequence number the kernel accepts the first, which may
/// be in the socket's backlog when the second arrives (`tcp_v4_rcv`,
/// `tcp_validate_incoming`, 6.18). One with another number replaces it: the
/// kernel may accept that one. So does one without payload after one with payload: of
/// long packets the checksum is verified only after the packet programs have run
/// (`CHECKSUM_BREAK` of `skb_checksum_init`, `tcp_checksum_complete`; 5.10 to 7.3).
#[inline(always)]
pub const fn record_reset(packets: &mut Packets, segment: &Segment) {
    let replaces_doubtful = packets.flags & seen::RESET_PAYLOAD != 0 && segment.payload_len == 0;
    if packets.flags & seen::RESET != 0
        && packets.reset_seq == segment.sequence
        && !replaces_doubtful
    {
        return;
    }
    packets.flags |= seen::RESET;
    if segment.payload_len > 0 {
        packets.flags |= seen::RESET_PAYLOAD;
    } else {
        packets.flags &= !seen::RESET_PAYLOAD;
    }
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
