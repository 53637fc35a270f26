//! What the socket's counters and state come to in an event, on recorded facts.

#![expect(clippy::panic, reason = "helpers of tests fail as tests do")]

mod replay;

use kreset::{
    event::ProvokedBy,
    facts::{Facts, Kind, State},
};

fn first(name: &str, kind: Kind) -> Facts {
    replay::facts(name)
        .into_iter()
        .find(|facts| facts.kind == kind)
        .unwrap_or_else(|| panic!("no {kind:?} in {name}"))
}

#[test]
fn a_fin_is_no_byte_received() {
    let sent = first("broker_idle_close.broker", Kind::Fin);
    let received = first("broker_idle_close.client", Kind::ResetReceived);
    assert_eq!(received.state, Some(State::CloseWait));
    assert_eq!(
        received.counters.unwrap().bytes_received,
        sent.counters.unwrap().bytes_sent
    );
}

#[test]
fn an_answered_fin_draws_no_reset() {
    let facts = first("half_closed.client", Kind::ResetReceived);
    assert_eq!(facts.state, Some(State::FinWait2));
    assert!(!facts.without_file, "the application waits for an answer");
    assert_eq!(facts.idle.unwrap().provoked_by, ProvokedBy::Nothing);
}
