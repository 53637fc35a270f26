//! First bytes and requests, in whatever segments a client sends them.

use kreset_common::record::{Packets, REQUEST_HEAD, RESPONSE_HEAD, packets_flag as seen};
use kreset_ebpf::{
    payload::{Direction, record_payload},
    segment::{Bytes, Segment},
    shared::SharedPackets,
};
use zerocopy::FromZeros as _;

/// A client and its broker, observed on the broker's host.
struct Exchange {
    packets: Packets,
    next: u32,
}

impl Exchange {
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
            acknowledgement: 0,
            flags: 0,
            window: 0,
            header_len: 20,
            payload: 0,
            payload_len: u32::try_from(bytes.len()).expect("a segment"),
        };
        let direction = if by_client {
            Direction::In
        } else {
            Direction::Out
        };
        let _incomplete = record_payload(
            SharedPackets::of(&mut self.packets),
            &Bytes { bytes, linear: 0 },
            &segment,
            direction,
            by_client,
        );
    }

    /// The client sends `bytes` in segments of these lengths, then the rest.
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

/// A request of 30 bytes after its length: the key, version 1, correlation 7, and a name.
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
fn first_bytes_are_kept_up_to_the_end_of_segment_or_buffer() {
    let bytes: Vec<u8> = (1..=200).collect();
    for len in 1..=bytes.len() {
        let sent = &bytes[..len];
        let exchange = Exchange::new().client(sent, &[]).broker(sent);
        assert_eq!(exchange.head(), &sent[..len.min(REQUEST_HEAD)]);
        let answered = usize::from(exchange.packets.response_len);
        assert_eq!(answered, len.min(RESPONSE_HEAD));
        assert_eq!(exchange.packets.response_head[..answered], sent[..answered]);
    }
}

#[test]
fn a_request_is_recognised_if_its_length_is_a_segment_of_its_own() {
    let whole = Exchange::new().client(&request(API_VERSIONS), &[]);
    let split = Exchange::new().client(&request(API_VERSIONS), &[4]);
    for exchange in [whole, split] {
        assert_eq!(exchange.head(), request(API_VERSIONS));
        assert_ne!(exchange.packets.flags & seen::API_KEY, 0);
        assert_eq!(exchange.packets.api_key, u16::from(API_VERSIONS));
    }
}

#[test]
fn so_are_later_requests() {
    let exchange = Exchange::new()
        .client(&request(API_VERSIONS), &[4])
        .broker(&ANSWER)
        .client(&request(SASL_HANDSHAKE), &[4]);
    assert_ne!(exchange.packets.flags & seen::SASL, 0);
    assert_eq!(exchange.packets.api_key, u16::from(SASL_HANDSHAKE));
    assert_eq!(exchange.head(), request(API_VERSIONS));
}

#[test]
fn a_retransmitted_length_is_not_taken_for_the_request() {
    let mut exchange = Exchange::new();
    let request = request(FETCH);
    let (length, rest) = request.split_at(4);
    exchange.segment(length, 100, true);
    exchange.segment(length, 100, true);
    assert_eq!(exchange.head(), length);
    assert_eq!(exchange.packets.flags & seen::API_KEY, 0);
    exchange.segment(rest, 104, true);
    assert_eq!(exchange.head(), request);
    assert_eq!(exchange.packets.api_key, u16::from(FETCH));
}

/// By itself the rest may look like a request to produce.
#[test]
fn the_segment_after_a_length_may_be_retransmitted() {
    let mut exchange = Exchange::new();
    let request = request(FETCH);
    let (length, rest) = request.split_at(4);
    exchange.segment(length, 100, true);
    for _ in 0..3 {
        exchange.segment(rest, 104, true);
        assert_eq!(exchange.packets.api_key, u16::from(FETCH));
    }
    assert_eq!(exchange.head(), request);
}

#[test]
fn bytes_at_another_sequence_number_are_not_the_request() {
    let mut exchange = Exchange::new();
    exchange.segment(&request(FETCH)[..4], 100, true);
    // One segment further: the bytes in between are missing.
    exchange.segment(&request(FETCH)[4..], 140, true);
    assert_eq!(exchange.head().len(), 4);
}
