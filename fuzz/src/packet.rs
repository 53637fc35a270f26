//! The kernel side's own packet parser, compiled for this host.

#[path = "../../kreset-ebpf/src/payload.rs"]
mod payload;
#[path = "../../kreset-ebpf/src/reset.rs"]
mod reset;
#[path = "../../kreset-ebpf/src/segment.rs"]
mod segment;

use std::mem::MaybeUninit;

use kreset_common::record::{Packets, REQUEST_HEAD, RESPONSE_HEAD};
use zerocopy::FromZeros as _;

use self::{
    payload::{Way, payload},
    reset::reset_came,
    segment::{Packet, Segment, tcp_flag},
};

/// A packet in memory, as `bpf_skb_load_bytes` reads one in the kernel.
struct Slice<'a> {
    bytes: &'a [u8],
    /// How many of them lie in one piece.
    linear: usize,
}

impl Packet for Slice<'_> {
    fn in_place<const N: usize>(&self) -> Option<&[u8; N]> {
        self.bytes.get(..self.linear)?.first_chunk()
    }

    fn load<'a, const N: usize>(
        &self,
        offset: u32,
        into: &'a mut MaybeUninit<[u8; N]>,
    ) -> Option<&'a [u8; N]> {
        let offset = usize::try_from(offset).ok()?;
        Some(into.write(*self.bytes.get(offset..)?.first_chunk()?))
    }

    fn load_over<const N: usize>(&self, offset: u32, into: &mut [u8; N]) -> Option<()> {
        *into = *self.load(offset, &mut MaybeUninit::uninit())?;
        Some(())
    }
}

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
