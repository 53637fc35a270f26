//! Rules about what one host cannot settle, and what helps: where a RST came
//! from, which connections ended with it, who listens, and what was not observed.

mod replay;

use kreset::{
    classify::{
        class::Class,
        context::{Closing, Context},
    },
    event::{Cause, ProvokedBy, Verdict},
    facts::{Facts, Kind, Owner, State},
};
use replay::judging::{
    ABORTED, API_VERSIONS, CLOSED_BY_BROKER, IDLE_CLOSE, LOST, NOT_IDLE, REFUSED, advises, alone,
    begins, cause, closing, fin, handshake, judged, reset, said, says, share, value_of,
    with_closing, with_four_others,
};

#[test]
fn the_ttl_tells_who_refused_where_the_path_is_known() {
    let facts = reset("refused.ipv4.client");
    let ttl = facts.packets.as_ref().unwrap().reset.unwrap().ttl;
    let seen_from = |known| {
        let mut context = Context::default();
        context.path.ttl = known;
        judged(&facts, &context)
    };
    let host = seen_from(Some(ttl));
    begins(&host, "refused_by", "as far away as the host");
    let before = seen_from(Some(ttl - 2));
    begins(&before, "refused_by", "something before the host");
    assert!(before.advice.starts_with("Something before "));
    let unknown = seen_from(None);
    assert!(value_of(&unknown, "refused_by").is_none());
    advises(&unknown, "or a firewall on the way");
    for judgement in [host, before, unknown] {
        assert_eq!(said(&judgement), REFUSED);
    }
}

#[test]
fn a_burst_under_a_copied_ttl_may_be_a_failover() {
    let facts = reset("connection_lost.client");
    let context = with_four_others(true);
    let judgement = judged(&facts, &context);
    assert_eq!(said(&judgement), LOST);
    assert!(judgement.confidence < 0.9, "{judgement:?}");
    assert!(share(&judgement, Verdict::MiddleboxReset) > 0.05);
}

#[test]
fn a_late_packet_makes_nobody_surer_of_why_a_handshake_failed() {
    let facts = reset("connection_lost.broker");
    let after = |share| {
        let closing = Closing {
            in_handshake: Some((Class::ClosedByBroker, share)),
            ..closing(&facts, 0.0)
        };
        judged(&facts, &with_closing(closing))
    };
    // Six causes that no evidence distinguishes.
    let unknown = after(0.167);
    assert_eq!(unknown.verdict, Verdict::HandshakePhase);
    assert!((0.16..0.18).contains(&unknown.confidence), "{unknown:?}");
    let sure = after(0.998);
    assert_eq!(said(&sure), CLOSED_BY_BROKER);
    assert!((0.99..0.999).contains(&sure.confidence), "{sure:?}");
    assert!(after(1.0).confidence > 0.99);
}

#[test]
fn the_listener_that_answered_is_told_with_its_process() {
    let mut facts = reset("connection_lost.broker");
    assert_eq!(facts.state, Some(State::Listen));
    // The recording is older than this knowledge.
    says(&alone(&facts), "listener", "there");
    facts.owner = Owner {
        pid: Some(4242),
        name: Some("java".into()),
        start_boottime_ns: Some(facts.at_ns - 12_500_000_000),
        cgroup_id: None,
    };
    let judgement = alone(&facts);
    says(&judgement, "listener", "java (4242), started 12 s before");
    assert_eq!(said(&judgement), LOST);
    let without_listener = alone(&reset("connection_lost_no_listener.broker"));
    says(&without_listener, "listener", "none");
}

#[test]
fn a_connection_that_never_spoke_may_outlive_the_brokers_patience() {
    let mut facts = handshake(API_VERSIONS, b"");
    let fin = |silence_ms| Some(fin(true, 300.0, silence_ms));
    facts.fin = fin(600_200.0);
    assert_eq!(said(&alone(&facts)), IDLE_CLOSE);
    facts.fin = fin(40_000.0);
    assert_eq!(cause(&facts), Some(Cause::ClosedByBroker));
}

#[test]
fn what_nobody_saw_begin_may_have_been_a_handshake() {
    let mut facts = reset("broker_abort_linger.client");
    facts.idle.as_mut().unwrap().data_ms = 300.0;
    assert_eq!(said(&alone(&facts)), ABORTED);
    facts.packets = None;
    let unseen = alone(&facts);
    says(&unseen, "beginning", "not seen, and soon over");
    assert!(unseen.confidence < 0.5, "{unseen:?}");
    facts.counters.as_mut().unwrap().data_segs_in = 40;
    assert_eq!(said(&alone(&facts)), ABORTED, "no handshake is as long");
}

/// The broker's own kernel says that its socket aborted, and nothing that its process ended:
/// without the first bytes no cause of a handshake is likelier than the abort itself.
#[test]
fn an_abort_that_nobody_saw_begin_is_no_likelier_a_failed_login() {
    for name in ["broker_abort_linger.broker", "client_abort.client"] {
        let mut facts = reset(name);
        facts.idle.as_mut().unwrap().data_ms = 300.0;
        let aborted = said(&alone(&facts));
        assert_eq!(aborted.1, Some(Cause::Aborted), "{name}");
        facts.packets = None;
        let unseen = alone(&facts);
        assert!(value_of(&unseen, "beginning").is_some(), "{name}");
        assert_eq!(unseen.verdict, Verdict::Indeterminate, "{name}: {unseen:?}");
        assert!(share(&unseen, aborted.0) > 0.25, "{name}: {unseen:?}");
        facts.counters.as_mut().unwrap().data_segs_in = 40;
        assert_eq!(said(&alone(&facts)), aborted, "{name}");
    }
    // Workers that end take their connections along, whatever these were doing.
    let mut facts = reset("broker_abort_linger.broker");
    facts.idle.as_mut().unwrap().data_ms = 300.0;
    facts.packets = None;
    facts.by_other_exit = true;
    let mut context = Context::default();
    context.concurrent.workers = 2;
    let ended = judged(&facts, &context);
    assert!(share(&ended, Verdict::BrokerOriginated) > 0.25, "{ended:?}");
}

#[test]
fn a_brokers_fin_alone_is_no_failed_handshake_because_nobody_saw_it_begin() {
    let mut facts = reset("broker_idle_close.client");
    facts.kind = Kind::Fin;
    facts.packets = None;
    facts.fin.as_mut().unwrap().silence_ms = 300.0;
    assert_ne!(alone(&facts).verdict, Verdict::HandshakePhase);
}

#[test]
fn without_the_first_bytes_no_cause_of_a_handshake_is_likelier() {
    let mut facts = handshake(API_VERSIONS, b"");
    facts.packets = None;
    let judgement = alone(&facts);
    assert_eq!(judgement.verdict, Verdict::HandshakePhase);
    assert!(judgement.confidence < 0.2, "{judgement:?}");
    // No advice for one of them.
    advises(&judgement, "packet evidence");
}

/// Seen on 7.3, where a broker's close can be interrupted after the socket is gone
/// and before its RST is out: the client's late acknowledgement draws another.
#[test]
fn a_late_acknowledgement_may_draw_a_bare_rst_unseen() {
    let mut facts = reset("hop_reset_busy.client");
    facts.packets = None;
    let idle = facts.idle.as_mut().unwrap();
    idle.from_packets = false;
    idle.provoked_by = ProvokedBy::Nothing;
    let after = |facts: &mut Facts, ms: f64| {
        let idle = facts.idle.as_mut().unwrap();
        (idle.data_ms, idle.wire_ms) = (ms, ms);
        alone(facts)
    };
    let busy = after(&mut facts, 4.0);
    assert_eq!(said(&busy), NOT_IDLE);
    assert!(busy.confidence > 0.7, "{busy:?}");
    let unsure = after(&mut facts, 44.0);
    assert!(unsure.confidence < 0.9, "{unsure:?}");
    assert!(
        share(&unsure, Verdict::BrokerOriginated) > 0.1,
        "{unsure:?}"
    );
    assert!(share(&after(&mut facts, 260.0), Verdict::BrokerOriginated) < 0.01);

    // Packets show whether anything passed since the data.
    let allowed = |facts: &Facts| {
        let judgement = alone(facts);
        let drawn = judgement
            .evidence
            .iter()
            .find(|it| it.name == "provoked_by")
            .unwrap();
        drawn.weights.iter().any(|(class, weight)| {
            class.as_str() == "broker_originated/connection_lost" && *weight > -3.0
        })
    };
    let idle = facts.idle.as_mut().unwrap();
    (idle.from_packets, idle.data_ms, idle.wire_ms) = (true, 56.0, 12.0);
    assert!(allowed(&facts));
    facts.idle.as_mut().unwrap().wire_ms = 56.0;
    assert!(!allowed(&facts));
}
