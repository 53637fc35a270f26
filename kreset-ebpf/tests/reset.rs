//! Which RST is kept if several are received.

use kreset_common::record::{Packets, packets_flag as seen};
use kreset_ebpf::{
    reset::record_reset,
    segment::{Segment, tcp_flag},
    shared::SharedPackets,
};
use zerocopy::FromZeros as _;

const fn reset(sequence: u32, ttl: u8, header_len: u32) -> Segment {
    Segment {
        ttl,
        is_v4: true,
        ip_id: 0,
        sequence,
        acknowledgement: 0,
        flags: tcp_flag::RST,
        window: 0,
        header_len,
        payload: 20 + header_len,
        payload_len: 0,
    }
}

fn kept(all: &[Segment]) -> (u32, u8, u8) {
    let mut packets = Packets::new_zeroed();
    for one in all {
        record_reset(SharedPackets::of(&mut packets), one);
    }
    assert_ne!(packets.flags & seen::RESET, 0);
    (packets.reset_seq, packets.reset_ttl, packets.reset_header)
}

/// Observed on a loaded host: the broker's socket sent its RST, with timestamps, and its host
/// another one, without, for the FIN that crossed it. The client was closing, so both arrived
/// before the kernel processed the first, and the event had the headers of the second.
#[test]
fn of_two_with_one_number_the_first_is_kept() {
    assert_eq!(kept(&[reset(7, 63, 32), reset(7, 64, 20)]), (7, 63, 32));
}

/// The kernel answers a RST with an inexact number by a challenge ACK, and the peer may then send
/// the exact one (RFC 5961).
#[test]
fn one_with_another_number_replaces_it() {
    assert_eq!(kept(&[reset(8, 50, 20), reset(7, 63, 20)]), (7, 63, 20));
    assert_eq!(kept(&[reset(0, 50, 20), reset(7, 63, 20)]), (7, 63, 20));
}

/// The checksum of a long packet is verified only after it was seen here.
#[test]
fn one_with_a_payload_does_not_keep_out_a_plain_one() {
    let padded = Segment {
        payload_len: 60,
        ..reset(7, 50, 20)
    };
    assert_eq!(kept(&[padded, reset(7, 63, 20)]), (7, 63, 20));
    assert_eq!(kept(&[reset(7, 63, 20), padded]), (7, 63, 20));
}
