//! Connections that a host never had, closes that are no shutdown, and neighbours that
//! count for nothing.

mod replay;

use std::time::Duration;

use kreset::{
    classify::{
        Config,
        context::{Closing, Concurrent, Context, Endings},
    },
    event::{AgeKind, Cause, Role, Verdict},
    facts::{Age, Facts, Had, Kind, State, Trigger},
};
use replay::judging::{
    ABORTED, API_VERSIONS, CLIENT_LOST, CLOSED, CLOSED_BY_BROKER, IDLE_CLOSE, IDLE_ON_SEND,
    LATE_DATA, LOST, MOVED, NOT_IDLE, PROBE, REBOUND, SHUTDOWN, UNDECIDED, advises, alone, cause,
    closing, fin, handshake, judged, reset, said, says, share, with, with_closing,
};

/// Longer than brokers keep what is idle.
const LONG_MS: u32 = 3_600_000;

/// The answer of a listener, on a host that never had the connection.
fn stranger(within_ms: u32) -> Facts {
    Facts {
        had: Had::NotWithin(within_ms),
        ..reset("connection_lost.broker")
    }
}

#[test]
fn a_full_accept_queue_never_took_the_connection_on() {
    let mut facts = reset("connection_lost.broker");
    facts.queue_full = true;
    facts.had = Had::NotWithin(8_000);
    let judgement = alone(&facts);
    assert_eq!(said(&judgement), CLOSED_BY_BROKER);
    assert!(judgement.confidence < 0.9, "{judgement:?}");
    advises(&judgement, "net.core.somaxconn");
    says(
        &judgement,
        "had",
        "not in the last 8 s, and the accept queue is full",
    );
    // It may be full when a host that had the connection has lost it.
    facts.had = Had::Yes;
    assert_eq!(said(&alone(&facts)), LOST);
}

#[test]
fn only_what_a_host_had_can_be_lost_by_it() {
    let young = alone(&stranger(5_000));
    assert_eq!(said(&young), UNDECIDED);
    advises(&young, "did not have the connection");
    assert_eq!(said(&alone(&stranger(0))), UNDECIDED);
    let settled = alone(&stranger(LONG_MS));
    assert_eq!(said(&settled), REBOUND);
    assert!(settled.confidence < 0.9, "{settled:?}");
    let many = with(Concurrent {
        strangers: 3,
        count: 3,
        ..Concurrent::default()
    });
    let moved = judged(&stranger(LONG_MS), &many);
    assert_eq!(said(&moved), MOVED);
    // A host that came back meets all that it had lost.
    assert_eq!(said(&judged(&stranger(5_000), &many)), UNDECIDED);
    assert_eq!(
        said(&alone(&Facts {
            had: Had::Yes,
            ..stranger(0)
        })),
        LOST
    );
}

/// Whatever its socket shows when it is freed.
#[test]
fn an_end_that_no_program_saw_is_undecided() {
    for recording in [
        "idle_reset_on_send.ipv4.client",
        "broker_killed_busy.broker",
    ] {
        let mut facts = reset(recording);
        facts.kind = Kind::Unobserved;
        let judgement = alone(&facts);
        assert_eq!(said(&judgement), UNDECIDED, "{judgement:?}");
        let names: Vec<_> = judgement.evidence.iter().map(|it| it.name).collect();
        assert_eq!(names, ["unobserved"]);
        advises(&judgement, "kernel ran no program");
        // Nor is it reported where a RST of the connection was.
        let reset = reset(recording);
        let events = replay::judge(vec![reset, facts], Config::default());
        assert_eq!(events.len(), 1);
    }
}

/// nginx closes both sides at once, and the client's last ACK meets the listener.
#[test]
fn the_last_packet_of_a_connection_that_ended_in_order_lost_nothing() {
    for recording in [
        "connection_lost.broker",
        "connection_lost_no_listener.broker",
    ] {
        let lost = reset(recording);
        let leftover = Facts {
            had: Had::InOrder,
            trigger: lost.trigger.map(|it| Trigger { payload: 0, ..it }),
            ..lost
        };
        let judgement = alone(&leftover);
        assert_eq!(said(&judgement), LATE_DATA, "{judgement:?}");
        // It says nothing of the broker to other connections.
        let mut endings = Endings::default();
        endings.ended(&leftover);
        let mut other = leftover.clone();
        other.remote.port += 1;
        assert_eq!(endings.concurrent(&other, None).count, 0);
    }
}

#[test]
fn a_connection_of_a_reused_port_is_lost_after_the_first_was_reported() {
    let first = Facts {
        had: Had::Yes,
        ..reset("connection_lost.broker")
    };
    let second = |age_ms| Facts {
        at_ns: first.at_ns + 3_000_000_000,
        age: Some(Age {
            ms: age_ms,
            kind: AgeKind::Exact,
        }),
        ..first.clone()
    };
    let events = |age_ms| {
        let all = vec![first.clone(), second(age_ms)];
        replay::judge(all, Config::default()).len()
    };
    assert_eq!(events(2_000.0), 2);
    assert_eq!(events(5_000.0), 1, "it is the same connection");
}

fn closed(facts: &Facts, silence_ms: f64, listened: Option<bool>) -> Context {
    let closing = closing(facts, silence_ms);
    with_closing(Closing {
        listened,
        ..closing
    })
}

#[test]
fn a_single_close_is_no_shutdown() {
    for name in ["broker_idle_close.client", "broker_idle_close.broker"] {
        let facts = reset(name);
        for listened in [None, Some(true)] {
            let busy = judged(&facts, &closed(&facts, 40.0, listened));
            assert_eq!(said(&busy), CLOSED, "{busy:?}");
            let paused = judged(&facts, &closed(&facts, 3_000.0, listened));
            assert_eq!(said(&paused), IDLE_CLOSE, "{paused:?}");
            assert!(paused.confidence < 0.9);
        }
        let gone = judged(&facts, &closed(&facts, 40.0, Some(false)));
        assert_eq!(said(&gone), SHUTDOWN, "{gone:?}");
    }
}

#[test]
fn neighbours_closed_by_one_timer_are_no_shutdown() {
    let facts = reset("broker_idle_close.client");
    let mut context = closed(&facts, 3_000.0, None);
    context.concurrent.count = 2;
    assert_eq!(said(&judged(&facts, &context)), IDLE_CLOSE);
    context.concurrent.closed_mixed = 2;
    assert_eq!(said(&judged(&facts, &context)), SHUTDOWN);
}

#[test]
fn the_end_of_a_child_is_not_that_of_the_broker() {
    let facts = Facts {
        by_other_exit: true,
        ..reset("broker_abort_unread.broker")
    };
    assert_eq!(said(&alone(&facts)), ABORTED);
    let worker = with(Concurrent {
        workers: 1,
        ..Concurrent::default()
    });
    assert_eq!(said(&judged(&facts, &worker)), SHUTDOWN);
    let own = Facts {
        by_exit: true,
        ..reset("broker_abort_unread.broker")
    };
    assert_eq!(said(&alone(&own)), SHUTDOWN);
}

#[test]
fn a_syn_on_a_connection_speaks_for_the_peer_that_lost_it() {
    let mut facts = reset("hop_reset_busy.broker");
    facts.counters.as_mut().unwrap().reset_timestamps = Some(false);
    let packets = facts.packets.as_mut().unwrap();
    packets.reset.as_mut().unwrap().ttl = packets.handshake_ttl.unwrap();
    packets.reset.as_mut().unwrap().flags = 0x04;
    facts.idle.as_mut().unwrap().provoked_by = kreset::event::ProvokedBy::Nothing;
    assert_ne!(alone(&facts).verdict, Verdict::ClientOriginated);
    facts.packets.as_mut().unwrap().syn_latest = true;
    let judgement = alone(&facts);
    assert_eq!(said(&judgement), CLIENT_LOST);
    assert!(judgement.confidence < 0.9, "a device may merge two flows");
}

#[test]
fn routine_closes_do_not_count_as_endings() {
    let facts = reset("broker_idle_close.client");
    for (name, counts) in [
        ("client_late_data.client", 0),
        ("client_abort.client", 0),
        ("broker_abort_linger.client", 1),
    ] {
        let mut endings = Endings::default();
        let mut other = reset(name);
        (other.remote, other.netns) = (facts.remote, facts.netns);
        other.local.port += 1;
        // When the broker's FIN came.
        let ago = Duration::from_secs_f64(facts.fin.unwrap().ago_ms / 1_000.0);
        other.at_ns = facts.at_ns - u64::try_from(ago.as_nanos()).unwrap();
        endings.ended(&other);
        assert_eq!(endings.concurrent(&facts, None).count, counts, "{name}");
    }
}

#[test]
fn many_neighbours_weigh_more_than_two() {
    let facts = reset("connection_lost.client");
    let lost = |count| {
        let concurrent = Concurrent {
            count,
            mixed_idle: true,
            ..Concurrent::default()
        };
        share(
            &judged(&facts, &with(concurrent)),
            Verdict::BrokerOriginated,
        )
    };
    assert!(lost(39) > lost(2), "{} {}", lost(39), lost(2));
}

#[test]
fn who_was_refused_during_a_silence_had_lost_its_broker() {
    let mut facts = reset("connection_lost.client");
    facts.idle.as_mut().unwrap().wire_ms = 18_000.0;
    let refused = |seconds_ago: u64| {
        let mut endings = Endings::default();
        endings.refused(&Facts {
            at_ns: facts.at_ns - seconds_ago * 1_000_000_000,
            ..facts.clone()
        });
        endings.concurrent(&facts, None).refused
    };
    assert!(refused(17));
    assert!(!refused(19), "it was heard from since");
}

#[test]
fn close_wait_shows_whose_fin_came_first() {
    let mut facts = reset("older_than_tracer.client");
    facts.fin = None;
    facts.state = Some(State::CloseWait);
    let judgement = alone(&facts);
    assert_eq!(
        judgement.verdict,
        Verdict::BrokerOriginated,
        "{judgement:?}"
    );
    assert_ne!(judgement.cause, Some(Cause::Shutdown));
    assert!(judgement.confidence < 0.9);
}

/// `ApiVersions` was answered, and the broker closed on the next request.
fn second_request(api_key: u16) -> Facts {
    let mut facts = handshake(API_VERSIONS, b"\0\0\0\x20\0\0\0\0");
    facts.fin = Some(fin(true, 1.0, 2.0));
    facts.kind = Kind::Closed;
    let packets = facts.packets.as_mut().expect("recorded");
    (packets.turns, packets.requests, packets.broker_spoke_last) = (3, 2, false);
    packets.api_key = Some(api_key);
    packets.latest_request = [0, 3, 0, 0, 0, 0, 0, 1];
    facts
}

#[test]
fn a_client_that_may_produce_was_not_kept_out_by_sasl() {
    const METADATA: u16 = 3;
    assert_eq!(
        cause(&second_request(METADATA)),
        Some(Cause::Authentication)
    );
    let produce = alone(&second_request(0));
    assert_eq!(produce.cause, Some(Cause::ClosedByBroker), "{produce:?}");
    advises(&produce, "Produce version 1");
}

#[test]
fn a_client_that_closes_with_the_brokers_close_notify_unread_aborted_nothing() {
    let mut facts = reset("client_abort.client");
    assert_eq!(alone(&facts).cause, Some(Cause::Aborted));
    facts.fin = Some(fin(true, 30.0, 2.0));
    let judgement = judged(&facts, &closed(&facts, 2.0, None));
    assert_eq!(
        judgement.verdict,
        Verdict::BrokerOriginated,
        "{judgement:?}"
    );
}

/// A client that comes back after `ms` is refused.
fn refused_after(facts: &Facts, ms: u64) -> Facts {
    let mut attempt = facts.clone();
    attempt.at_ns += ms * 1_000_000;
    attempt.state = Some(State::SynSent);
    attempt.local.port += 1;
    (attempt.id, attempt.idle, attempt.age) = (None, None, None);
    attempt
}

#[test]
fn what_clients_meet_when_they_come_back_is_waited_for() {
    let verdict = |name: &str, ms| {
        let first = reset(name);
        let all = vec![first.clone(), refused_after(&first, ms)];
        let events = replay::judge(all, Config::default());
        let (_, judgement) = events
            .into_iter()
            .find(|(facts, _)| facts.local == first.local)
            .expect("an event");
        said(&judgement)
    };
    for ms in [20, 150] {
        assert_eq!(verdict("broker_abort_linger.client", ms), SHUTDOWN, "{ms}");
        assert_eq!(verdict("connection_lost.client", ms), LOST, "{ms}");
    }
    assert_eq!(verdict("broker_abort_linger.client", 400), ABORTED);
    assert_eq!(verdict("connection_lost.client", 400), UNDECIDED);
}

/// What a client's host without a socket answered.
fn answered_by_client(flags: u8, payload: u32, had: Had) -> Facts {
    let facts = reset("connection_lost_no_listener.broker");
    Facts {
        role: Role::Client,
        local: facts.remote,
        remote: facts.local,
        kernel_reason: Some("NO_SOCKET".into()),
        trigger: Some(Trigger { flags, payload }),
        had,
        ..facts
    }
}

#[test]
fn a_client_that_gave_up_draws_no_conclusion_about_the_path() {
    let with = |had| said(&alone(&answered_by_client(0x12, 0, had)));
    let scan = with(Had::NotWithin(60_000));
    assert_eq!(scan, UNDECIDED, "or asymmetric DNAT");
    assert_eq!(with(Had::Yes), PROBE);
}

#[test]
fn data_of_a_connection_that_a_client_never_had_is_not_late() {
    let with = |had| said(&alone(&answered_by_client(0x18, 90, had)));
    assert_eq!(with(Had::Yes), LATE_DATA);
    assert_eq!(
        with(Had::NotWithin(500)),
        LATE_DATA,
        "the memory is too short"
    );
    assert_eq!(with(Had::NotWithin(20_000)), UNDECIDED);
    assert_eq!(with(Had::NotWithin(300_000)), MOVED);
}

#[test]
fn what_a_failover_forgot_is_no_idle_timers() {
    let mut facts = reset("idle_reset_on_send.ipv4.client");
    let silence_ms = facts.idle.unwrap().wire_ms;
    let failed_over = |facts: &Facts, before_ms: f64| {
        let mut context = Context::default();
        let before_ns = Duration::from_secs_f64(before_ms / 1e3).as_nanos() as u64;
        context.path.failed_over_ns = Some(facts.at_ns - before_ns);
        judged(facts, &context)
    };
    assert_eq!(said(&alone(&facts)), IDLE_ON_SEND);
    let meanwhile = failed_over(&facts, silence_ms / 2.0);
    assert_eq!(said(&meanwhile), NOT_IDLE);
    assert!(meanwhile.confidence < 0.9, "{}", meanwhile.confidence);
    // Before this one fell silent: it came through that.
    assert_eq!(said(&failed_over(&facts, silence_ms * 1.5)), IDLE_ON_SEND);
    // An hour of silence has been through more than a failover, and may have met a timer since.
    let idle = facts.idle.as_mut().unwrap();
    (idle.wire_ms, idle.data_ms) = (3_600_000.0, 3_600_000.0);
    let long_ago = failed_over(&facts, 3_000_000.0);
    assert!(
        share(&long_ago, Verdict::MiddleboxReset) > 0.5,
        "{long_ago:?}"
    );
}
