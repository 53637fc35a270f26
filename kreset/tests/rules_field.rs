//! Endings that others reported and the lab's cases did not have: recorded facts, with
//! what was different there, and what was said wrongly of them.

mod replay;

use kreset::{
    classify::{
        Config,
        context::{Concurrent, Context},
    },
    event::{Cause, ProvokedBy, Role, Verdict},
    facts::{Age, Facts, Fin, Kind, State, TlsAlert, Trigger},
};
use replay::judging::{
    API_VERSIONS, CLOSED_BY_BROKER, NOT_IDLE, NOT_KAFKA, PROBE, advises, alone, cause,
    closed_at_once, closing, handshake, judged, reset, said, share, timeout, value_of, with,
    with_closing,
};

const TLS_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// The chance that is given to a verdict, and that which nothing stands for.
fn unknown(facts: &Facts) -> f64 {
    share(&alone(facts), Verdict::Indeterminate)
}

#[test]
fn only_who_names_the_sender_is_as_good_as_sure() {
    // The kernel: of its own socket, and of an attempt that was refused.
    for name in ["broker_abort_linger.broker", "refused.ipv4.client"] {
        assert!(alone(&reset(name)).confidence >= 0.97, "{name}");
    }
    // The wire: only a TLS listener answers plaintext so.
    let alert = b"\x15\x03\x03\x00\x02\x02\x50";
    assert!(alone(&handshake(API_VERSIONS, alert)).confidence >= 0.99);
    // A device by its distance, an abort by its timestamps, a broker by its FIN.
    for name in [
        "idle_reset_on_send.ipv4.client",
        "hop_reset_busy.client",
        "broker_abort_linger.client",
        "closed_by_broker.client",
    ] {
        assert!(alone(&reset(name)).confidence < 0.9, "{name}");
    }
}

#[test]
fn what_only_misses_something_keeps_more_for_the_unknown() {
    let shown = unknown(&reset("idle_reset_on_send.ipv4.client"));
    let missing = unknown(&reset("connection_lost.client"));
    assert!(missing > shown && shown > 0.1, "{missing} {shown}");
    let judgement = alone(&reset("connection_lost.client"));
    let sum: f64 = judgement.candidates.iter().map(|it| it.share).sum();
    assert!((0.97..=1.01).contains(&sum), "{judgement:?}");
}

/// A window update, a challenge ACK, the answer to a keepalive: a host without the
/// connection answers those too.
#[test]
fn a_bare_acknowledgement_draws_a_reset_as_well() {
    let mut facts = reset("connection_lost.client");
    let idle = facts.idle.as_mut().unwrap();
    idle.provoked_by = ProvokedBy::Nothing;
    (idle.data_ms, idle.wire_ms, idle.delay_us) = (900.0, 900.0, None);
    let unprovoked = alone(&facts);
    assert!(share(&unprovoked, Verdict::BrokerOriginated) < 0.1);
    facts.idle.as_mut().unwrap().acknowledged = true;
    let judgement = alone(&facts);
    assert_ne!(said(&judgement), NOT_IDLE, "{judgement:?}");
    assert_eq!(
        judgement.candidates[0].verdict,
        Verdict::BrokerOriginated,
        "{judgement:?}"
    );
    // It may also have questioned an abort that came out of order.
    let aborted = judgement
        .evidence
        .iter()
        .find(|it| it.name == "provoked_by")
        .unwrap();
    let for_abort = aborted
        .weights
        .iter()
        .any(|(class, weight)| class.as_str() == "broker_originated/aborted" && *weight > 0.0);
    assert!(for_abort);
}

#[test]
fn what_is_farther_away_than_the_broker_stands_not_between() {
    let mut facts = reset("connection_lost.client");
    facts.idle.as_mut().unwrap().wire_ms = 120.0;
    let packets = facts.packets.as_mut().unwrap();
    let ttl = packets.handshake_ttl.unwrap() - 1;
    packets.reset.as_mut().unwrap().ttl = ttl;
    let behind = alone(&facts);
    assert_ne!(said(&behind), NOT_IDLE, "{behind:?}");
    assert!(share(&behind, Verdict::MiddleboxIdleReset) < 0.05);
    // New connections come from there too.
    let mut context = Context::default();
    context.path.ttl = Some(ttl);
    let moved = judged(&facts, &context);
    assert!(value_of(&moved, "ttl").unwrap().contains("new connections"));
    assert!(share(&moved, Verdict::MiddleboxIdleReset) < 0.01);
    // Another stack's TTL says nothing of the distance.
    facts.packets.as_mut().unwrap().reset.as_mut().unwrap().ttl = 120;
    assert_eq!(said(&alone(&facts)), NOT_IDLE);
}

/// A SYN proxy completes the handshake; the refusal of the host behind comes later.
#[test]
fn a_refusal_from_behind_a_syn_proxy_is_no_device() {
    let mut facts = reset("closed_by_broker.client");
    let counters = facts.counters.as_mut().unwrap();
    counters.reset_timestamps = Some(false);
    (counters.data_segs_in, counters.data_segs_out) = (0, 0);
    let packets = facts.packets.as_mut().unwrap();
    (packets.requests, packets.responses, packets.turns) = (0, 0, 0);
    packets.request_head.clear();
    let reset = packets.reset.as_mut().unwrap();
    (reset.ttl, reset.flags, reset.window) = (63, 0x04, 0);
    (packets.handshake_ttl, packets.peer_ttl) = (Some(64), Some(64));
    facts.idle.as_mut().unwrap().provoked_by = ProvokedBy::Nothing;
    assert_eq!(alone(&facts).verdict, Verdict::HandshakePhase);
}

#[test]
fn a_tls_hello_that_is_closed_late_met_no_plaintext_listener() {
    let mut facts = handshake(TLS_HELLO, b"");
    let fin = |silence_ms| {
        Some(Fin {
            by_peer: true,
            ago_ms: 1.0,
            silence_ms,
            ..reset("broker_idle_close.client").fin.unwrap()
        })
    };
    for at_once in [3.0, 105.0] {
        facts.fin = fin(at_once);
        assert_eq!(cause(&facts), Some(Cause::TlsToPlaintext));
    }
    facts.fin = fin(5_000.0);
    let late = alone(&facts);
    assert_eq!(late.cause, Some(Cause::ClosedByBroker), "{late:?}");
    assert!(late.confidence < 0.9);
    advises(&late, "5.0 s");
}

#[test]
fn another_services_answer_is_no_good_one() {
    let http = handshake(API_VERSIONS, b"HTTP/1.1 400 Bad Request\r\n");
    let judgement = alone(&http);
    assert_eq!(said(&judgement), NOT_KAFKA);
    advises(&judgement, "an HTTP server");
    advises(&judgement, "1213486160 bytes");
    let banner = handshake(API_VERSIONS, b"SSH-2.0-OpenSSH_9.2\r\n");
    advises(&alone(&banner), "SSH-2.0-OpenSSH_");
    // Whoever ended it: the client aborts on an answer like this.
    let mut sent = reset("client_abort.client");
    sent.packets = http.packets;
    assert_eq!(said(&alone(&sent)), NOT_KAFKA);
    sent.role = Role::Broker;
    (sent.local, sent.remote) = (sent.remote, sent.local);
    sent.kind = Kind::ResetReceived;
    sent.kernel_reason = None;
    assert_eq!(said(&alone(&sent)), NOT_KAFKA);
    // An answer of Kafka's is a good one.
    let kafka = handshake(API_VERSIONS, b"\0\0\x01\x20\0\0\0\0\0\0");
    assert_ne!(alone(&kafka).cause, Some(Cause::NotKafka));
}

#[test]
fn a_proxy_header_is_named() {
    let judgement = alone(&handshake(b"PROXY TCP4 10.0.0.1 10.0.0.2", b""));
    assert_eq!(said(&judgement), NOT_KAFKA);
    advises(&judgement, "PROXY protocol header (version 1)");
}

/// A device drops the first request and resets both ends, with the other host's TTL.
#[test]
fn no_linux_stack_gives_a_first_reset_this_shape() {
    let mut facts = reset("closed_by_broker.client");
    facts.counters.as_mut().unwrap().reset_timestamps = Some(false);
    facts.idle.as_mut().unwrap().provoked_by = ProvokedBy::Data;
    let packets = facts.packets.as_mut().unwrap();
    packets.reset.as_mut().unwrap().flags = 0x14;
    assert_eq!(said(&alone(&facts)), NOT_IDLE);
    // What has no socket, such as a listener whose queue is full, answers barely.
    let packets = facts.packets.as_mut().unwrap();
    packets.reset.as_mut().unwrap().flags = 0x04;
    let bare = alone(&facts);
    assert_eq!(bare.cause, Some(Cause::ClosedByBroker));
    assert!(bare.confidence < 0.85, "{bare:?}");
    advises(&bare, "accept queue");
}

#[test]
fn the_brokers_host_asks_the_same_of_a_silent_connection() {
    let mut facts = reset("client_probe.broker");
    assert_eq!(said(&alone(&facts)), PROBE);
    facts.counters.as_mut().unwrap().reset_timestamps = Some(false);
    let forged = alone(&facts);
    assert_eq!(forged.verdict, Verdict::Indeterminate, "{forged:?}");
    assert!(share(&forged, Verdict::MiddleboxReset) > 0.3);
    let packets = facts.packets.as_mut().unwrap();
    packets.handshake_ttl = Some(63);
    packets.peer_ttl = Some(63);
    packets.reset.as_mut().unwrap().ttl = 64;
    assert_eq!(said(&alone(&facts)), NOT_IDLE);
}

#[test]
fn a_bare_reset_at_the_brokers_distance_may_be_of_another_host() {
    let mut facts = reset("connection_lost.client");
    facts.idle.as_mut().unwrap().wire_ms = 40.0;
    let judgement = alone(&facts);
    assert_eq!(judgement.verdict, Verdict::Indeterminate, "{judgement:?}");
    assert!(judgement.confidence < 0.65);
    for word in ["crash", "moved", "firewall"] {
        advises(&judgement, word);
    }
    // Concurrent endings decide.
    let refused = with(Concurrent {
        refused: true,
        ..Concurrent::default()
    });
    assert_eq!(judged(&facts, &refused).cause, Some(Cause::ConnectionLost));
}

/// A device that copies the TTL ends every connection at one silence.
#[test]
fn a_path_learns_from_deaths_that_nothing_decided() {
    const APART_NS: u64 = 5_000_000_000;
    let mut end = reset("idle_reset_copied_ttl.client");
    let packets = end.packets.as_mut().unwrap();
    packets.survived_ms = Some(1_400.0);
    let facts = (0..4_u16).map(|number| {
        let mut facts = end.clone();
        facts.at_ns += u64::from(number) * APART_NS;
        facts.local.port += number;
        let idle = facts.idle.as_mut().unwrap();
        let ms = f64::from(number).mul_add(9.0, 3_200.0);
        (idle.data_ms, idle.wire_ms) = (ms, ms);
        facts
    });
    let events = replay::judge(facts.collect(), Config::default());
    let verdicts: Vec<Verdict> = events.iter().map(|(_, it)| it.verdict).collect();
    assert_eq!(verdicts[0], Verdict::Indeterminate);
    assert_eq!(verdicts[3], Verdict::MiddleboxIdleReset, "{events:?}");
    let last = &events[3].1;
    assert!(value_of(last, "repeats").is_some());
    assert!(last.pattern.is_some());
    advises(last, "1.4 s are survived");
}

#[test]
fn one_close_after_a_whole_number_of_seconds_is_a_timer() {
    let facts = reset("broker_idle_close.client");
    let after = |silence_ms| {
        let context = with_closing(closing(&facts, silence_ms));
        judged(&facts, &context)
    };
    for silence_ms in [3_004.0, 2_996.0, 60_008.0] {
        let judgement = after(silence_ms);
        assert_eq!(judgement.cause, Some(Cause::IdleClose), "{judgement:?}");
        assert!(judgement.confidence >= 0.7, "{judgement:?}");
        advises(&judgement, "proxy");
    }
    advises(&after(3_004.0), "after 3.0 s of silence");
    assert!(after(3_350.0).confidence < after(3_004.0).confidence);
    assert_ne!(after(40.0).cause, Some(Cause::IdleClose));
}

#[test]
fn an_icmp_refusal_of_a_syn_is_an_event() {
    let mut facts = timeout();
    facts.state = Some(State::SynSent);
    facts.idle = None;
    facts.packets = None;
    let judge = |facts: &Facts| replay::judge(vec![facts.clone()], Config::default());
    facts.error = Some(110);
    assert!(judge(&facts).is_empty(), "an attempt that went unanswered");
    for error in [13, 111, 113] {
        facts.error = Some(error);
        let events = judge(&facts);
        assert_eq!(events[0].1.cause, Some(Cause::Refused), "{error}");
        advises(&events[0].1, "ICMP");
    }
}

/// The SYN,ACK of another address than the client asked: translation that changes only
/// one way.
#[test]
fn a_syn_ack_that_this_host_resets_is_no_late_data() {
    let mut facts = reset("connection_lost_no_listener.broker");
    (facts.local, facts.remote) = (facts.remote, facts.local);
    facts.role = Role::Client;
    facts.kernel_reason = Some("NO_SOCKET".into());
    facts.trigger = Some(Trigger {
        flags: 0x12,
        payload: 0,
    });
    let judgement = alone(&facts);
    assert_ne!(judgement.cause, Some(Cause::LateData));
    assert!(judgement.confidence < 0.7);
    advises(&judgement, "asymmetric DNAT");
    // A challenge ACK in answer to the SYN.
    facts.state = Some(State::SynSent);
    facts.trigger = Some(Trigger {
        flags: 0x10,
        payload: 0,
    });
    assert_ne!(alone(&facts).cause, Some(Cause::LateData));
}

#[test]
fn advice_follows_the_evidence() {
    // An administrator's ss -K.
    let mut killed = reset("client_abort.client");
    killed.kernel_reason = Some("TCP_STATE".into());
    killed.state = Some(State::Established);
    advises(&alone(&killed), "ss -K");
    // A process that is killed logs nothing.
    let mut signalled = reset("client_abort.client");
    (signalled.by_exit, signalled.exit_signal) = (true, Some(9));
    advises(&alone(&signalled), "signal 9");
    // Several connections ended at one age.
    let aborted = reset("broker_abort_linger.client");
    let context = with(Concurrent {
        same_age: true,
        ..Concurrent::default()
    });
    let judgement = judged(&aborted, &context);
    advises(&judgement, "connections.max.reauth.ms");
    // A drained listener takes new connections.
    let mut drained = Context::default();
    drained.concurrent.accepted = true;
    (drained.concurrent.count, drained.concurrent.mixed_idle) = (4, true);
    let closed = judged(&reset("broker_killed_idle.client"), &drained);
    assert_eq!(closed.cause, Some(Cause::Shutdown));
    advises(&closed, "drained");
}

#[test]
fn advice_claims_no_more_than_was_measured() {
    // SaslHandshake was answered with 34, ILLEGAL_SASL_STATE.
    let mut no_sasl = handshake(
        b"\0\0\0\x17\0\x11\0\x01\0\0\0\x02\0\x07rdkafka\0\x05PLAIN",
        b"\0\0\0\x0a\0\0\0\x02\0\x22\0\0\0\0",
    );
    let packets = no_sasl.packets.as_mut().unwrap();
    (packets.api_key, packets.sasl_pending) = (Some(17), true);
    assert_eq!(cause(&no_sasl), Some(Cause::Authentication));
    advises(&alone(&no_sasl), "has no SASL");
    // An idle close names its silence.
    let idle = reset("broker_idle_close.client");
    let closed = judged(&idle, &with_closing(closing(&idle, 47_000.0)));
    assert_eq!(closed.cause, Some(Cause::IdleClose));
    advises(&closed, "after 47 s");
    // What is below the bar is no fact.
    let busy = judged(&idle, &with_closing(closing(&idle, 100.0)));
    assert!(busy.confidence < 0.7, "{busy:?}");
    assert!(busy.advice.starts_with("Probably"), "{}", busy.advice);
    // Keepalives are sent more often than the path is known to survive.
    let mut forgotten = reset("idle_reset_on_send.ipv4.client");
    forgotten.idle.as_mut().unwrap().wire_ms = 4_000.0;
    let mut survived = Context::default();
    survived.path.survived_ms = Some(3_000.0);
    let advice = judged(&forgotten, &survived).advice;
    assert!(advice.contains("tcp_keepalive_time=2 "), "{advice}");
    // The network has answered: there is nothing to compare with.
    let mut unreachable = timeout();
    unreachable.error = Some(113);
    let advice = alone(&unreachable).advice;
    assert!(
        advice.contains("unreachable") && !advice.contains("other end too"),
        "{advice}"
    );
    // A limit and a proxy without a backend look alike, a timer does not.
    let dropped = alone(&handshake(API_VERSIONS, b"")).advice;
    for possible in ["max.connections.per.ip", "without a working backend"] {
        assert!(dropped.contains(possible), "{dropped}");
    }
}

#[test]
fn connections_that_end_at_one_age_are_noticed() {
    const APART_NS: u64 = 7_000_000_000;
    let end = reset("broker_abort_linger.client");
    let facts = (0..3_u16).map(|number| {
        let mut facts = end.clone();
        facts.at_ns += 60_000_000_000 + u64::from(number) * APART_NS;
        facts.local.port += number;
        facts.age = Some(Age {
            ms: f64::from(number).mul_add(20.0, 20_000.0),
            kind: kreset::event::AgeKind::Exact,
        });
        facts
    });
    let events = replay::judge(facts.collect(), Config::default());
    assert!(!events[1].1.advice.contains("same age"));
    advises(&events[2].1, "same age, 20 s");
}

#[test]
fn what_was_lost_was_full_sized() {
    let mut facts = timeout();
    assert!(!alone(&facts).advice.contains("MTU"));
    facts.packets.as_mut().unwrap().latest_request_len = 1_448;
    advises(&alone(&facts), "MTU");
    facts.idle.as_mut().unwrap().wire_ms = 50.0;
    let busy = alone(&facts);
    assert_eq!(busy.verdict, Verdict::Indeterminate);
    advises(&busy, "MTU");
    facts.error = Some(113);
    advises(&alone(&facts), "unreachable");
}

#[test]
fn a_bare_reset_that_nothing_drew_was_there_for_all_to_see() {
    let mut facts = reset("hop_reset_busy.client");
    let packets = facts.packets.as_mut().unwrap();
    packets.reset.as_mut().unwrap().ttl = packets.handshake_ttl.unwrap();
    facts.idle.as_mut().unwrap().wire_ms = 400.0;
    let judgement = alone(&facts);
    assert_eq!(said(&judgement), NOT_IDLE);
    assert!((0.7..0.9).contains(&judgement.confidence), "{judgement:?}");
}

/// A firewall that will not have a hello of two segments answers with a bare RST.
#[test]
fn a_hello_that_no_socket_answered_met_no_plaintext_listener() {
    let cause = |live| {
        let mut facts = closed_at_once(handshake(TLS_HELLO, &[]));
        facts.fin = facts.fin.filter(|_| live);
        facts.counters.as_mut().unwrap().reset_timestamps = Some(live);
        alone(&facts).cause
    };
    assert_eq!(cause(true), Some(Cause::TlsToPlaintext));
    assert_ne!(cause(false), Some(Cause::TlsToPlaintext));
}

/// An ingress that knows no such server name, a limit, and Kafka's plaintext listener all close
/// on a TLS hello without a word. What was read of it tells them apart, on the broker's host.
#[test]
fn what_was_read_of_a_hello_says_who_did_not_answer_it() {
    let on_its_host = |read: u64| {
        let mut facts = closed_at_once(handshake(TLS_HELLO, &[]));
        (facts.kind, facts.role) = (Kind::Fin, Role::Broker);
        facts.fin.as_mut().unwrap().by_peer = false;
        let counters = facts.counters.as_mut().unwrap();
        counters.bytes_received = Some(517);
        counters.unread = Some(517 - read);
        alone(&facts)
    };
    let kafka = on_its_host(4);
    assert_eq!(kafka.cause, Some(Cause::TlsToPlaintext));
    assert!(kafka.confidence > 0.95 && kafka.advice.contains("plaintext listener: set"));
    let limit = on_its_host(0);
    assert_eq!(limit.cause, Some(Cause::ClosedByBroker));
    let ingress = on_its_host(517);
    assert!(ingress.confidence < 0.7, "{ingress:?}");

    let mut on_the_clients = closed_at_once(handshake(TLS_HELLO, &[]));
    let aborted = alone(&on_the_clients);
    assert_eq!(aborted.cause, Some(Cause::TlsToPlaintext));
    assert!(aborted.confidence > 0.8, "it left something unread");
    on_the_clients.kind = Kind::Fin;
    let closed = alone(&on_the_clients);
    assert_eq!(closed.verdict, Verdict::HandshakePhase);
    assert!(closed.confidence < 0.7, "{closed:?}");
    advises(&closed, "server name");
}

/// The client gave up: its setup timeout, or a certificate that never came.
#[test]
fn a_client_that_closes_first_met_no_plaintext_listener() {
    let mut facts = closed_at_once(handshake(TLS_HELLO, &[]));
    facts.fin.as_mut().unwrap().by_peer = false;
    facts.fin.as_mut().unwrap().silence_ms = 3_000.0;
    let judgement = alone(&facts);
    assert_ne!(judgement.cause, Some(Cause::TlsToPlaintext));
    assert_ne!(judgement.cause, Some(Cause::TlsAlert));
    // One that the broker had rejected may be faster with its FIN.
    let packets = facts.packets.as_mut().unwrap();
    packets.responses = 1;
    packets.response_head = b"\x15\x03\x03\0\x02\x02\x46".to_vec();
    packets.broker_alert = Some(TlsAlert {
        level: 2,
        description: 70,
    });
    assert_eq!(alone(&facts).cause, Some(Cause::TlsAlert));
}

/// In TLS 1.3, and in a session that is resumed, the first request travels with the client's
/// Finished.
#[test]
fn an_abort_on_the_second_request_is_no_failed_handshake() {
    let after_turns = |turns| {
        let mut facts = handshake(TLS_HELLO, b"\x16\x03\x03\0\x7a\x02\0\0\x76\x03\x03");
        let packets = facts.packets.as_mut().unwrap();
        packets.turns = turns;
        packets.latest_response_len = 442;
        packets.broker_spoke_last = false;
        alone(&facts)
    };
    assert_eq!(after_turns(5).cause, Some(Cause::Aborted));
    assert_eq!(after_turns(3).cause, Some(Cause::TlsAlert));
}

/// A balancer that ends TLS and has no healthy target finishes the handshake, and aborts on the
/// first request.
#[test]
fn an_abort_on_the_first_request_within_tls_is_no_connection_in_use() {
    const REQUEST: u32 = 95;
    const FLIGHT: &[u8] = b"\x16\x03\x03\0\x7a\x02\0\0\x76\x03\x03";
    let on_both = |ticket: [u8; 8], turns: u16, sent_before: u64| {
        [Role::Client, Role::Broker].map(|role| {
            let mut facts = match role {
                Role::Client => handshake(TLS_HELLO, FLIGHT),
                Role::Broker => {
                    let mut facts = reset("broker_abort_linger.broker");
                    facts.packets = handshake(TLS_HELLO, FLIGHT).packets;
                    facts
                }
            };
            let counters = facts.counters.as_mut().unwrap();
            let sent = Some(517 + sent_before + u64::from(REQUEST));
            (counters.bytes_sent, counters.bytes_received) = match role {
                Role::Client => (sent, counters.bytes_received),
                Role::Broker => (counters.bytes_sent, sent),
            };
            let packets = facts.packets.as_mut().unwrap();
            packets.turns = turns;
            (packets.latest_request_len, packets.latest_response_len) = (REQUEST, 255);
            packets.latest_response = ticket;
            packets.broker_spoke_last = turns.is_multiple_of(2);
            alone(&facts)
        })
    };
    let data = *b"\x17\x03\x03\0\xfa\0\0\0";
    let finished_12 = *b"\x14\x03\x03\0\x01\x01\x16\x03";
    for judgement in on_both(data, 5, 64)
        .into_iter()
        .chain(on_both(finished_12, 5, 126))
    {
        assert_eq!(said(&judgement), CLOSED_BY_BROKER, "{judgement:?}");
        assert!(judgement.confidence < 0.9, "{judgement:?}");
        advises(&judgement, "health of the targets");
    }
    // More than a Finished came first: the answered request.
    for judgement in on_both(data, 5, 64 + 95) {
        assert_eq!(judgement.cause, Some(Cause::Aborted), "{judgement:?}");
    }
    // A ticket or an answer: no host can be sure.
    for judgement in on_both(data, 4, 64) {
        assert!(judgement.confidence < 0.7, "{judgement:?}");
    }
}

/// A TLS inspecting appliance resets both ends after the server's hello.
#[test]
fn a_handshake_that_a_hop_reset_had_not_failed_by_itself() {
    let mut facts = handshake(TLS_HELLO, b"\x16\x03\x03\0\x7a\x02\0\0\x76\x03\x03");
    assert_eq!(alone(&facts).cause, Some(Cause::TlsAlert));
    facts.counters.as_mut().unwrap().reset_timestamps = Some(false);
    let packets = facts.packets.as_mut().unwrap();
    packets.handshake_ttl = Some(63);
    packets.peer_ttl = Some(63);
    packets.reset.as_mut().unwrap().ttl = 64;
    assert_eq!(said(&alone(&facts)), NOT_IDLE);
}
