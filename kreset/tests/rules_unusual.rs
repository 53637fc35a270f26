//! Rules about what is rare on the wire. On recorded facts, altered.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

mod replay;

use kreset::{
    event::{ProvokedBy, Verdict},
    facts::{Facts, Kind},
};
use replay::judging::alone;

fn timeout() -> Facts {
    let facts = replay::facts("idle_drop.client").into_iter();
    let mut timeouts = facts.filter(|facts| facts.kind == Kind::Timeout);
    timeouts.next().unwrap()
}

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
