//! A tracer that sees both ends of a connection reports its ending once, judged with both.

mod replay;

use kreset::{
    classify::Config,
    event::{Role, SentBy, Verdict},
    facts::{Facts, Flow, Kind},
};
use replay::judging::{
    ABORTED, CLIENT_ABORTED, CLOSED_BY_BROKER, LOST, REFUSED, SHUTDOWN, fin, only, reset, said,
    value_of,
};

/// What both hosts of a scenario of the lab recorded, as one host that both ends are on.
fn both(scenario: &str) -> Vec<Facts> {
    let of = |side| replay::facts(&format!("{scenario}.{side}"));
    let mut all: Vec<_> = of("client").into_iter().chain(of("broker")).collect();
    all.sort_by_key(|facts| facts.at_ns);
    all
}

/// Who sent it, and what it is, where one end alone would have said less or something else.
#[test]
fn a_reset_is_one_event_of_its_receiver_with_the_words_of_its_sender() {
    for (scenario, receiver, reason, right) in [
        (
            "broker_abort_unread",
            Role::Client,
            "TCP_ABORT_ON_CLOSE",
            ABORTED,
        ),
        (
            "connection_lost_no_listener",
            Role::Client,
            "NO_SOCKET",
            LOST,
        ),
        (
            "broker_hangs",
            Role::Client,
            "TCP_ABORT_ON_CLOSE",
            CLOSED_BY_BROKER,
        ),
        (
            "broker_killed_busy",
            Role::Client,
            "TCP_ABORT_ON_CLOSE",
            SHUTDOWN,
        ),
        ("client_abort", Role::Broker, "TCP_STATE", CLIENT_ABORTED),
        ("refused.ipv4", Role::Client, "NO_SOCKET", REFUSED),
    ] {
        let (facts, judgement) = only(both(scenario));
        assert_eq!(said(&judgement), right, "{scenario}");
        assert!(judgement.confidence > 0.97, "{scenario}: {judgement:#?}");
        assert_eq!(facts.role, receiver, "{scenario}");
        assert_eq!(facts.kind, Kind::ResetReceived, "{scenario}");
        let sender = facts.other_end.unwrap();
        assert_eq!(sender.kind, Kind::ResetSent, "{scenario}");
        assert_eq!(sender.kernel_reason.as_deref(), Some(reason), "{scenario}");
        let value = value_of(&judgement, "other_end").unwrap();
        let expected = format!("sent the RST: {reason}");
        assert!(value.starts_with(&expected), "{scenario}: {value}");
    }
}

/// `tcp_send_active_reset` is traced after the RST has come through loopback (6.18).
#[test]
fn either_record_may_come_first() {
    let mut all = both("broker_abort_unread");
    let [received, sent] = [Kind::ResetReceived, Kind::ResetSent].map(|kind| {
        let at = all.iter().position(|facts| facts.kind == kind).unwrap();
        all[at].at_ns
    });
    for facts in &mut all {
        match facts.kind {
            Kind::ResetReceived => facts.at_ns = sent.min(received),
            Kind::ResetSent => facts.at_ns = sent.max(received) + 1,
            _ => {}
        }
    }
    all.sort_by_key(|facts| facts.at_ns);
    let (facts, judgement) = only(all);
    assert_eq!(said(&judgement), ABORTED);
    assert!(facts.other_end.is_some());
}

#[test]
fn what_came_to_both_ends_neither_sent() {
    for scenario in ["hop_reset_busy", "idle_reset_on_timer.ipv4"] {
        let (facts, judgement) = only(both(scenario));
        assert_eq!(facts.role, Role::Client, "{scenario}");
        assert_eq!(judgement.sent_by, Some(SentBy::Device), "{scenario}");
        assert_eq!(
            value_of(&judgement, "other_end"),
            Some("received a RST as well"),
            "{scenario}"
        );
    }
}

/// Made of a reset that came when the broker closed a handshake.
fn closed(side: &str, by_peer: bool) -> Facts {
    let mut facts = reset(&format!("closed_by_broker.{side}"));
    facts.kind = Kind::Closed;
    facts.id = None;
    facts.kernel_reason = None;
    facts.fin = Some(fin(by_peer, 1.0, 1.0));
    facts
}

#[test]
fn a_close_is_one_event_of_the_end_that_closed_first() {
    let (client, broker) = (closed("client", true), closed("broker", false));
    for all in [
        vec![client.clone(), broker.clone()],
        vec![broker.clone(), client],
    ] {
        let all = all.into_iter().enumerate().map(|(at, facts)| Facts {
            at_ns: broker.at_ns + at as u64,
            ..facts
        });
        let (facts, judgement) = only(all.collect());
        assert_eq!(judgement.verdict, Verdict::HandshakePhase);
        assert_eq!(facts.role, Role::Broker);
        let other = facts.other_end.as_deref().unwrap();
        assert_eq!(other.role, Role::Client);
    }
}

#[test]
fn other_connections_stay_apart() {
    let count = |all| replay::judge(all, Config::default()).len();
    let mut all = both("broker_abort_unread");
    for facts in &mut all {
        if facts.role == Role::Broker {
            facts.remote.port += 1;
            facts.flow = None;
        }
    }
    assert_eq!(count(all), 2, "of other ports");
    let mut all = both("broker_abort_unread");
    for facts in &mut all {
        let client = if facts.role == Role::Broker { 5 } else { 4 };
        facts.flow = Some(Flow { client, broker: 9 });
    }
    assert_eq!(count(all), 2, "of other sequence numbers");
}

/// As with the published port of a container.
#[test]
fn ends_that_a_translation_on_this_host_hides_are_found_by_their_flow() {
    let mut all = both("broker_abort_unread");
    for facts in &mut all {
        if facts.role == Role::Broker {
            facts.remote.port += 1;
        }
        facts.flow = Some(Flow {
            client: 4,
            broker: 9,
        });
    }
    let (facts, _) = only(all);
    let other = facts.other_end.as_deref().unwrap();
    assert_eq!(other.client().port, facts.client().port + 1);
}
