//! What each side said first: Kafka, TLS, HTTP or something else.

use super::Observation;
use crate::{
    classify::{
        case::Case,
        class::Class,
        weights::{EXCLUDED, FIRST_BYTES, FIRST_BYTES_NO_FIN, FIRST_BYTES_OTHER},
    },
    facts::FirstBytes,
};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.phase.is_handshake() {
        return None;
    }
    let packets = case
        .facts
        .packets
        .as_ref()
        .filter(|packets| packets.from_start)?;
    let client = packets.client_speaks()?;
    let broker = packets.broker_speaks();
    let value = format!(
        "client {}, broker {}",
        word(client),
        broker.map_or("nothing", word)
    );
    let told = Observation::new("first_bytes", value);
    Some(match (client, broker) {
        // Only a TLS listener answers plaintext with an alert.
        (FirstBytes::Kafka | FirstBytes::Other, Some(FirstBytes::TlsAlert)) => {
            told.weigh(FIRST_BYTES, &[Class::PlaintextToTls])
        }
        (FirstBytes::Http, _) => told.weigh(FIRST_BYTES, &[Class::NotKafka]),
        // A TLS listener answers a hello, if only with an alert. A listener that
        // drops connections unread does so without a FIN.
        (FirstBytes::Tls, None) if case.broker_closed_first() => {
            told.weigh(FIRST_BYTES, &[Class::TlsToPlaintext])
        }
        // Nor does a hop that resets what it will not let through.
        (FirstBytes::Tls | FirstBytes::Other, None) if case.is_early_hop() => told,
        (FirstBytes::Tls, None) => told.weigh(FIRST_BYTES_NO_FIN, &[Class::TlsToPlaintext]),
        // Kafka and TLS brokers answer neither; others may.
        (FirstBytes::Tls, Some(FirstBytes::Kafka | FirstBytes::Http | FirstBytes::Other)) => {
            told.weigh(FIRST_BYTES, &[Class::TlsToPlaintext])
        }
        (FirstBytes::Tls, Some(_)) => told.weigh(EXCLUDED, &[Class::ClosedByBroker]),
        (FirstBytes::Other, None) => told.weigh(FIRST_BYTES_OTHER, &[Class::NotKafka]),
        // Kafka to a listener that says nothing: TLS would have sent an alert,
        // SASL an error.
        (FirstBytes::Kafka, None) => told.weigh(EXCLUDED, NOT_KAFKA_UNANSWERED),
        _ => told,
    })
}

/// What an unanswered Kafka request is not.
const NOT_KAFKA_UNANSWERED: &[Class] = &[
    Class::PlaintextToTls,
    Class::TlsToPlaintext,
    Class::NotKafka,
    Class::TlsAlert,
    Class::Authentication,
];

const fn word(bytes: FirstBytes) -> &'static str {
    match bytes {
        FirstBytes::Kafka => "Kafka",
        FirstBytes::Tls => "TLS handshake",
        FirstBytes::TlsAlert => "TLS alert",
        FirstBytes::Http => "HTTP",
        FirstBytes::Other => "something else",
    }
}
