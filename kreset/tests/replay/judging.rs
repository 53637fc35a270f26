//! Recorded facts, altered and judged.

use kreset::{
    classify::{
        Case, Config, Judgement,
        context::{Concurrent, Context},
        judge,
    },
    event::{Cause, Role, Verdict},
    facts::{Facts, Fin, Kind},
};

pub(crate) const LOST: (Verdict, Option<Cause>) =
    (Verdict::BrokerOriginated, Some(Cause::ConnectionLost));
pub(crate) const ABORTED: (Verdict, Option<Cause>) =
    (Verdict::BrokerOriginated, Some(Cause::Aborted));

/// Four others of the same broker ended within a second, after silences `mixed_idle` each other or
/// alike.
pub(crate) fn with_four_others(mixed_idle: bool) -> Context {
    Context {
        concurrent: Concurrent {
            count: 4,
            mixed_idle,
            ..Concurrent::default()
        },
        ..Context::default()
    }
}

/// The RST of a recording.
pub(crate) fn reset(name: &str) -> Facts {
    super::facts(name)
        .into_iter()
        .find(|facts| matches!(facts.kind, Kind::ResetReceived | Kind::ResetSent))
        .unwrap_or_else(|| panic!("no RST in {name}"))
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

pub(crate) fn share(judgement: &Judgement, verdict: Verdict) -> f64 {
    let candidate = judgement.candidates.iter().find(|it| it.verdict == verdict);
    candidate.map_or(0.0, |it| it.share)
}

pub(crate) const fn said(judgement: &Judgement) -> (Verdict, Option<Cause>) {
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
    facts.fin = Some(Fin {
        by_peer: facts.role == Role::Client,
        ago_ms: 1.0,
        silence_ms: 3.0,
        by_exit: false,
        by_other_exit: false,
    });
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
