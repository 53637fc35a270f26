//! Resets from between the ends: before a connection was in use, and of many
//! at once. On recorded facts, and on what they would say had one been another.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod replay;

use kreset::{
    classify::context::Concurrent,
    event::{Cause, ProvokedBy, Verdict},
    facts::{Facts, FirstBytes},
};
use replay::judging::{
    CLOSED_BY_BROKER, IDLE_ON_TIMER, NOT_IDLE, NOT_KAFKA, alone, judged, received, said, with,
};

/// The same RST, as a hop at `ttl` would have sent it.
fn bare(facts: &Facts, ttl: u8) -> Facts {
    let mut facts = facts.clone();
    let packet = facts.packets.as_mut().unwrap().reset.as_mut().unwrap();
    (packet.ttl, packet.window) = (ttl, 0);
    facts.counters.as_mut().unwrap().reset_timestamps = Some(false);
    facts
}

#[test]
fn a_hop_that_resets_the_first_exchange_is_not_the_broker() {
    let facts = received("closed_by_broker.client");
    assert_eq!(said(&alone(&facts)), CLOSED_BY_BROKER);

    let hop = alone(&bare(&facts, 64));
    assert_eq!(said(&hop), NOT_IDLE);
    assert!(hop.confidence < 0.9, "a proxy may have accepted: {hop:?}");

    // `tcp_abort_on_overflow` of the broker's own listener.
    let overflow = alone(&bare(&facts, 63));
    assert_eq!(said(&overflow), CLOSED_BY_BROKER);

    // A live socket behind a proxy that answered the handshake.
    let mut live = bare(&facts, 60);
    live.counters.as_mut().unwrap().reset_timestamps = Some(true);
    assert_eq!(said(&alone(&live)), CLOSED_BY_BROKER);
}

#[test]
fn a_hop_that_resets_unknown_bytes_says_nothing_of_the_client() {
    let mut facts = received("closed_by_broker.client");
    facts.packets.as_mut().unwrap().request_head = b"hello, broker".to_vec();
    let unread = alone(&facts);
    assert_eq!(said(&unread), NOT_KAFKA);
    let hop = alone(&bare(&facts, 64));
    assert_eq!(said(&hop), NOT_IDLE);
    assert!(hop.confidence < 0.9);
}

/// A firewall that lets nothing through any more, new connections included.
#[test]
fn a_hop_that_resets_those_in_use_as_well_is_not_the_brokers_end() {
    let facts = received("closed_by_broker.client");
    let context = with(Concurrent {
        count: 3,
        used: 3,
        refused: true,
        refused_since: true,
        ..Concurrent::default()
    });
    assert_eq!(said(&judged(&bare(&facts, 64), &context)), NOT_IDLE);
    let broker = judged(&bare(&facts, 63), &context);
    assert_eq!(broker.cause, Some(Cause::Shutdown));
}

#[test]
fn a_hop_that_resets_a_tls_hello_says_nothing_of_the_listener() {
    let mut facts = received("closed_by_broker.client");
    let hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1];
    facts.packets.as_mut().unwrap().request_head = hello;
    let unread = alone(&facts);
    assert_eq!(unread.verdict, Verdict::HandshakePhase);
    assert!(
        unread.confidence < 0.7,
        "a limit, or a listener: {unread:?}"
    );
    let hop = alone(&bare(&facts, 64));
    assert_eq!(said(&hop), NOT_IDLE);
    assert!(hop.confidence < 0.9);
}

#[test]
fn a_broker_that_hangs_before_it_aborts_never_served() {
    let mut facts = received("closed_by_broker.client");
    let idle = facts.idle.as_mut().unwrap();
    (idle.data_ms, idle.wire_ms) = (4_000.0, 4_000.0);
    assert_eq!(said(&alone(&facts)), CLOSED_BY_BROKER);
}

#[test]
fn flows_that_fall_at_once_share_no_idle_timer() {
    let facts = received("idle_reset_on_timer.ipv4.client");
    assert_eq!(
        facts.idle.map(|idle| idle.provoked_by),
        Some(ProvokedBy::Nothing)
    );
    let concurrent = |idle_spread| {
        with(Concurrent {
            count: 5,
            mixed_idle: true,
            idle_spread,
            ..Concurrent::default()
        })
    };
    let swept = judged(&facts, &concurrent(false));
    assert_eq!(said(&swept), IDLE_ON_TIMER);
    assert_eq!(said(&judged(&facts, &concurrent(true))), NOT_IDLE);
}

#[test]
fn a_connection_that_rested_is_in_use_though_its_start_was_not_seen() {
    let facts = received("closed_by_broker.client");
    let mut older = bare(&facts, 63);
    older.packets.as_mut().unwrap().from_start = false;
    let counters = older.counters.as_mut().unwrap();
    (counters.data_segs_in, counters.data_segs_out) = (0, 0);
    assert_eq!(said(&alone(&older)), CLOSED_BY_BROKER);
    let idle = older.idle.as_mut().unwrap();
    (idle.data_ms, idle.wire_ms) = (300_000.0, 300_000.0);
    let rested = alone(&older);
    assert_ne!(rested.verdict, Verdict::HandshakePhase);
}

#[test]
fn a_request_too_large_is_still_kafka() {
    let facts = received("closed_by_broker.client");
    let mut packets = facts.packets.unwrap();
    // 300 MB, Produce, version 9.
    packets.request_head = vec![0x11, 0xe1, 0xa3, 0, 0, 0, 0, 9];
    assert_eq!(packets.client_speaks(), Some(FirstBytes::Kafka));
    // No such API key; no such version.
    packets.request_head = vec![0x11, 0xe1, 0xa3, 0, 1, 0, 0, 9];
    assert_eq!(packets.client_speaks(), Some(FirstBytes::Other));
    packets.request_head = vec![0x11, 0xe1, 0xa3, 0, 0, 0, 1, 9];
    assert_eq!(packets.client_speaks(), Some(FirstBytes::Other));
}
