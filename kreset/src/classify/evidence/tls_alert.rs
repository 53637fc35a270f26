//! A TLS handshake that began and did not end: by an alert in clear, by one
//! that is encrypted (TLS 1.3), or by an abort.

use super::{Basis, Observation, sasl};
use crate::{
    classify::{
        case::Case,
        class::Class,
        phase::{Phase, TLS_CLOSE_NOTIFY_AT_MOST, TLS_TURNS},
        weights::{SASL_IN_TLS, TLS_ALERT, TLS_UNFINISHED},
    },
    facts::{FirstBytes, TlsAlert},
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    let packets = case.facts.packets.as_ref()?;
    if case.phase != Phase::Tls || packets.client_speaks() != Some(FirstBytes::Tls) {
        return None;
    }
    let sent = [
        ("broker", packets.broker_alert),
        ("client", packets.client_alert),
    ];
    let fatal = sent.into_iter().find_map(|(side, alert)| {
        alert
            .filter(|alert| alert.is_fatal())
            .map(|alert| (side, alert))
    });
    if let Some((side, alert)) = fatal {
        let observation = Observation::new("tls_alert", name(side, alert));
        return Some(
            observation
                .weigh(TLS_ALERT, &[Class::TlsAlert])
                .on(Basis::Named),
        );
    }
    let observation = Observation::new("tls_alert", "none in clear, the handshake did not end");
    if case.is_early_hop() {
        // It did not end because a hop reset it.
        return Some(observation);
    }
    if gave_up(case) {
        return Some(observation);
    }
    let observation = observation.weigh(TLS_UNFINISHED, &[Class::TlsAlert]);
    Some(if packets.turns >= TLS_TURNS {
        observation.weigh(SASL_IN_TLS, &[Class::Authentication])
    } else {
        observation
    })
}

/// The client closed in order and neither end rejected the other, which takes an alert: after its
/// hello alone, or once it had waited for an answer to its later words.
pub(super) fn gave_up(case: &Case<'_>) -> bool {
    let Some(packets) = &case.facts.packets else {
        return false;
    };
    let alerts = [packets.broker_alert, packets.client_alert];
    let has_failed = alerts.into_iter().flatten().any(TlsAlert::is_fatal);
    let was_unanswered = !packets.broker_spoke_last
        && packets.latest_request_len > TLS_CLOSE_NOTIFY_AT_MOST
        && sasl::waited(case);
    case.client_closed_first() && !has_failed && (packets.requests == 1 || was_unanswered)
}

fn name(side: &str, alert: TlsAlert) -> String {
    format!("{side}: {} ({})", alert.name(), alert.description)
}
