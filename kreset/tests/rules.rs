//! Each rule, on recorded facts: what it says of them, and what it would have
//! said had one fact been another.

mod replay;

use std::time::Duration;

use kreset::{
    classify::{
        Case, Config,
        context::{Closing, Concurrent, Context, Death},
        judge,
    },
    event::{Cause, ProvokedBy, Verdict},
    facts::{Facts, Kind, State, TlsAlert},
};
use replay::judging::{
    ABORTED, API_VERSIONS, BLACKHOLED, IDLE_CLOSE, IDLE_ON_SEND, LATE_DATA, LOST, NOT_IDLE,
    REFUSED, SHUTDOWN, alone, begins, cause, closed_at_once, closing, handshake, judged, reset,
    said, says, share, timeout, value_of, with, with_closing, with_four_others,
};

#[test]
fn ttl_tells_a_hop_from_the_broker() {
    let mut facts = reset("idle_reset_on_send.ipv4.client");
    let forged = alone(&facts);
    assert_eq!(said(&forged), IDLE_ON_SEND);
    says(&forged, "ttl", "64, handshake 63");
    assert!((0.75..0.9).contains(&forged.confidence), "{forged:?}");

    let packets = facts.packets.as_mut().unwrap();
    packets.reset.as_mut().unwrap().ttl = packets.handshake_ttl.unwrap();
    let same = alone(&facts);
    assert_eq!(same.candidates[0].verdict, Verdict::BrokerOriginated);
    assert!(same.confidence < 0.7, "a device may copy it: {same:?}");
}

#[test]
fn other_connections_lend_their_ttl() {
    let mut facts = reset("idle_reset_on_send.ipv4.client");
    let packets = facts.packets.as_mut().unwrap();
    (packets.handshake_ttl, packets.peer_ttl) = (None, None);
    assert!(value_of(&alone(&facts), "ttl").is_none());
    let mut context = Context::default();
    context.path.ttl = Some(63);
    let judgement = judged(&facts, &context);
    says(&judgement, "ttl", "64, other connections 63");
    assert_eq!(said(&judgement), IDLE_ON_SEND);
}

#[test]
fn a_changed_route_is_no_forgery() {
    let mut facts = reset("connection_lost.client");
    let packets = facts.packets.as_mut().unwrap();
    packets.handshake_ttl = packets.reset.map(|reset| reset.ttl - 3);
    let judgement = alone(&facts);
    assert_eq!(
        judgement.candidates[0].verdict,
        Verdict::BrokerOriginated,
        "the latest packets came the same way"
    );
}

#[test]
fn timestamps_tell_a_live_socket() {
    let mut facts = reset("broker_abort_linger.client");
    assert_eq!(said(&alone(&facts)), ABORTED);
    says(&alone(&facts), "reset_timestamps", "carried, as negotiated");
    facts.counters.as_mut().unwrap().reset_timestamps = Some(false);
    let bare = alone(&facts);
    says(&bare, "reset_timestamps", "missing, though negotiated");
    assert_ne!(said(&bare), ABORTED, "no live Linux socket leaves them out");
}

#[test]
fn without_timestamps_the_shape_tells() {
    let mut facts = reset("broker_abort_linger.client");
    let counters = facts.counters.as_mut().unwrap();
    (counters.timestamps_negotiated, counters.reset_timestamps) = (Some(false), None);
    let judgement = alone(&facts);
    says(&judgement, "reset_shape", "RST,ACK with a window");
    assert_eq!(said(&judgement), ABORTED);
}

#[test]
fn a_stack_without_a_socket_only_answers() {
    let mut facts = reset("connection_lost.client");
    says(&alone(&facts), "provoked_by", "data");
    facts.idle.as_mut().unwrap().provoked_by = ProvokedBy::Nothing;
    assert_ne!(said(&alone(&facts)), LOST);
}

#[test]
fn nothing_drew_what_a_timer_sent() {
    let facts = reset("idle_reset_on_timer.ipv4.client");
    let judgement = alone(&facts);
    says(&judgement, "provoked_by", "nothing");
    assert_eq!(judgement.cause, Some(Cause::ResetOnTimer));
}

#[test]
fn sooner_than_a_round_trip_is_nearer_than_the_broker() {
    let mut facts = reset("connection_lost.client");
    facts.counters.as_mut().unwrap().min_rtt_us = Some(20_000);
    facts.idle.as_mut().unwrap().delay_us = Some(900);
    let near = alone(&facts);
    says(&near, "reset_delay", "900 us, least round trip 20000 us");
    assert!(
        share(&near, Verdict::BrokerOriginated)
            < share(
                &alone(&reset("connection_lost.client")),
                Verdict::BrokerOriginated
            )
    );
    facts.idle.as_mut().unwrap().delay_us = Some(21_000);
    assert!(value_of(&alone(&facts), "reset_delay").is_none());
}

#[test]
fn a_busy_flow_did_not_die_of_idleness() {
    let mut facts = reset("idle_reset_on_send.ipv4.client");
    facts.idle.as_mut().unwrap().wire_ms = 30.0;
    let judgement = alone(&facts);
    says(&judgement, "idle", "30 ms");
    assert_eq!(said(&judgement), NOT_IDLE);
}

#[test]
fn a_silence_that_was_survived_before_is_not_fatal() {
    let facts = reset("idle_reset_on_send.ipv4.client");
    let mut context = Context::default();
    context.path.survived_ms = Some(60_000.0);
    let judgement = judged(&facts, &context);
    says(&judgement, "survived_idle", "60000 ms on this path");
    assert_eq!(judgement.verdict, Verdict::MiddleboxReset);
    context.path.survived_ms = Some(1_000.0);
    assert_eq!(said(&judged(&facts, &context)), IDLE_ON_SEND);
}

#[test]
fn the_first_packet_after_the_longest_silence_is_no_coincidence() {
    let mut facts = reset("idle_reset_on_send.ipv4.client");
    let few = alone(&facts);
    assert!(value_of(&few, "longest_silence").is_some());
    facts.packets.as_mut().unwrap().requests = 500;
    let many = alone(&facts);
    assert!(
        many.confidence > few.confidence,
        "{} {}",
        many.confidence,
        few.confidence
    );
    facts.packets.as_mut().unwrap().survived_ms = Some(9_000.0);
    assert!(value_of(&alone(&facts), "longest_silence").is_none());
}

#[test]
fn deaths_at_one_silence_are_a_timer() {
    let facts = reset("idle_reset_on_timer.ipv4.client");
    let idle_ms = facts.idle.unwrap().wire_ms;
    let death = |idle_ms| Death {
        at_ns: 0,
        idle_ms,
        on_timer: true,
    };
    let after = |idle_ms| {
        let mut context = Context::default();
        context.path.deaths = vec![death(idle_ms)];
        judged(&facts, &context)
    };
    let repeated = after(idle_ms * 1.01);
    let repeats = value_of(&repeated, "repeats").unwrap();
    assert!(repeats.starts_with("1 earlier ones"));
    let unlike = after(idle_ms * 2.0);
    assert!(value_of(&unlike, "repeats").is_none());
}

#[test]
fn deaths_above_all_survived_silences_settle_a_copied_ttl() {
    let mut facts = reset("idle_reset_on_send.ipv4.client");
    let packets = facts.packets.as_mut().unwrap();
    packets.reset.as_mut().unwrap().ttl = packets.handshake_ttl.unwrap();
    let death = |idle_ms| Death {
        at_ns: 0,
        idle_ms,
        on_timer: false,
    };
    let mut context = Context::default();
    context.path.survived_ms = Some(1_900.0);
    context.path.deaths = [3_000.0, 4_000.0, 2_500.0].map(death).into();
    let alone = alone(&facts);
    let judgement = judged(&facts, &context);
    assert!(value_of(&judgement, "repeats").is_some());
    assert!(
        share(&judgement, Verdict::MiddleboxIdleReset)
            > share(&alone, Verdict::MiddleboxIdleReset) + 0.3
    );
}

#[test]
fn a_documented_timer_is_named() {
    let mut facts = reset("idle_reset_on_send.ipv4.client");
    facts.idle.as_mut().unwrap().wire_ms = 360_000.0;
    let mut context = Context::default();
    context.path.survived_ms = Some(300_000.0);
    let judgement = judged(&facts, &context);
    let named = value_of(&judgement, "known_timers").unwrap();
    assert!(named.contains("AWS Network Load Balancer") && named.contains("AWS NAT Gateway"));
}

#[test]
fn many_endings_at_once_are_the_brokers() {
    let facts = reset("connection_lost.client");
    let context = with_four_others(true);
    let judgement = judged(&facts, &context);
    says(&judgement, "together", "4 others within a second");
    assert!(judgement.confidence > alone(&facts).confidence);
}

#[test]
fn idle_connections_that_are_used_together_are_no_burst() {
    let facts = reset("idle_reset_on_send.ipv4.client");
    let context = with_four_others(false);
    assert!(value_of(&judged(&facts, &context), "together").is_none());
}

#[test]
fn a_refused_reconnect_says_that_the_broker_is_down() {
    let facts = reset("broker_killed_busy.client");
    let concurrent = |refused, accepted| {
        with(Concurrent {
            refused,
            accepted,
            ..Concurrent::default()
        })
    };
    let refused = judged(&facts, &concurrent(true, false));
    assert_eq!(
        (said(&refused), value_of(&refused, "reconnect")),
        (SHUTDOWN, Some("refused"))
    );
    let accepted = judged(&facts, &concurrent(false, true));
    assert_eq!(
        (said(&accepted), value_of(&accepted, "reconnect")),
        (ABORTED, Some("established"))
    );
}

/// Connections that were closed one after the other, each after as long a pause,
/// by a timer that is not the configured one.
#[test]
fn fins_after_one_silence_again_and_again_are_a_timer() {
    const APART_NS: u64 = 5_000_000_000;
    let end = reset("broker_idle_close.client");
    let after = |silences: [f64; 3]| {
        let facts = (1..).zip(silences).map(|(number, silence_ms)| {
            let mut facts = end.clone();
            facts.at_ns += u64::from(number) * APART_NS;
            facts.local.port += number;
            facts.fin.as_mut().unwrap().silence_ms = silence_ms;
            facts
        });
        let events = replay::judge(facts.collect(), Config::default());
        events.iter().map(|(_, it)| it.cause).collect::<Vec<_>>()
    };
    let idle = Some(Cause::IdleClose);
    assert_eq!(
        after([30_000.0, 30_100.0, 29_900.0]),
        [idle; 3],
        "a whole number of seconds, or again and again"
    );
    assert_eq!(after([30_000.0, 10_000.0, 90_000.0]), [idle; 3]);
    let closed = Some(Cause::Closed);
    assert_eq!(
        after([100.0; 3]),
        [closed; 3],
        "not silent, and not its end"
    );
}

/// What answers a late packet on the broker's host, which has no socket any more, shows nothing
/// of the FIN: it is remembered, and no other one that this one is like.
#[test]
fn the_answer_after_a_fin_does_not_count_it_as_an_earlier_one() {
    let mut facts = replay::facts("broker_idle_close.broker");
    for one in &mut facts {
        if let Some(fin) = &mut one.fin {
            fin.silence_ms = 30_000.0;
        }
        if one.kind == Kind::ResetSent {
            assert!(one.fin.is_none(), "no socket remembers it: {one:?}");
            one.at_ns += 2_000_000_000;
        }
    }
    let answer = facts.pop().expect("a late packet's");
    for times in 1..4_u16 {
        let answers = (0..times).map(|number| {
            let mut answer = answer.clone();
            answer.at_ns += u64::from(number) * 2_000_000_000;
            answer
        });
        let all = facts.iter().cloned().chain(answers).collect();
        for (_, judgement) in replay::judge(all, Config::default()) {
            assert_eq!(judgement.cause, Some(Cause::IdleClose), "{judgement:?}");
            let alike = judgement.evidence.iter().find(|it| it.name == "broker_fin");
            let most = alike.unwrap().weights.iter().map(|(_, weight)| *weight);
            assert!(most.fold(0.0, f64::max) < 3.0, "{judgement:?}");
        }
    }
}

#[test]
fn the_brokers_fin_after_its_timer_is_an_idle_close() {
    let facts = reset("broker_idle_close.client");
    let closing = |silence_ms, by_exit| {
        let closing = closing(&facts, silence_ms);
        with_closing(Closing { by_exit, ..closing })
    };
    let idle = judged(&facts, &closing(600_300.0, false));
    assert_eq!(said(&idle), IDLE_CLOSE);
    begins(&idle, "broker_fin", "600300 ms of silence");
    let mut context = closing(90_000.0, false);
    let alone = judged(&facts, &context);
    assert_eq!(alone.cause, Some(Cause::IdleClose), "a proxy's timer");
    assert!(alone.confidence < 0.9, "{alone:?}");
    let busy = judged(&facts, &closing(50.0, false));
    assert_eq!(busy.cause, Some(Cause::Closed));
    assert!(busy.confidence < 0.7, "an expired login, or its end");
    context.concurrent.closes_alike = true;
    let again = judged(&facts, &context);
    assert_eq!(again.cause, Some(Cause::IdleClose));
    context.concurrent.closes_alike = false;
    (context.concurrent.count, context.concurrent.closed_mixed) = (3, 3);
    assert!(judged(&facts, &context).confidence >= 0.85);
    assert_eq!(said(&judged(&facts, &closing(600_300.0, true))), SHUTDOWN);
    let short = Config {
        broker_max_idle: Duration::from_secs(90),
    };
    let context = closing(90_200.0, false);
    let judgement = judge(&Case::new(&facts, &context, &short));
    assert_eq!(judgement.cause, Some(Cause::IdleClose));
}

#[test]
fn the_local_kernel_names_its_own_reasons() {
    for (name, reason, truth) in [
        ("broker_abort_linger.broker", "TCP_STATE", ABORTED),
        ("broker_abort_unread.broker", "TCP_ABORT_ON_CLOSE", ABORTED),
        (
            "broker_killed_busy.broker",
            "TCP_ABORT_ON_CLOSE, by the end of its process on signal 9",
            SHUTDOWN,
        ),
        ("connection_lost.broker", "TCP_FLAGS", LOST),
        ("connection_lost_no_listener.broker", "NO_SOCKET", LOST),
    ] {
        let judgement = alone(&reset(name));
        assert_eq!(
            (value_of(&judgement, "kernel_reason"), said(&judgement)),
            (Some(reason), truth),
            "{name}"
        );
        assert!(judgement.confidence >= 0.9, "{name}");
    }
}

#[test]
fn before_6_10_state_and_trigger_tell_the_reason() {
    for (name, truth) in [
        ("broker_abort_unread.broker", ABORTED),
        ("broker_killed_busy.broker", SHUTDOWN),
        ("client_late_data_orphan.client", LATE_DATA),
    ] {
        let mut facts = reset(name);
        facts.kernel_reason = None;
        assert_eq!(said(&alone(&facts)), truth, "{name}");
    }
}

/// The same RST, as the kernel sends it for a peer that answers no keepalive.
fn without_an_answer(name: &str, idle_ms: f64) -> Facts {
    let mut facts = reset(name);
    facts.kernel_reason = Some("TCP_KEEPALIVE_TIMEOUT".into());
    facts.state = Some(State::Established);
    let idle = facts.idle.as_mut().expect("it has a socket");
    (idle.data_ms, idle.wire_ms) = (idle_ms, idle_ms);
    idle.provoked_by = ProvokedBy::Keepalive;
    facts
}

#[test]
fn unanswered_keepalives_are_a_silent_drop_to_both_ends() {
    for name in ["client_abort.client", "broker_abort_linger.broker"] {
        let facts = without_an_answer(name, 60_000.0);
        let judgement = alone(&facts);
        assert_eq!(said(&judgement), BLACKHOLED, "{name}");
        assert!(judgement.confidence < 0.99, "a dead host is as silent");
        let older = Facts {
            kernel_reason: None,
            ..facts.clone()
        };
        assert_eq!(said(&alone(&older)), BLACKHOLED, "{name} before 6.10");

        let busy = alone(&without_an_answer(name, 300.0));
        assert_eq!(busy.verdict, Verdict::Indeterminate, "{name}: {busy:?}");
        let mut context = Context::default();
        context.path.survived_ms = Some(60_100.0);
        let came_through = judged(&facts, &context);
        assert_eq!(came_through.verdict, Verdict::Indeterminate, "{name}");
    }
}

#[test]
fn who_falls_silent_in_the_first_exchange_has_turned_nobody_away() {
    for name in ["closed_by_broker_silent.broker", "closed_by_broker.broker"] {
        let mut facts = without_an_answer(name, 70_000.0);
        facts.fin = None;
        assert_eq!(said(&alone(&facts)), BLACKHOLED, "{name}");
    }
    let mut facts = timeout();
    let counters = facts.counters.as_mut().unwrap();
    (counters.data_segs_in, counters.bytes_received) = (0, Some(0));
    let packets = facts.packets.as_mut().unwrap();
    (packets.responses, packets.turns) = (0, 1);
    packets.response_head.clear();
    let judgement = alone(&facts);
    assert_eq!(said(&judgement), BLACKHOLED, "{judgement:?}");
    assert!(value_of(&judgement, "phase").is_none());
}

#[test]
fn who_says_that_a_host_is_unreachable_drops_nothing_in_silence() {
    for error in [13, 101, 111, 113] {
        let mut facts = timeout();
        facts.error = Some(error);
        let judgement = alone(&facts);
        assert_eq!(judgement.verdict, Verdict::Indeterminate, "{judgement:?}");
        assert!(share(&judgement, Verdict::MiddleboxIdleDrop) < 0.01);
        assert!(share(&judgement, Verdict::BrokerOriginated) > 0.5);
    }
}

#[test]
fn silence_before_retransmissions_is_what_timed_out() {
    let mut facts = timeout();
    assert_eq!(said(&alone(&facts)), BLACKHOLED);
    facts.idle.as_mut().unwrap().wire_ms = 100.0;
    assert_ne!(
        alone(&facts).verdict,
        Verdict::MiddleboxIdleDrop,
        "it was in use"
    );
}

const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
const SERVER_HELLO: &[u8] = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03";
const ALERT: &[u8] = b"\x15\x03\x03\x00\x02\x02\x50";

#[test]
fn first_bytes_tell_a_failed_handshake() {
    let none: &[u8] = b"";
    for (request, response, expected) in [
        (API_VERSIONS, none, Cause::ClosedByBroker),
        (b"GET / HTTP/1.1\r\n", none, Cause::NotKafka),
        (b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", none, Cause::NotKafka),
        (API_VERSIONS, ALERT, Cause::PlaintextToTls),
    ] {
        assert_eq!(cause(&handshake(request, response)), Some(expected));
    }
    let hello = closed_at_once(handshake(CLIENT_HELLO, none));
    assert_eq!(cause(&hello), Some(Cause::TlsToPlaintext));
}

#[test]
fn tls_alerts_are_named() {
    let mut facts = handshake(CLIENT_HELLO, SERVER_HELLO);
    assert_eq!(
        cause(&facts),
        Some(Cause::TlsAlert),
        "the handshake did not end"
    );
    facts.packets.as_mut().unwrap().broker_alert = Some(TlsAlert {
        level: 2,
        description: 70,
    });
    assert_eq!(cause(&facts), Some(Cause::TlsAlert));
    says(&alone(&facts), "tls_alert", "broker: protocol_version (70)");
}

/// TLS 1.3 in compatibility mode, and a broker that rejects the client once its
/// handshake is done: an encrypted alert of 40 bytes, FIN, and the client's first
/// request comes too late.
#[test]
fn a_rejection_after_the_clients_finished_is_a_handshake() {
    let mut facts = reset("kafka/missing-client-certificate.java.client");
    assert_eq!(cause(&facts), Some(Cause::TlsAlert));
    let packets = facts.packets.as_mut().unwrap();
    assert_eq!((packets.turns, packets.latest_response_len), (7, 40));
    packets.latest_response_len = 500;
    assert!(
        value_of(&alone(&facts), "phase").is_none(),
        "a request was answered"
    );
}

#[test]
fn a_sasl_exchange_that_ends_is_authentication() {
    let mut facts = handshake(API_VERSIONS, b"\0\0\0\x20\0\0\0\0");
    let packets = facts.packets.as_mut().unwrap();
    (packets.api_key, packets.sasl_pending) = (Some(36), true);
    assert_eq!(cause(&facts), Some(Cause::Authentication));
    says(&alone(&facts), "last_api_key", "SaslAuthenticate (36)");
}

#[test]
fn the_phase_decides_between_handshake_and_use() {
    let mut facts = reset("closed_by_broker.client");
    says(&alone(&facts), "phase", "first request unanswered");
    let packets = facts.packets.as_mut().unwrap();
    (packets.responses, packets.turns) = (3, 6);
    assert!(value_of(&alone(&facts), "phase").is_none());
}

#[test]
fn the_state_splits_first() {
    let refused = alone(&reset("refused.ipv4.client"));
    assert_eq!(value_of(&refused, "state"), Some(State::SynSent.as_str()));
    assert_eq!(said(&refused), REFUSED);
    let late = alone(&reset("client_late_data.broker"));
    assert_eq!(said(&late), LATE_DATA);
}
