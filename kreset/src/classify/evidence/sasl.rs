//! A SASL exchange that began and did not end well, or that the listener
//! wanted and the client did not begin.

use super::{Basis, Observation};
use crate::{
    classify::{
        case::Case,
        class::Class,
        phase::Phase,
        weights::{SASL_EXPECTED, SASL_UNANSWERED, SASL_UNFINISHED},
    },
    facts::api_key::{FETCH, PRODUCE, SASL_AUTHENTICATE},
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    let api_key = case.facts.packets.as_ref()?.api_key?;
    let value = format!("{} ({api_key})", name(api_key));
    match case.phase {
        Phase::Sasl if is_unanswered(case) => Some(
            Observation::new("last_api_key", format!("{value}, unanswered"))
                .weigh(SASL_UNANSWERED, &[Class::Authentication]),
        ),
        Phase::Sasl => Some(
            Observation::new("last_api_key", value)
                .weigh(SASL_UNFINISHED, &[Class::Authentication])
                .on(Basis::Shown),
        ),
        Phase::Second => {
            let observation = Observation::new("last_api_key", value);
            // A client that SASL keeps out has not learned yet where to send these.
            Some(if matches!(api_key, PRODUCE | FETCH) {
                observation
            } else {
                observation.weigh(SASL_EXPECTED, &[Class::Authentication])
            })
        }
        _ => None,
    }
}

/// The credentials were sent, and not answered: a broker that rejects them says so first, one that
/// ends in the middle of the exchange does not, nor does a proxy that gives up on its broker. A
/// token in raw bytes, after `SaslHandshake` v0, never gets an answer that says no.
fn is_unanswered(case: &Case<'_>) -> bool {
    let packets = case.facts.packets.as_ref();
    packets.is_some_and(|packets| {
        packets.api_key == Some(SASL_AUTHENTICATE) && !packets.broker_spoke_last
    })
}

/// The client had sent its credentials, waited for the answer, and closed: its own timer, or its
/// application's.
pub(super) fn gave_up(case: &Case<'_>) -> bool {
    case.client_closed_first() && is_unanswered(case) && waited(case)
}

/// The client was silent for so long before its FIN that it waited for something: who rejects
/// the other end does so at once.
pub(super) fn waited(case: &Case<'_>) -> bool {
    const WAITED_MS: f64 = 1_000.0;
    let fin = case.facts.fin;
    fin.is_some_and(|fin| fin.silence_ms >= WAITED_MS)
}

/// Names of the API keys that clients use; apache/kafka `ApiKeys`, 4.3.
pub(in crate::classify) const fn name(api_key: u16) -> &'static str {
    match api_key {
        0 => "Produce",
        1 => "Fetch",
        2 => "ListOffsets",
        3 => "Metadata",
        8 => "OffsetCommit",
        9 => "OffsetFetch",
        10 => "FindCoordinator",
        11 => "JoinGroup",
        12 => "Heartbeat",
        13 => "LeaveGroup",
        14 => "SyncGroup",
        17 => "SaslHandshake",
        18 => "ApiVersions",
        19 => "CreateTopics",
        22 => "InitProducerId",
        24 => "AddPartitionsToTxn",
        26 => "EndTxn",
        36 => "SaslAuthenticate",
        60 => "DescribeCluster",
        68 => "ConsumerGroupHeartbeat",
        _ => "another API",
    }
}
