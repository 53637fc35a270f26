//! Whose packet ended a connection.

use super::{case::Case, evidence::refused_by};
use crate::{
    event::{Cause, Direction, Role, SentBy, Verdict},
    facts::Kind,
};

/// Whose RST or FIN it was; `None` where nothing was sent.
///
/// What this host sent it knows. Of what it received the verdict says whose, except where
/// the packet is the honest answer of a host that a device led astray.
pub(super) fn sent_by(case: &Case<'_>, verdict: Verdict, cause: Option<Cause>) -> Option<SentBy> {
    let (here, there) = match case.facts.role {
        Role::Client => (SentBy::Client, SentBy::Broker),
        Role::Broker => (SentBy::Broker, SentBy::Client),
    };
    if case.facts.kind == Kind::Timeout {
        return None;
    }
    if case.direction() == Direction::Sent {
        return Some(here);
    }
    if let Some(other) = case.facts.other_end.as_deref() {
        // Of both ends, neither sent it.
        return Some(match other.direction() {
            Direction::Sent => there,
            Direction::Received => SentBy::Device,
        });
    }
    Some(match (verdict, cause) {
        (_, Some(Cause::Rebound | Cause::Moved)) => there,
        (Verdict::MiddleboxIdleReset | Verdict::MiddleboxIdleDrop | Verdict::MiddleboxReset, _) => {
            SentBy::Device
        }
        (Verdict::BrokerOriginated, _) => SentBy::Broker,
        (Verdict::ClientOriginated, _) => SentBy::Client,
        (Verdict::HandshakePhase, Some(Cause::Refused)) => match refused_by::distances(case) {
            Some((reset, known)) if reset == known => there,
            // A device may copy the TTL; one that differs is no copy.
            Some(_) => SentBy::Device,
            None => SentBy::Unknown,
        },
        (Verdict::HandshakePhase, Some(_)) => there,
        (Verdict::HandshakePhase, None) | (Verdict::Indeterminate, _) => SentBy::Unknown,
    })
}
