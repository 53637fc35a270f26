//! The kernel side's own packet parser, compiled for this host.

#[path = "../../kreset-ebpf/src/payload.rs"]
mod payload;
#[path = "../../kreset-ebpf/src/reset.rs"]
mod reset;
#[path = "../../kreset-ebpf/src/segment.rs"]
mod segment;
#[path = "slice.rs"]
mod slice;

use kreset_common::record::{Packets, REQUEST_HEAD, RESPONSE_HEAD};
use zerocopy::FromZeros as _;

use self::{
    payload::{Way, payload},
    reset::reset_came,
    segment::{Segment, tcp_flag},
    slice::Slice,
};

/// The packets of one connection, each a byte that says which way, two for its
/// length, and its bytes from the network header on.
pub(crate) fn packet(bytes: &[u8]) {
    let mut packets = Packets::new_zeroed();
    let mut rest = bytes;
    while let [way, low, high, after @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (packet, after) = after.split_at(length);
        rest = after;
        one(&mut packets, *way, packet);
    }
    assert!(usize::from(packets.request_len) <= REQUEST_HEAD);
    assert!(usize::from(packets.response_len) <= RESPONSE_HEAD);
}

fn one(packets: &mut Packets, way: u8, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("no packet is longer");
    let packet = Slice {
        bytes,
        linear: bytes.len(),
    };
    let parsed = Segment::parse(&packet, length);
    let pieces = Slice { bytes, linear: 0 };
    assert_eq!(
        Segment::parse(&pieces, length),
        parsed,
        "where bytes lie changes what they say"
    );
    let Some(segment) = parsed else {
        return;
    };
    let sent = segment.payload_len;
    assert!(
        sent == 0 || segment.payload + sent == length,
        "payload that is not there"
    );
    assert!(segment.consumes() - sent <= 1);
    let way_in = way & 1 == 0;
    let way = if way_in { Way::In } else { Way::Out };
    if way_in && segment.has(tcp_flag::RST) {
        reset_came(packets, &segment);
        assert_eq!(packets.reset_seq, segment.sequence);
    }
    if sent > 0 {
        let before = [packets.data_in, packets.data_out];
        let _nothing_telling = payload(packets, &packet, &segment, way, way_in);
        let after = [packets.data_in, packets.data_out];
        assert_eq!(
            after[usize::from(!way_in)],
            before[usize::from(!way_in)] + 1
        );
        assert_eq!(after[usize::from(way_in)], before[usize::from(way_in)]);
    }
}
