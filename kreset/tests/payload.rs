//! What first bytes and requests are seen, however a client divides them: the kernel side's own
//! code, compiled for this host.

#[path = "../../kreset-ebpf/src/payload.rs"]
mod payload;
#[expect(
    dead_code,
    reason = "the kernel side's parser, of which a part is enough"
)]
#[path = "../../kreset-ebpf/src/segment.rs"]
mod segment;
#[path = "../../fuzz/src/slice.rs"]
mod slice;

use kreset_common::record::{Packets, REQUEST_HEAD, RESPONSE_HEAD, packets_flag as seen};
use payload::{Way, payload};
use segment::Segment;
use slice::Slice;
use zerocopy::FromZeros as _;

/// A client and its broker, as the broker's host sees them.
struct Talk {
    packets: Packets,
    next: u32,
}

impl Talk {
    fn new() -> Self {
        Self {
            packets: Packets::new_zeroed(),
            next: u32::MAX - 2,
        }
    }

    fn segment(&mut self, bytes: &[u8], sequence: u32, by_client: bool) {
        let segment = Segment {
            ttl: 64,
            is_v4: true,
            ip_id: 0,
            sequence,
            flags: 0,
            window: 0,
            header_len: 20,
            payload: 0,
            payload_len: u32::try_from(bytes.len()).expect("a segment"),
        };
        let way = if by_client { Way::In } else { Way::Out };
        let _what_it_shows = payload(
            &mut self.packets,
            &Slice { bytes, linear: 0 },
            &segment,
            way,
            by_client,
        );
    }

    /// The client says `bytes`, in segments of these lengths, and the rest.
    fn client(mut self, bytes: &[u8], lengths: &[usize]) -> Self {
        let mut rest = bytes;
        for length in lengths.iter().copied().chain([usize::MAX]) {
            let (segment, after) = rest.split_at(length.min(rest.len()));
            self.segment(segment, self.next, true);
            self.next = self
                .next
                .wrapping_add(u32::try_from(segment.len()).expect("a segment"));
            rest = after;
        }
        self
    }

    fn broker(mut self, bytes: &[u8]) -> Self {
        self.segment(bytes, 1, false);
        self
    }

    fn head(&self) -> &[u8] {
        &self.packets.request_head[..usize::from(self.packets.request_len)]
    }
}

/// A request of 30 bytes behind its length: the key, version 1, correlation 7, and a name.
fn request(api_key: u8) -> Vec<u8> {
    let mut request = vec![0, 0, 0, 30, 0, api_key, 0, 1, 0, 0, 0, 7, 0, 20];
    request.extend([b'n'; 20]);
    request
}

const ANSWER: [u8; 12] = [0, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0, 0];
const API_VERSIONS: u8 = 18;
const SASL_HANDSHAKE: u8 = 17;
const FETCH: u8 = 1;

#[test]
fn first_bytes_are_kept_up_to_the_last_that_came_or_has_room() {
    let bytes: Vec<u8> = (1..=200).collect();
    for len in 1..=bytes.len() {
        let said = &bytes[..len];
        let talk = Talk::new().client(said, &[]).broker(said);
        assert_eq!(talk.head(), &said[..len.min(REQUEST_HEAD)]);
        let answered = usize::from(talk.packets.response_len);
        assert_eq!(answered, len.min(RESPONSE_HEAD));
        assert_eq!(talk.packets.response_head[..answered], said[..answered]);
    }
}

#[test]
fn a_request_is_known_though_its_length_came_alone() {
    let whole = Talk::new().client(&request(API_VERSIONS), &[]);
    let split = Talk::new().client(&request(API_VERSIONS), &[4]);
    for talk in [whole, split] {
        assert_eq!(talk.head(), request(API_VERSIONS));
        assert_ne!(talk.packets.flags & seen::API_KEY, 0);
        assert_eq!(talk.packets.api_key, u16::from(API_VERSIONS));
    }
}

#[test]
fn so_are_those_that_follow() {
    let talk = Talk::new()
        .client(&request(API_VERSIONS), &[4])
        .broker(&ANSWER)
        .client(&request(SASL_HANDSHAKE), &[4]);
    assert_ne!(talk.packets.flags & seen::SASL, 0);
    assert_eq!(talk.packets.api_key, u16::from(SASL_HANDSHAKE));
    assert_eq!(talk.head(), request(API_VERSIONS));
}

#[test]
fn a_length_that_is_sent_again_is_not_what_it_announced() {
    let mut talk = Talk::new();
    let request = request(FETCH);
    let (length, rest) = request.split_at(4);
    talk.segment(length, 100, true);
    talk.segment(length, 100, true);
    assert_eq!(talk.head(), length);
    assert_eq!(talk.packets.flags & seen::API_KEY, 0);
    talk.segment(rest, 104, true);
    assert_eq!(talk.head(), request);
    assert_eq!(talk.packets.api_key, u16::from(FETCH));
}

/// By itself the rest may look like a request to produce.
#[test]
fn what_follows_a_length_may_be_sent_again() {
    let mut talk = Talk::new();
    let request = request(FETCH);
    let (length, rest) = request.split_at(4);
    talk.segment(length, 100, true);
    for _ in 0..3 {
        talk.segment(rest, 104, true);
        assert_eq!(talk.packets.api_key, u16::from(FETCH));
    }
    assert_eq!(talk.head(), request);
}

#[test]
fn bytes_that_lie_elsewhere_are_no_request() {
    let mut talk = Talk::new();
    talk.segment(&request(FETCH)[..4], 100, true);
    // One segment on: what lies between them is not there yet.
    talk.segment(&request(FETCH)[4..], 140, true);
    assert_eq!(talk.head().len(), 4);
}
