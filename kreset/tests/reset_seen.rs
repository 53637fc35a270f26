//! Which RST a host's evidence is of, where several come: the kernel side's own
//! code, compiled for this host.

#[expect(
    dead_code,
    reason = "the kernel side's parser, of which a part is enough"
)]
#[path = "../../kreset-ebpf/src/segment.rs"]
mod segment;

#[path = "../../kreset-ebpf/src/reset.rs"]
mod reset;

use kreset_common::record::{Packets, packets_flag as seen};
use reset::reset_came;
use segment::{Segment, tcp_flag};
use zerocopy::FromZeros as _;

const fn reset(sequence: u32, ttl: u8, header_len: u32) -> Segment {
    Segment {
        ttl,
        is_v4: true,
        ip_id: 0,
        sequence,
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
        reset_came(&mut packets, one);
    }
    assert_ne!(packets.flags & seen::RESET, 0);
    (packets.reset_seq, packets.reset_ttl, packets.reset_header)
}

/// Seen on a loaded host: the broker's socket sent its RST, with timestamps, and its host another
/// one for the FIN that crossed it, without. The client was closing, so that both came before
/// the kernel looked at the first, and the event had the headers of the second.
#[test]
fn of_two_with_one_number_the_first_ended_the_connection() {
    assert_eq!(kept(&[reset(7, 63, 32), reset(7, 64, 20)]), (7, 63, 32));
}

/// One that is not quite right only makes the kernel ask the peer, which may send the right one
/// (RFC 5961).
#[test]
fn one_with_another_number_may_be_the_one() {
    assert_eq!(kept(&[reset(8, 50, 20), reset(7, 63, 20)]), (7, 63, 20));
    assert_eq!(kept(&[reset(0, 50, 20), reset(7, 63, 20)]), (7, 63, 20));
}
