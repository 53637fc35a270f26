//! Endings whose facts a second cause leaves as well: those of the sixth round of `docs/field.md`,
//! and what was said of them too surely.

mod replay;

use kreset::{
    classify::context::{Concurrent, Context, Memory},
    classify::{Case, Config},
    event::{Cause, ProvokedBy, Role, Verdict},
    facts::{Counters, Facts, Fin, Idle, Kind, State},
};
use replay::judging::{
    API_VERSIONS, alone, cause, closed_at_once, closing, handshake, judged, reset, said, share,
    value_of, with_closing,
};

const TLS_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
const FLIGHT: &[u8] = b"\x16\x03\x03\0\x7a\x02\0\0\x76\x03\x03";
const ANSWER: &[u8] = b"\0\0\0\x20\0\0\0\0\0\0";
const SASL_AUTHENTICATE: u16 = 36;

const fn fin(by_peer: bool, silence_ms: f64) -> Fin {
    Fin {
        by_peer,
        ago_ms: 1.0,
        silence_ms,
        by_exit: false,
        by_other_exit: false,
    }
}

/// A SASL exchange, closed in order by the broker.
fn sasl(answered: bool) -> Facts {
    let mut facts = closed_at_once(handshake(API_VERSIONS, ANSWER));
    facts.kind = Kind::Closed;
    let packets = facts.packets.as_mut().expect("packets");
    packets.sasl_pending = true;
    packets.api_key = Some(SASL_AUTHENTICATE);
    (packets.requests, packets.responses) = (3, 2 + u32::from(answered));
    packets.turns = 5 + u16::from(answered);
    packets.broker_spoke_last = answered;
    facts
}

/// Since Kafka 1.0 a broker answers a wrong password with an error before it closes. One that ends
/// in the middle of the exchange, or a proxy, does not.
#[test]
fn a_login_without_an_answer_may_not_have_failed() {
    let failed = alone(&sasl(true));
    assert_eq!(failed.cause, Some(Cause::Authentication), "{failed:?}");
    assert!(failed.confidence > 0.8, "{failed:?}");
    let unanswered = alone(&sasl(false));
    assert_eq!(unanswered.verdict, Verdict::HandshakePhase);
    assert!(unanswered.confidence < 0.6, "{unanswered:?}");
    assert!(
        value_of(&unanswered, "last_api_key").is_some_and(|value| value.ends_with("unanswered")),
        "{unanswered:?}"
    );
    // A password in raw bytes, after SaslHandshake v0, never gets one.
    let mut raw = sasl(false);
    raw.packets.as_mut().unwrap().api_key = Some(17);
    assert!(alone(&raw).confidence > 0.8);
    // Nothing listens since: the broker ended.
    let mut context = Context::default();
    context.concurrent.refused_since = true;
    let ended = judged(&sasl(false), &context);
    assert_eq!(
        said(&ended),
        (Verdict::BrokerOriginated, Some(Cause::Shutdown)),
        "{ended:?}"
    );
}

/// The client's setup timeout ends a login that the broker is too busy for.
#[test]
fn a_client_that_waited_for_its_login_was_not_rejected() {
    let mut facts = sasl(false);
    facts.fin = Some(fin(false, 5_000.0));
    assert_ne!(alone(&facts).cause, Some(Cause::Authentication));
    // One that got the error closes at once.
    let mut facts = sasl(true);
    facts.fin = Some(fin(false, 2.0));
    assert_eq!(cause(&facts), Some(Cause::Authentication));
}

/// A busy broker, a client that gives up: a rejected certificate takes an alert, and is rejected
/// at once.
#[test]
fn a_client_that_waited_in_the_tls_handshake_rejected_nothing() {
    let after = |silence_ms, latest_request_len, broker_spoke_last: bool| {
        let mut facts = handshake(TLS_HELLO, FLIGHT);
        facts.kind = Kind::Closed;
        facts.fin = Some(fin(false, silence_ms));
        let packets = facts.packets.as_mut().unwrap();
        (packets.requests, packets.responses) = (2, 1);
        packets.turns = 2 + u16::from(!broker_spoke_last);
        packets.latest_request_len = latest_request_len;
        packets.broker_spoke_last = broker_spoke_last;
        alone(&facts).cause
    };
    // TLS 1.2: its key and its Finished.
    assert_ne!(after(2_000.0, 126, false), Some(Cause::TlsAlert));
    // It did not wait; it had the broker's certificate last; or it sent an alert, encrypted.
    for (silence_ms, len, broker_spoke_last) in [
        (3.0, 126, false),
        (2_000.0, 517, true),
        (2_000.0, 24, false),
    ] {
        let cause = after(silence_ms, len, broker_spoke_last);
        assert_eq!(cause, Some(Cause::TlsAlert), "{silence_ms} {len}");
    }
}

/// A young TLS connection that the broker closed in order, right after data.
fn young_tls(survived_ms: Option<f64>) -> Facts {
    let mut facts = closed_at_once(handshake(TLS_HELLO, FLIGHT));
    facts.state = Some(State::CloseWait);
    facts.counters.as_mut().expect("counters").reset_timestamps = Some(false);
    facts.age.as_mut().expect("an age").ms = 8_000.0;
    let packets = facts.packets.as_mut().expect("packets");
    (packets.requests, packets.responses, packets.turns) = (6, 7, 12);
    (packets.latest_request_len, packets.latest_response_len) = (330, 24);
    packets.broker_spoke_last = true;
    packets.survived_ms = survived_ms;
    facts
}

/// No login takes seconds: a client that had paused for that long was in use, and its broker may have
/// ended. A first TLS handshake in Java does take half a second.
#[test]
fn a_tls_session_with_pauses_was_hardly_a_login() {
    let at_once = |facts: &Facts| with_closing(closing(facts, 20.0));
    let quick = young_tls(Some(620.0));
    let judgement = judged(&quick, &at_once(&quick));
    assert_eq!(
        judgement.cause,
        Some(Cause::Authentication),
        "{judgement:?}"
    );
    let paused = young_tls(Some(2_100.0));
    let judgement = judged(&paused, &at_once(&paused));
    assert_ne!(
        judgement.cause,
        Some(Cause::Authentication),
        "{judgement:?}"
    );
    assert!(
        share(&judgement, Verdict::BrokerOriginated) > 0.25,
        "{judgement:?}"
    );
}

/// A policy that rejects answers data and the next SYN alike: that says nothing of the broker.
#[test]
fn what_answers_data_as_no_host_does_may_refuse_as_well() {
    let mut facts = reset("connection_lost.client");
    let idle = facts.idle.as_mut().unwrap();
    (idle.data_ms, idle.wire_ms) = (4_000.0, 4_000.0);
    idle.provoked_by = ProvokedBy::Data;
    let context = Context {
        concurrent: Concurrent {
            refused: true,
            refused_since: true,
            ..Concurrent::default()
        },
        ..Context::default()
    };
    let lost = judged(&facts, &context);
    assert_eq!(lost.cause, Some(Cause::ConnectionLost), "a bare RST");
    let packets = facts.packets.as_mut().unwrap();
    packets.reset.as_mut().unwrap().flags = 0x14;
    let rejected = judged(&facts, &context);
    assert_ne!(rejected.verdict, Verdict::BrokerOriginated, "{rejected:?}");
    assert!(
        share(&rejected, Verdict::BrokerOriginated) < 0.5,
        "{rejected:?}"
    );
}

/// What one host sent goes unanswered.
fn unanswered(port: u16, at_ns: u64, silence_ms: f64) -> Facts {
    let mut facts = reset("connection_lost.client");
    facts.kind = Kind::Timeout;
    facts.at_ns = at_ns;
    facts.local.port = port;
    facts.packets = None;
    facts.counters = Some(Counters {
        retransmits: 4,
        data_segs_in: 40,
        data_segs_out: 40,
        ..facts.counters.expect("counters")
    });
    facts.idle = Some(Idle {
        data_ms: silence_ms,
        wire_ms: silence_ms,
        provoked_by: ProvokedBy::Data,
        delay_us: Some(2_000_000),
        from_packets: false,
        heard_since: false,
        acknowledged: false,
    });
    facts
}

/// The host lost its power, or the link went down: what was in use is not answered either, and no
/// idle timer explains that.
#[test]
fn a_silent_connection_dies_with_one_in_use() {
    const SECOND: u64 = 1_000_000_000;
    let config = Config::default();
    let died_with = |other: Option<Facts>, this: &Facts| {
        let mut memory = Memory::default();
        for facts in other.iter().chain([this]) {
            let context = Context::default();
            memory.observe(&Case::new(facts, &context, &config), None);
        }
        let context = memory.context(this);
        judged(this, &context)
    };
    let at_ns = 100 * SECOND;
    let silent = unanswered(40_001, at_ns, 6_000.0);
    let blackholed = (Verdict::MiddleboxIdleDrop, Some(Cause::Blackholed));
    assert_eq!(said(&died_with(None, &silent)), blackholed);
    let busy = |at_ns| Some(unanswered(40_002, at_ns, 120.0));
    for apart in [0, SECOND, 2 * SECOND] {
        let judgement = died_with(busy(at_ns - apart), &silent);
        assert_eq!(judgement.verdict, Verdict::Indeterminate, "{judgement:?}");
        assert!(
            value_of(&judgement, "timeout").is_some_and(|value| value.contains("in use")),
            "{judgement:?}"
        );
    }
    // Long before, after as long a silence, or to another broker: nothing.
    let long_before = died_with(busy(at_ns - 60 * SECOND), &silent);
    assert_eq!(said(&long_before), blackholed);
    let alike = died_with(Some(unanswered(40_002, at_ns, 5_800.0)), &silent);
    assert_eq!(said(&alike), blackholed);
    let mut elsewhere = unanswered(40_002, at_ns, 120.0);
    elsewhere.remote.port += 1;
    assert_eq!(said(&died_with(Some(elsewhere), &silent)), blackholed);
}

/// Both are given up in the same moment, and the silent one may be the first.
#[test]
fn a_silent_connection_is_judged_with_what_is_given_up_in_the_same_moment() {
    let at_ns = 100_000_000_000;
    let silent = unanswered(40_001, at_ns, 6_000.0);
    let busy = unanswered(40_002, at_ns + 20_000_000, 120.0);
    let judged = replay::judge(vec![silent, busy], Config::default());
    assert_eq!(judged.len(), 2);
    for (facts, judgement) in judged {
        assert_eq!(
            judgement.verdict,
            Verdict::Indeterminate,
            "{}: {judgement:?}",
            facts.local.port
        );
    }
}

/// Keepalives are there to find hosts that are gone: after some seconds that is as likely as a device
/// that forgot the connection, whose timers are minutes.
#[test]
fn keepalives_that_nobody_answers_tell_no_device_from_a_dead_host() {
    let after = |silence_ms, provoked_by| {
        let mut facts = unanswered(40_001, 100_000_000_000, silence_ms);
        facts.idle.as_mut().unwrap().provoked_by = provoked_by;
        facts.kind = match provoked_by {
            ProvokedBy::Keepalive => Kind::ResetSent,
            _ => Kind::Timeout,
        };
        if provoked_by == ProvokedBy::Keepalive {
            facts.kernel_reason = Some("TCP_KEEPALIVE_TIMEOUT".into());
        }
        alone(&facts)
    };
    let short = after(3_000.0, ProvokedBy::Keepalive);
    assert_eq!(short.verdict, Verdict::Indeterminate, "{short:?}");
    let long = after(400_000.0, ProvokedBy::Keepalive);
    let blackholed = (Verdict::MiddleboxIdleDrop, Some(Cause::Blackholed));
    assert_eq!(said(&long), blackholed, "{long:?}");
    assert_eq!(said(&after(3_000.0, ProvokedBy::Data)), blackholed);
}

/// One of two brokers behind an address ends: its connections close at once, and none alone.
#[test]
fn a_connection_that_closed_with_another_one_did_not_close_alone() {
    let mut facts = reset("broker_idle_close.client");
    facts.fin = Some(fin(true, 52.0));
    let with = |used| {
        let context = Context {
            concurrent: Concurrent {
                count: used,
                used,
                mixed_idle: true,
                accepted: true,
                ..Concurrent::default()
            },
            closing: Some(closing(&facts, 52.0)),
            ..Context::default()
        };
        judged(&facts, &context)
    };
    assert_eq!(facts.role, Role::Client);
    let (single, pair) = (with(0), with(1));
    assert_eq!(single.cause, Some(Cause::Closed), "{single:?}");
    assert!(single.confidence > 0.6, "{single:?}");
    assert!(pair.confidence < 0.5, "{pair:?}");
}
