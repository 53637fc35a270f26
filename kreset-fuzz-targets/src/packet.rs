//! The packet parser of the kernel side.

use kreset_common::record::{Packets, REQUEST_HEAD, RESPONSE_HEAD};
use kreset_ebpf::{
    payload::{Direction, record_payload},
    reset::record_reset,
    segment::{Bytes, Segment, tcp_flag},
    shared::SharedPackets,
};
use zerocopy::FromZeros as _;

/// The packets of one connection: for each a byte for its direction, two for its
/// length, and its bytes from the network header on.
pub fn packet(bytes: &[u8]) {
    let mut packets = Packets::new_zeroed();
    let mut rest = bytes;
    while let [direction, low, high, after @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (packet, after) = after.split_at(length);
        rest = after;
        one(&mut packets, *direction, packet);
    }
    assert!(usize::from(packets.request_len) <= REQUEST_HEAD);
    assert!(usize::from(packets.response_len) <= RESPONSE_HEAD);
}

fn one(packets: &mut Packets, direction: u8, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("no packet is longer");
    let packet = Bytes {
        bytes,
        linear: bytes.len(),
    };
    let parsed = Segment::parse(&packet, length);
    let pieces = Bytes { bytes, linear: 0 };
    assert_eq!(
        Segment::parse(&pieces, length),
        parsed,
        "the linear part changes the result"
    );
    let Some(segment) = parsed else {
        return;
    };
    let sent = segment.payload_len;
    assert!(
        sent == 0 || segment.payload + sent == length,
        "payload beyond the end"
    );
    assert!(segment.consumes() - sent <= 1);
    let is_in = direction & 1 == 0;
    let direction = if is_in { Direction::In } else { Direction::Out };
    if is_in && segment.has(tcp_flag::RST) {
        record_reset(SharedPackets::of(packets), &segment);
        assert_eq!(packets.reset_seq, segment.sequence);
    }
    if sent > 0 {
        let before = [packets.data_in, packets.data_out];
        let _incomplete = record_payload(
            SharedPackets::of(packets),
            &packet,
            &segment,
            direction,
            is_in,
        );
        let after = [packets.data_in, packets.data_out];
        assert_eq!(after[usize::from(!is_in)], before[usize::from(!is_in)] + 1);
        assert_eq!(after[usize::from(is_in)], before[usize::from(is_in)]);
    }
}
