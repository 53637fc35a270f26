//! Which segments the kernel accepts.

use kreset_ebpf::{
    segment::{Segment, tcp_flag},
    window::Window,
};
use proptest::prelude::*;

const WINDOW: Window = Window {
    rcv_nxt: 1_000,
    rcv_wup: 900,
    rcv_wnd: 500,
    snd_una: 5_000,
    write_seq: 5_100,
    max_window: 300,
};

const fn segment(sequence: u32, acknowledgement: u32, payload_len: u32) -> Segment {
    Segment {
        ttl: 64,
        is_v4: true,
        ip_id: 0,
        sequence,
        acknowledgement,
        flags: tcp_flag::ACK,
        window: 0,
        header_len: 20,
        payload: 40,
        payload_len,
    }
}

#[test]
fn a_segment_inside_both_windows_fits() {
    for (sequence, acknowledgement, len, fits) in [
        (1_000, 5_000, 10, true),
        (1_400, 5_100, 10, true),
        (1_401, 5_000, 10, false),
        // A keepalive, and a window probe.
        (999, 5_000, 0, true),
        (999, 5_000, 1, true),
        // What was received before, sent again.
        (900, 5_000, 50, false),
        (900, 5_000, 101, true),
        // Not sent yet, and acknowledged too long ago.
        (1_000, 5_101, 10, false),
        (1_000, 4_700, 10, true),
        (1_000, 4_699, 10, false),
    ] {
        let segment = segment(sequence, acknowledgement, len);
        assert_eq!(WINDOW.fits(&segment), fits, "{segment:?}");
    }
    assert!(WINDOW.is_new(&segment(900, 5_000, 101)));
    assert!(!WINDOW.is_new(&segment(999, 5_000, 1)));
}

#[test]
fn one_without_an_acknowledgement_or_with_syn_does_not() {
    for flags in [0, tcp_flag::FIN, tcp_flag::SYN | tcp_flag::ACK] {
        let segment = Segment {
            flags,
            ..segment(1_000, 5_000, 10)
        };
        assert!(!WINDOW.fits(&segment), "{segment:?}");
    }
}

#[test]
fn only_what_acknowledges_the_syn_answers_it() {
    let opening = Window {
        snd_una: 5_000,
        write_seq: 5_001,
        ..WINDOW
    };
    for (acknowledgement, answers) in [(5_000, false), (5_001, true), (5_002, false)] {
        assert_eq!(
            opening.answers_syn(&segment(77, acknowledgement, 0)),
            answers
        );
    }
}

proptest! {
    #[test]
    fn where_numbers_begin_does_not_matter(
        ours: u32, theirs: u32, sequence: u32, acknowledgement: u32, len in 0_u32..2_000,
    ) {
        let moved = Window {
            rcv_nxt: WINDOW.rcv_nxt.wrapping_add(theirs),
            rcv_wup: WINDOW.rcv_wup.wrapping_add(theirs),
            snd_una: WINDOW.snd_una.wrapping_add(ours),
            write_seq: WINDOW.write_seq.wrapping_add(ours),
            ..WINDOW
        };
        let here = segment(sequence, acknowledgement, len);
        let there = Segment {
            sequence: sequence.wrapping_add(theirs),
            acknowledgement: acknowledgement.wrapping_add(ours),
            ..here
        };
        prop_assert_eq!(WINDOW.fits(&here), moved.fits(&there));
    }
}
