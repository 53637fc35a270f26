//! Headers of packets, contiguous in memory or not.

use kreset_ebpf::segment::{Bytes, Segment, plain_flags, tcp_flag};
use proptest::{collection::vec, prelude::*};

fn parse(bytes: &[u8], linear: usize) -> Option<Segment> {
    let length = u32::try_from(bytes.len()).expect("no packet is longer");
    Segment::parse(&Bytes { bytes, linear }, length)
}

/// A RST with sequence number 7 and window 9, with options of 12 bytes and 3 bytes of payload.
fn tcp() -> Vec<u8> {
    let mut tcp = vec![
        0x23, 0x84, 0x23, 0x84, 0, 0, 0, 7, 0, 0, 0, 0, 0x80, 4, 0, 9,
    ];
    tcp.resize(32, 0);
    tcp.extend(*b"abc");
    tcp
}

fn ipv4(options: usize) -> Vec<u8> {
    let words = u8::try_from(options / 4).expect("a few");
    let mut packet = vec![0x45 + words, 0, 0, 0, 1, 2, 0x40, 0, 64, 6];
    packet.resize(20 + options, 1);
    packet.extend(tcp());
    packet
}

fn ipv6(extension: &[u8], next: u8) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    packet.resize(40, 1);
    packet.extend(extension);
    packet.extend(tcp());
    packet
}

#[test]
fn headers_are_parsed_with_and_without_options_and_extensions() {
    let hop_by_hop = [6, 0, 1, 4, 0, 0, 0, 0];
    for (bytes, network, is_v4) in [
        (ipv4(0), 20, true),
        (ipv4(8), 28, true),
        (ipv6(&[], 6), 40, false),
        (ipv6(&hop_by_hop, 0), 48, false),
    ] {
        let expected = Segment {
            ttl: 64,
            is_v4,
            ip_id: if is_v4 { 0x0102 } else { 0 },
            sequence: 7,
            acknowledgement: 0,
            flags: tcp_flag::RST,
            window: 9,
            header_len: 32,
            payload: network + 32,
            payload_len: 3,
        };
        for linear in [0, 39, 40, 59, 60, bytes.len()] {
            assert_eq!(parse(&bytes, linear), Some(expected), "{network}, {linear}");
        }
    }
}

#[test]
fn a_header_without_options_has_no_room_for_timestamps() {
    let mut bytes = ipv4(0);
    let segment = parse(&bytes, bytes.len()).expect("a segment");
    assert!(segment.may_have_timestamps());
    bytes[32] = 0x70;
    let segment = parse(&bytes, bytes.len()).expect("a segment");
    assert!(!segment.may_have_timestamps());
}

#[test]
fn flags_are_read_in_place_where_nothing_is_between_the_headers() {
    let flags = |bytes: Vec<u8>| {
        let linear = bytes.len();
        plain_flags(&Bytes {
            bytes: &bytes,
            linear,
        })
    };
    assert_eq!(flags(ipv4(0)), Some(tcp_flag::RST));
    assert_eq!(flags(ipv6(&[], 6)), Some(tcp_flag::RST));
    assert_eq!(flags(ipv4(8)), None);
    assert_eq!(flags(ipv6(&[6, 0, 1, 4, 0, 0, 0, 0], 0)), None);
    assert_eq!(flags(ipv4(0)[..39].to_vec()), None);
}

#[test]
fn a_packet_without_a_whole_tcp_header_is_none() {
    let mut udp = ipv4(0);
    udp[9] = 17;
    let in_udp = ipv6(&[], 17);
    let short = &ipv4(0)[..39];
    for bytes in [udp.as_slice(), &in_udp, short] {
        for linear in [0, bytes.len()] {
            assert_eq!(parse(bytes, linear), None);
        }
    }
}

proptest! {
    #[test]
    fn the_linear_part_does_not_change_the_result(
        first in prop_oneof![Just(0x45_u8), Just(0x46), Just(0x60), any::<u8>()],
        next in prop_oneof![Just(6_u8), Just(0), any::<u8>()],
        rest in vec(any::<u8>(), 0..120),
        linear in 0..120_usize,
    ) {
        let mut bytes = rest;
        for (at, byte) in [(0, first), (6, next), (9, next)] {
            if let Some(field) = bytes.get_mut(at) {
                *field = byte;
            }
        }
        let linear = linear.min(bytes.len());
        prop_assert_eq!(parse(&bytes, linear), parse(&bytes, 0));
    }
}
