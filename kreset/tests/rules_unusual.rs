//! Rules about what is rare on the wire: scans, fast opens, windows that stay closed,
//! hosts that are both ends. On recorded facts, altered.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod replay;

use kreset::{
    classify::{Classifier, Config, context::Context, phase::Phase},
    event::{Cause, ProvokedBy, Role, Verdict},
    facts::{Facts, Kind, State, Trigger},
};
use replay::judging::{
    ABORTED, AUTHENTICATION, LOST, PROBE, alone, cause, closing, judged, received, reset, said,
    share, timeout, value_of, with_closing,
};

#[test]
fn a_peer_that_was_heard_from_meanwhile_is_neither_dead_nor_cut_off() {
    let mut facts = timeout();
    assert!(!facts.idle.unwrap().heard_since);
    facts.idle.as_mut().unwrap().heard_since = true;
    let judgement = alone(&facts);
    assert_eq!(judgement.verdict, Verdict::Indeterminate, "{judgement:?}");
}

#[test]
fn what_was_never_sent_was_not_dropped() {
    for nothing_out in [ProvokedBy::Keepalive, ProvokedBy::Nothing] {
        let mut facts = timeout();
        facts.idle.as_mut().unwrap().provoked_by = nothing_out;
        let judgement = alone(&facts);
        assert_eq!(judgement.verdict, Verdict::Indeterminate, "{judgement:?}");
    }
}

#[test]
fn what_no_connection_can_carry_is_a_scan() {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    let drawn_by = |flags| {
        let mut facts = reset("connection_lost_no_listener.broker");
        facts.trigger.as_mut().unwrap().flags = flags;
        said(&alone(&facts))
    };
    for flags in [0, FIN, 0x29, SYN | ACK] {
        assert_eq!(drawn_by(flags), PROBE, "{flags:#x}");
    }
    for flags in [ACK, ACK | FIN, ACK | 0x08] {
        assert_eq!(drawn_by(flags), LOST, "{flags:#x}");
    }
    assert_eq!(drawn_by(SYN).1, Some(Cause::Refused));
}

#[test]
fn a_request_in_the_syn_was_not_seen_but_counted() {
    let mut facts = reset("closed_by_broker.broker");
    assert_eq!(cause(&facts), Some(Cause::ClosedByBroker));
    let packets = facts.packets.as_mut().unwrap();
    assert!(packets.from_start);
    (packets.requests, packets.turns) = (0, 0);
    packets.request_head.clear();
    packets.api_key = None;
    let judgement = alone(&facts);
    assert_eq!(judgement.verdict, Verdict::HandshakePhase);
    assert!(judgement.confidence < 0.5, "what it was is not known");

    // It was answered, and so was the connection in use.
    (
        packets_mut(&mut facts).responses,
        packets_mut(&mut facts).turns,
    ) = (1, 1);
    facts.counters.as_mut().unwrap().data_segs_out = 1;
    assert_ne!(alone(&facts).verdict, Verdict::HandshakePhase);
}

const fn packets_mut(facts: &mut Facts) -> &mut kreset::facts::PacketFacts {
    facts.packets.as_mut().unwrap()
}

#[test]
fn a_host_that_is_both_ends_loses_none_of_them_alone() {
    let mut facts = reset("connection_lost.client");
    let lost = share(&alone(&facts), Verdict::BrokerOriginated);
    facts.local.address = facts.remote.address;
    facts.idle.as_mut().unwrap().wire_ms = 10.0;
    let judgement = alone(&facts);
    assert!(value_of(&judgement, "same_host").is_some());
    assert!(
        share(&judgement, Verdict::MiddleboxReset) > 0.8,
        "{judgement:?}"
    );
    assert!(share(&judgement, Verdict::BrokerOriginated) < lost / 4.0);
    // Its live sockets abort as all others do.
    let mut facts = reset("broker_abort_linger.client");
    facts.local.address = facts.remote.address;
    assert_eq!(said(&alone(&facts)), ABORTED);
}

/// A TLS client that its broker turned away, and that wrote once more: its RST.
fn turned_away(turns: u16) -> Facts {
    let mut facts = received("kafka/missing-client-certificate.java.client");
    let packets = facts.packets.as_mut().unwrap();
    (packets.turns, packets.latest_response_len) = (turns, 40);
    facts.fin.as_mut().unwrap().silence_ms = 0.0;
    facts
}

#[test]
fn tls_hides_a_failed_login() {
    let mut facts = turned_away(9);
    let closed = as_it_closed(&facts);
    let failed = judged(&facts, &closed);
    assert_eq!(failed.verdict, Verdict::HandshakePhase, "{failed:?}");
    assert_eq!(failed.cause, Some(Cause::Authentication));
    assert!(failed.confidence < 0.97, "the broker may have stopped");
    // Other connections show that one stops.
    let mut stopped = closed.clone();
    (stopped.concurrent.count, stopped.concurrent.closed_mixed) = (2, 2);
    assert_eq!(judged(&facts, &stopped).verdict, Verdict::Indeterminate);
    stopped.concurrent.refused = true;
    assert_eq!(judged(&facts, &stopped).cause, Some(Cause::Shutdown));
    // A process that is killed sends no `close_notify`.
    facts.packets.as_mut().unwrap().latest_response_len = 60;
    assert_ne!(judged(&facts, &closed).verdict, Verdict::HandshakePhase);
    facts.packets.as_mut().unwrap().latest_response_len = 40;
    // One that was long in use, or had been silent, logged in before.
    facts.fin.as_mut().unwrap().silence_ms = 200.0;
    assert_ne!(
        judged(&facts, &as_it_closed(&facts)).verdict,
        Verdict::HandshakePhase
    );
    let facts = turned_away(40);
    assert_ne!(
        judged(&facts, &as_it_closed(&facts)).verdict,
        Verdict::HandshakePhase
    );
}

/// Both ends close in order, as librdkafka does when it has read why it was turned away.
#[test]
fn a_failed_login_within_tls_that_ends_by_fins_is_told() {
    for kind in [Kind::Fin, Kind::Closed] {
        for role in [Role::Client, Role::Broker] {
            let mut facts = closed_by_fins(kind, role);
            let closed = as_it_closed(&facts);
            let failed = judged(&facts, &closed);
            assert_eq!(
                said(&failed),
                AUTHENTICATION,
                "{kind:?} {role:?}: {failed:?}"
            );
            assert!(failed.confidence < 0.9, "the broker may have stopped");
            assert!(
                Classifier::new(Config::default()).judge(&facts).is_some(),
                "{kind:?} {role:?}: no event"
            );
            // Others show that the broker stops.
            let mut stopped = closed.clone();
            (stopped.concurrent.count, stopped.concurrent.closed_mixed) = (2, 2);
            assert_ne!(judged(&facts, &stopped).verdict, Verdict::HandshakePhase);
            // Closed by an idle timer, or by the client, it is no event at all.
            facts.fin.as_mut().unwrap().silence_ms = 5_000.0;
            assert!(Classifier::new(Config::default()).judge(&facts).is_none());
            let mut facts = closed_by_fins(kind, role);
            facts.fin.as_mut().unwrap().by_peer ^= true;
            assert!(Classifier::new(Config::default()).judge(&facts).is_none());
            let mut facts = closed_by_fins(kind, role);
            facts.packets.as_mut().unwrap().broker_spoke_last = true;
            assert!(Classifier::new(Config::default()).judge(&facts).is_none());
        }
    }
}

/// The end of [`turned_away`] without a RST, at either host.
fn closed_by_fins(kind: Kind, role: Role) -> Facts {
    let mut facts = turned_away(10);
    facts.kind = kind;
    let packets = facts.packets.as_mut().unwrap();
    packets.reset = None;
    // The client's `close_notify` followed the broker's.
    (packets.latest_request_len, packets.broker_spoke_last) = (24, false);
    if role == Role::Broker {
        facts.role = role;
        std::mem::swap(&mut facts.local, &mut facts.remote);
        facts.fin.as_mut().unwrap().by_peer = false;
    }
    facts
}

fn as_it_closed(facts: &Facts) -> Context {
    with_closing(closing(facts, facts.fin.unwrap().silence_ms))
}

#[test]
fn a_client_that_finished_tls_was_rejected_or_wanted_no_sasl() {
    let rejected = alone(&turned_away(4));
    assert_eq!(rejected.cause, Some(Cause::TlsAlert));
    assert!(rejected.confidence > 0.8);
    let either = alone(&turned_away(7));
    assert_eq!(either.verdict, Verdict::HandshakePhase);
    assert_eq!(either.cause, Some(Cause::TlsAlert));
    assert!(either.confidence < 0.8, "{either:?}");
}

#[test]
fn a_broker_that_closes_tls_with_a_silent_client_has_not_rejected_it() {
    let mut facts = turned_away(5);
    assert_eq!(alone(&facts).verdict, Verdict::HandshakePhase);
    facts.fin.as_mut().unwrap().silence_ms = 6_000.0;
    assert_eq!(alone(&facts).verdict, Verdict::BrokerOriginated);
}

#[test]
fn a_client_that_left_before_the_first_answer_rejected_nothing() {
    let mut facts = turned_away(2);
    facts.kind = Kind::ResetSent;
    facts.kernel_reason = Some("TCP_ABORT_ON_DATA".into());
    facts.state = Some(State::Close);
    facts.fin.as_mut().unwrap().by_peer = false;
    facts.packets.as_mut().unwrap().responses = 1;
    let drawn_by = |payload| {
        let trigger = Some(Trigger {
            flags: 0x18,
            payload,
        });
        let facts = Facts {
            trigger,
            ..facts.clone()
        };
        (Phase::of(&facts), alone(&facts).cause)
    };
    assert_eq!(drawn_by(1_200), (Phase::Unknown, Some(Cause::LateData)));
    assert_ne!(drawn_by(0).0, Phase::Unknown, "it had the answer");
}
