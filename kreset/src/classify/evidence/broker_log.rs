//! What the broker wrote about the connection in its log.

use super::{Basis, Observation};
use crate::{
    classify::{case::Case, class::Class, weights::BROKER_WROTE},
    facts::LogKind,
};

/// A TLS record of a handshake, read as the length of a request: `16 03 0x` and more.
const TLS_LENGTHS: std::ops::RangeInclusive<u32> = 0x1603_0000..=0x1603_ffff;

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    let log = case.facts.broker_log.as_ref()?;
    let seen = Observation::new("broker_log", log.text.clone()).on(Basis::Shown);
    Some(match log.kind {
        LogKind::Authentication => seen.weigh(BROKER_WROTE, &[Class::Authentication]),
        LogKind::TlsHandshake => {
            seen.weigh(BROKER_WROTE, &[Class::TlsAlert, Class::PlaintextToTls])
        }
        LogKind::InvalidReceive(size) if TLS_LENGTHS.contains(&size) => {
            seen.weigh(BROKER_WROTE, &[Class::TlsToPlaintext])
        }
        LogKind::InvalidReceive(_) => seen.weigh(BROKER_WROTE, &[Class::NotKafka]),
        LogKind::TooMany => seen.weigh(BROKER_WROTE, &[Class::ClosedByBroker]),
        LogKind::Shutdown => seen.weigh(BROKER_WROTE, &[Class::BrokerShutdown]),
        LogKind::OutOfMemory => {
            seen.weigh(BROKER_WROTE, &[Class::BrokerAborted, Class::BrokerShutdown])
        }
        LogKind::Closed => seen,
    })
}
