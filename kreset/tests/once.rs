//! One connection's end is reported once.

mod replay;

use kreset::{
    classify::{Config, pattern::Pattern},
    event::{AgeKind, ProvokedBy},
    facts::{Age, Facts, Kind},
};
use replay::judging::{first, only, reset, value_of};

const SECOND_NS: u64 = 1_000_000_000;

/// How many events come of the RST of `name`, sent again after each of `after`.
fn event_count(name: &str, after: &[u64]) -> usize {
    let sent = first(name, &[Kind::ResetSent]);
    let again = after.iter().map(|after| Facts {
        at_ns: sent.at_ns + after,
        ..sent.clone()
    });
    let all = std::iter::once(sent.clone()).chain(again).collect();
    replay::judge(all, Config::default()).len()
}

#[test]
fn answers_to_retransmissions_are_one_end() {
    let quick = [SECOND_NS / 5, SECOND_NS, 40 * SECOND_NS];
    assert_eq!(event_count("connection_lost.broker", &quick), 1);
    // By then the port may be another connection's.
    assert_eq!(event_count("connection_lost.broker", &[600 * SECOND_NS]), 2);
}

/// Where another connection with the same ports began `after_ns`.
fn again(facts: &Facts, like: &Facts, after_ns: u64) -> Facts {
    const YOUNG_MS: f64 = 200.0;
    Facts {
        at_ns: facts.at_ns + after_ns,
        local: facts.local,
        remote: facts.remote,
        netns: facts.netns,
        age: Some(Age {
            ms: YOUNG_MS,
            kind: AgeKind::Exact,
        }),
        ..like.clone()
    }
}

#[test]
fn the_next_connection_of_the_same_ports_ends_too() {
    let first = reset("broker_abort_unread.client");
    let closed = reset("closed_by_broker.client");
    let closed = Facts {
        kind: Kind::Closed,
        ..closed
    };
    let event_count = |after_ns| {
        let all = vec![first.clone(), again(&first, &closed, after_ns)];
        replay::judge(all, Config::default()).len()
    };
    assert_eq!(event_count(SECOND_NS / 10), 1, "it is the same connection");
    assert_eq!(event_count(SECOND_NS), 2);
}

#[test]
fn a_fin_of_an_earlier_connection_with_these_ports_says_nothing() {
    let fin = first("broker_killed_idle.client", &[Kind::Fin]);
    let aborted = reset("broker_abort_linger.client");
    let next = again(&fin, &aborted, SECOND_NS);
    let (_, judgement) = only(vec![fin, next]);
    assert!(
        value_of(&judgement, "broker_fin").is_none(),
        "{judgement:?}"
    );
}

/// A FIN of the handshake is held for a second, and by then the client may have come back from the
/// same port, and been reset.
#[test]
fn the_end_of_the_next_connection_of_these_ports_replaces_no_fin_before_it() {
    let closed = reset("closed_by_broker.client");
    let fin = Facts {
        kind: Kind::Fin,
        ..closed
    };
    let aborted = reset("broker_abort_linger.client");
    let next = again(&fin, &aborted, SECOND_NS / 2);
    let events = replay::judge(vec![fin, next], Config::default());
    let kinds: Vec<_> = events.iter().map(|(facts, _)| facts.kind).collect();
    assert_eq!(kinds, [Kind::ResetReceived, Kind::Fin]);
}

#[test]
fn each_refused_attempt_is_an_event() {
    assert_eq!(
        event_count("refused.ipv4.broker", &[SECOND_NS, 2 * SECOND_NS]),
        3
    );
}

/// One misconfigured client failed 1,452 times in 78 s without an alert: on a client's
/// host, handshakes that ended by FIN had no pattern, because its own close followed.
#[test]
fn a_client_that_fails_again_and_again_is_sustained() {
    const FAILURES: u64 = 1_452;
    let mut closed = reset("closed_by_broker.client");
    closed.kind = Kind::Closed;
    if let Some(idle) = &mut closed.idle {
        idle.provoked_by = ProvokedBy::Close;
    }
    assert!(closed.idle.is_some(), "it was recorded with a silence");
    let failures = (0..FAILURES).map(|number| {
        let mut failure = closed.clone();
        failure.local.port = 10_000 + number as u16;
        failure.id = None;
        failure.at_ns += number * 78 * SECOND_NS / FAILURES;
        failure
    });
    let events = replay::judge(failures.collect(), Config::default());
    assert_eq!(events.len() as u64, FAILURES);
    let (_, last) = events.last().unwrap();
    assert_eq!(last.pattern, Some(Pattern::Sustained), "{}", last.verdict);
}
