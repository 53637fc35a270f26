//! One connection's end is told once.

#![expect(clippy::panic, reason = "helpers of tests fail as tests do")]

mod replay;

use kreset::{
    classify::Config,
    facts::{Facts, Kind},
};

const SECOND_NS: u64 = 1_000_000_000;

/// How many events come of the RST of `name`, sent again after each of `after`.
fn told(name: &str, after: &[u64]) -> usize {
    let sent: Facts = replay::facts(name)
        .into_iter()
        .find(|facts| facts.kind == Kind::ResetSent)
        .unwrap_or_else(|| panic!("no RST sent in {name}"));
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
    assert_eq!(told("connection_lost.broker", &quick), 1);
    // By then the port may be another connection's.
    assert_eq!(told("connection_lost.broker", &[600 * SECOND_NS]), 2);
}

#[test]
fn each_refused_attempt_is_an_event() {
    assert_eq!(told("refused.ipv4.broker", &[SECOND_NS, 2 * SECOND_NS]), 3);
}
