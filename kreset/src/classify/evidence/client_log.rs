//! What the client wrote about the connection in its log.

use super::{Basis, Observation};
use crate::{
    classify::{case::Case, class::Class, weights::CLIENT_WROTE},
    facts::ClientLogKind,
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    let log = case.facts.client_log.as_ref()?;
    let seen = Observation::new("client_log", log.text.clone());
    let class = match log.kind {
        ClientLogKind::Authentication => Class::Authentication,
        ClientLogKind::TlsHandshake => Class::TlsAlert,
        ClientLogKind::TlsToPlaintext => Class::TlsToPlaintext,
        ClientLogKind::PlaintextToTls => Class::PlaintextToTls,
        ClientLogKind::Refused => Class::Refused,
        ClientLogKind::RequestTimeout => Class::Blackholed,
        // The packets show as much.
        ClientLogKind::Disconnected | ClientLogKind::EndOfStream | ClientLogKind::Reset => {
            return Some(seen);
        }
    };
    Some(seen.weigh(CLIENT_WROTE, &[class]).on(Basis::Shown))
}
