//! What the socket's counters and state come to in an event, on recorded facts.

mod replay;

use kreset::{
    event::ProvokedBy,
    facts::{Kind, State},
};
use replay::judging::{first, received};

#[test]
fn a_fin_is_no_byte_received() {
    let sent = first("broker_idle_close.broker", &[Kind::Fin]);
    let received = received("broker_idle_close.client");
    assert_eq!(received.state, Some(State::CloseWait));
    assert_eq!(
        received.counters.unwrap().bytes_received,
        sent.counters.unwrap().bytes_sent
    );
}

#[test]
fn an_answered_fin_draws_no_reset() {
    let facts = received("half_closed.client");
    assert_eq!(facts.state, Some(State::FinWait2));
    assert!(!facts.without_file, "the application waits for an answer");
    assert_eq!(facts.idle.unwrap().provoked_by, ProvokedBy::Nothing);
}
