//! Recorded facts, altered and judged.

use kreset::{
    classify::{
        Case, Config, Judgement,
        context::{Closing, Concurrent, Context},
        judge,
    },
    event::{Cause, Role, Verdict},
    facts::{Facts, Fin, Kind},
};

/// Verdict and cause.
pub(crate) type Answer = (Verdict, Option<Cause>);

const fn answer(verdict: Verdict, cause: Cause) -> Answer {
    (verdict, Some(cause))
}

pub(crate) const ABORTED: Answer = answer(Verdict::BrokerOriginated, Cause::Aborted);
pub(crate) const LOST: Answer = answer(Verdict::BrokerOriginated, Cause::ConnectionLost);
pub(crate) const SHUTDOWN: Answer = answer(Verdict::BrokerOriginated, Cause::Shutdown);
pub(crate) const CLOSED: Answer = answer(Verdict::BrokerOriginated, Cause::Closed);
pub(crate) const IDLE_CLOSE: Answer = answer(Verdict::BrokerOriginated, Cause::IdleClose);
pub(crate) const REFUSED: Answer = answer(Verdict::HandshakePhase, Cause::Refused);
pub(crate) const CLOSED_BY_BROKER: Answer = answer(Verdict::HandshakePhase, Cause::ClosedByBroker);
pub(crate) const NOT_KAFKA: Answer = answer(Verdict::HandshakePhase, Cause::NotKafka);
pub(crate) const AUTHENTICATION: Answer = answer(Verdict::HandshakePhase, Cause::Authentication);
pub(crate) const IDLE_ON_SEND: Answer = answer(Verdict::MiddleboxIdleReset, Cause::ResetOnSend);
pub(crate) const IDLE_ON_TIMER: Answer = answer(Verdict::MiddleboxIdleReset, Cause::ResetOnTimer);
pub(crate) const REBOUND: Answer = answer(Verdict::MiddleboxIdleReset, Cause::Rebound);
pub(crate) const NOT_IDLE: Answer = answer(Verdict::MiddleboxReset, Cause::NotIdle);
pub(crate) const MOVED: Answer = answer(Verdict::MiddleboxReset, Cause::Moved);
pub(crate) const BLACKHOLED: Answer = answer(Verdict::MiddleboxIdleDrop, Cause::Blackholed);
pub(crate) const CLIENT_ABORTED: Answer = answer(Verdict::ClientOriginated, Cause::Aborted);
pub(crate) const CLIENT_LOST: Answer = answer(Verdict::ClientOriginated, Cause::ConnectionLost);
pub(crate) const PROBE: Answer = answer(Verdict::ClientOriginated, Cause::Probe);
pub(crate) const LATE_DATA: Answer = answer(Verdict::ClientOriginated, Cause::LateData);
pub(crate) const UNDECIDED: Answer = (Verdict::Indeterminate, None);

/// What else happened at the broker.
pub(crate) fn with(concurrent: Concurrent) -> Context {
    Context {
        concurrent,
        ..Context::default()
    }
}

/// The broker's FIN came after a silence, at the time of the event.
pub(crate) const fn closing(facts: &Facts, silence_ms: f64) -> Closing {
    Closing {
        at_ns: facts.at_ns,
        silence_ms,
        by_exit: false,
        by_other_exit: false,
        listened: None,
        in_handshake: None,
        may_be_handshake: false,
        may_be_sasl: false,
    }
}

pub(crate) fn with_closing(closing: Closing) -> Context {
    Context {
        closing: Some(closing),
        ..Context::default()
    }
}

/// A FIN of a process that lives.
pub(crate) const fn fin(by_peer: bool, ago_ms: f64, silence_ms: f64) -> Fin {
    Fin {
        by_peer,
        ago_ms,
        silence_ms,
        by_exit: false,
        by_other_exit: false,
    }
}

/// Four others of the same broker ended within a second, after silences `mixed_idle` each other or
/// alike.
pub(crate) fn with_four_others(mixed_idle: bool) -> Context {
    with(Concurrent {
        count: 4,
        mixed_idle,
        ..Concurrent::default()
    })
}

/// The first facts of one of these kinds in a recording.
pub(crate) fn first(name: &str, kinds: &[Kind]) -> Facts {
    let mut facts = super::facts(name).into_iter();
    facts
        .find(|facts| kinds.contains(&facts.kind))
        .unwrap_or_else(|| panic!("no {kinds:?} in {name}"))
}

/// The RST of a recording.
pub(crate) fn reset(name: &str) -> Facts {
    first(name, &[Kind::ResetReceived, Kind::ResetSent])
}

/// The RST of a recording that its host received.
pub(crate) fn received(name: &str) -> Facts {
    first(name, &[Kind::ResetReceived])
}

/// The timeout of a connection that a device dropped.
pub(crate) fn timeout() -> Facts {
    first("idle_drop.client", &[Kind::Timeout])
}

pub(crate) fn judged(facts: &Facts, context: &Context) -> Judgement {
    judge(&Case::new(facts, context, &Config::default()))
}

pub(crate) fn alone(facts: &Facts) -> Judgement {
    judged(facts, &Context::default())
}

pub(crate) fn value_of<'a>(judgement: &'a Judgement, name: &str) -> Option<&'a str> {
    let observation = judgement.evidence.iter().find(|seen| seen.name == name);
    observation.map(|seen| seen.value.as_str())
}

/// The one event that these make.
#[track_caller]
pub(crate) fn only(facts: Vec<Facts>) -> (Facts, Judgement) {
    let mut events = super::judge(facts, Config::default());
    assert_eq!(events.len(), 1, "{events:#?}");
    events.pop().unwrap()
}

/// The evidence of that name is there, with this value.
#[track_caller]
pub(crate) fn says(judgement: &Judgement, name: &str, value: &str) {
    assert_eq!(value_of(judgement, name), Some(value), "{judgement:?}");
}

/// Likewise, with a value that begins so.
#[track_caller]
pub(crate) fn begins(judgement: &Judgement, name: &str, value: &str) {
    let found = value_of(judgement, name).unwrap();
    assert!(found.starts_with(value), "{found}");
}

/// The advice has these words.
#[track_caller]
pub(crate) fn advises(judgement: &Judgement, words: &str) {
    assert!(judgement.advice.contains(words), "{}", judgement.advice);
}

pub(crate) fn share(judgement: &Judgement, verdict: Verdict) -> f64 {
    let candidate = judgement.candidates.iter().find(|it| it.verdict == verdict);
    candidate.map_or(0.0, |it| it.share)
}

pub(crate) const fn said(judgement: &Judgement) -> Answer {
    (judgement.verdict, judgement.cause)
}

/// A failed handshake, made of a recorded one with other first bytes.
pub(crate) fn handshake(request: &[u8], response: &[u8]) -> Facts {
    let mut facts = reset("closed_by_broker.client");
    let packets = facts.packets.as_mut().unwrap();
    packets.request_head = request.to_vec();
    packets.response_head = response.to_vec();
    packets.requests = 1;
    packets.responses = u32::from(!response.is_empty());
    packets.turns = 1 + u16::from(!response.is_empty());
    packets.api_key = None;
    packets.latest_response_len = u32::try_from(response.len()).unwrap();
    packets.broker_spoke_last = !response.is_empty();
    facts
}

/// The broker's FIN came first, right after what the client said.
pub(crate) fn closed_at_once(mut facts: Facts) -> Facts {
    facts.fin = Some(fin(facts.role == Role::Client, 1.0, 3.0));
    facts
}

/// What a Java client begins with.
pub(crate) const API_VERSIONS: &[u8] = b"\0\0\0\x2e\0\x12\0\x04\0\0\0\0\0\x0aproducer-1\0";

/// The cause of a handshake that failed.
pub(crate) fn cause(facts: &Facts) -> Option<Cause> {
    let judgement = alone(facts);
    assert_eq!(judgement.verdict, Verdict::HandshakePhase, "{judgement:?}");
    judgement.cause
}
