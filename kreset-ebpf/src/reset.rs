//! Records a received RST until the kernel accepts it.

use kreset_common::record::packets_flag as seen;

use crate::{segment::Segment, shared::SharedPackets};

/// Keeps a RST beside the peer's other packets, to be compared with them.
///
/// Of two with the same sequence number the kernel accepts the first, which may
/// be in the socket's backlog when the second arrives (`tcp_v4_rcv`,
/// `tcp_validate_incoming`, 6.18). One with another number replaces it: the
/// kernel may accept that one. So does one without payload after one with payload: of
/// long packets the checksum is verified only after the packet programs have run
/// (`CHECKSUM_BREAK` of `skb_checksum_init`, `tcp_checksum_complete`; 5.10 to 7.3).
#[inline(always)]
pub fn record_reset(packets: &SharedPackets, segment: &Segment) {
    let flags = packets.flags.get();
    let replaces_doubtful = flags & seen::RESET_PAYLOAD != 0 && segment.payload_len == 0;
    if flags & seen::RESET != 0 && packets.reset_seq.get() == segment.sequence && !replaces_doubtful
    {
        return;
    }
    packets.reset_seq.set(segment.sequence);
    packets.reset_ip_id.set(segment.ip_id);
    packets.reset_window.set(segment.window);
    packets.reset_ttl.set(segment.ttl);
    packets.reset_flags.set(segment.flags);
    packets.reset_header.set(segment.header_len as u8);
    let mut kinds = seen::RESET;
    if segment.payload_len > 0 {
        kinds |= seen::RESET_PAYLOAD;
    }
    if segment.is_v4 {
        kinds |= seen::RESET_IP_ID;
    }
    packets.flags.set((flags & !seen::RESET_PAYLOAD) | kinds);
}
