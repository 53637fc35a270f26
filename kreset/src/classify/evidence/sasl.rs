//! A SASL exchange that began and did not end well, or that the listener
//! wanted and the client did not begin.

use super::{Basis, Observation};
use crate::{
    classify::{
        case::Case,
        class::Class,
        phase::Phase,
        weights::{SASL_EXPECTED, SASL_UNFINISHED},
    },
    facts::api_key::{FETCH, PRODUCE},
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    let api_key = case.facts.packets.as_ref()?.api_key?;
    let value = format!("{} ({api_key})", name(api_key));
    let observation = Observation::new("last_api_key", value);
    match case.phase {
        Phase::Sasl => Some(
            observation
                .weigh(SASL_UNFINISHED, &[Class::Authentication])
                .on(Basis::Shown),
        ),
        // A client that SASL keeps out has not learned yet where to send these.
        Phase::Second if matches!(api_key, PRODUCE | FETCH) => Some(observation),
        Phase::Second => Some(observation.weigh(SASL_EXPECTED, &[Class::Authentication])),
        _ => None,
    }
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
