//! What each side said first: Kafka, TLS, HTTP or something else.

use super::{Basis, Observation};
use crate::{
    classify::{
        case::Case,
        class::Class,
        phase::Phase,
        weights::{
            EXCLUDED, FIRST_BYTES, FIRST_BYTES_NO_FIN, FIRST_BYTES_OTHER, HELLO_CLOSED, HELLO_READ,
        },
    },
    event::Role,
    facts::FirstBytes,
};

/// Bytes of the length of a Kafka request.
const LENGTH: u64 = 4;

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.phase.is_handshake() {
        return None;
    }
    let packets = case
        .facts
        .packets
        .as_ref()
        .filter(|packets| packets.from_start)?;
    let broker = packets.broker_speaks();
    // A service that greets first may have ended before the client spoke.
    let client = packets.client_speaks();
    if client.is_none() && broker.is_none() {
        return None;
    }
    let read = read_by_broker(case).filter(|_| broker.is_none());
    let value = format!(
        "client {}, broker {}{}",
        client.map_or("nothing", word),
        broker.map_or("nothing", word),
        read.map_or_else(String::new, |read| format!(", {read} bytes read"))
    );
    let observation = Observation::new("first_bytes", value);
    let Some(client) = client else {
        return Some(foreign_answer(observation));
    };
    Some(match (client, broker) {
        // No broker answers a request like this, and none speaks first.
        (FirstBytes::Kafka, Some(FirstBytes::Http | FirstBytes::Other)) => {
            foreign_answer(observation)
        }
        // Only a TLS listener answers plaintext with an alert.
        (FirstBytes::Kafka | FirstBytes::Other, Some(FirstBytes::TlsAlert)) => observation
            .weigh(FIRST_BYTES, &[Class::PlaintextToTls])
            .on(Basis::Named),
        (FirstBytes::Http, _) => observation
            .weigh(FIRST_BYTES, &[Class::NotKafka])
            .on(Basis::Named),
        // A TLS listener answers a hello, if only with an alert. A listener that
        // drops connections unread does so without a FIN.
        (FirstBytes::Tls, None) if closed_late(case) => observation,
        (FirstBytes::Tls, None) if case.client_closed_first() => observation,
        (FirstBytes::Tls, None) if let Some(read) = read => closed_on_a_hello(read, observation),
        (FirstBytes::Tls, None) if is_kafka_plaintext(case) => observation
            .weigh(FIRST_BYTES, &[Class::TlsToPlaintext])
            .on(Basis::Shown),
        (FirstBytes::Tls, None) if case.broker_closed_first() => {
            observation.weigh(HELLO_CLOSED, &[Class::TlsToPlaintext])
        }
        // Nor does a hop that resets what it will not let through.
        (FirstBytes::Tls | FirstBytes::Other, None) if case.may_be_forged_early() => observation,
        // Nor does a stack without a socket, which is no listener that read the hello.
        (FirstBytes::Tls, None) if answered_by_no_socket(case) => observation,
        (FirstBytes::Tls, None) => observation.weigh(FIRST_BYTES_NO_FIN, &[Class::TlsToPlaintext]),
        // Kafka and TLS brokers answer neither; others may.
        (FirstBytes::Tls, Some(FirstBytes::Kafka | FirstBytes::Http | FirstBytes::Other)) => {
            observation
                .weigh(FIRST_BYTES, &[Class::TlsToPlaintext])
                .on(Basis::Named)
        }
        // The handshake succeeded, so that neither end had rejected the other.
        (FirstBytes::Tls, Some(_)) if case.phase == Phase::Unanswered => {
            observation.weigh(EXCLUDED, NOT_KAFKA_UNANSWERED)
        }
        (FirstBytes::Tls, Some(_)) => observation.weigh(EXCLUDED, &[Class::ClosedByBroker]),
        (FirstBytes::Other, None) => observation.weigh(FIRST_BYTES_OTHER, &[Class::NotKafka]),
        // Kafka to a listener that says nothing: TLS would have sent an alert,
        // SASL an error.
        (FirstBytes::Kafka, None) => observation.weigh(EXCLUDED, NOT_KAFKA_UNANSWERED),
        _ => observation,
    })
}

/// What the broker's process had read of a TLS hello when it closed says who it is. Kafka's
/// plaintext listener reads the length of a request, finds it too large and closes with the
/// rest unread (`NetworkReceive.readFrom`, Kafka 2.8 to 4.3): first a FIN, and a RST unless
/// the client's own FIN is faster.
fn closed_on_a_hello(read: u64, observation: Observation) -> Observation {
    match read {
        LENGTH => observation
            .weigh(FIRST_BYTES, &[Class::TlsToPlaintext])
            .on(Basis::Named),
        0 => observation.weigh(EXCLUDED, &[Class::TlsToPlaintext]),
        _ => observation.weigh(HELLO_READ, &[Class::TlsToPlaintext]),
    }
}

/// Whether the listener of an unanswered TLS hello is Kafka's plaintext one, as far as either
/// host can know it: it answered in plaintext, or left a hello unread after its first bytes.
pub(in crate::classify) fn is_kafka_plaintext(case: &Case<'_>) -> bool {
    let packets = case.facts.packets.as_ref();
    if packets.is_some_and(|packets| packets.broker_speaks().is_some()) {
        return true;
    }
    if let Some(read) = read_by_broker(case) {
        return read == LENGTH;
    }
    let is_aborted = case.received() && case.facts.reset_is_live() == Some(true);
    case.broker_closed_first() && is_aborted
}

/// Bytes that the broker's process has read, on its own host.
fn read_by_broker(case: &Case<'_>) -> Option<u64> {
    let counters = case.facts.counters?;
    let (received, unread) = (counters.bytes_received?, counters.unread?);
    (case.facts.role == Role::Broker).then(|| received.saturating_sub(unread))
}

/// What answers is another service: a web server, a proxy, one that greets first.
fn foreign_answer(observation: Observation) -> Observation {
    observation
        .weigh(FIRST_BYTES, &[Class::NotKafka])
        .on(Basis::Named)
}

/// A plaintext listener takes a TLS hello for a length that is too large and closes at
/// once: Kafka 4.3 after 1 to 4 ms, with SASL after 105 ms. One that closes later ran
/// into a timer or a limit.
fn closed_late(case: &Case<'_>) -> bool {
    const AT_ONCE_MS: f64 = 250.0;
    let trip_us = case.facts.counters.and_then(|counters| counters.srtt_us);
    let trip_ms = trip_us.map_or(0.0, |us| f64::from(us) / 1_000.0);
    case.facts
        .fin
        .is_some_and(|fin| fin.silence_ms > AT_ONCE_MS + trip_ms)
}

/// Without a FIN before it, the RST lacks what a live socket's has.
fn answered_by_no_socket(case: &Case<'_>) -> bool {
    case.received() && case.facts.fin.is_none() && case.facts.reset_is_live() == Some(false)
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
