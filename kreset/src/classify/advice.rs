//! One concrete sentence: what to change.

use super::{case::Case, class::Class};

/// A setting below a silence that is known to be fatal: half of it, so that
/// one lost probe does no harm.
fn half_seconds(ms: f64) -> f64 {
    (ms / 2_000.0).floor().max(1.0)
}

/// What to do about an event.
pub(super) fn advise(case: &Case<'_>, class: Option<Class>) -> String {
    let idle_ms = case.facts.idle.map_or(0.0, |idle| idle.wire_ms);
    let broker = case.facts.broker();
    match class {
        Some(Class::IdleOnSend | Class::IdleOnTimer | Class::Blackholed) => {
            let fatal_ms = case
                .context
                .path
                .fatal_ms
                .map_or(idle_ms, |ms| ms.min(idle_ms));
            format!(
                "A device on the way to {}:{} forgets flows that are silent for {:.1} s or less: \
                 set connections.max.idle.ms of the client below that (e.g. {:.0}), or let \
                 keepalives run every {:.0} s.",
                broker.address,
                broker.port,
                fatal_ms / 1_000.0,
                half_seconds(fatal_ms) * 1_000.0,
                half_seconds(fatal_ms),
            )
        }
        Some(Class::NotIdle) => "The flow was in use: look for a policy, a failover or \
             out-of-window packets (conntrack INVALID) on the devices between the ends."
            .to_owned(),
        Some(Class::BrokerIdleClose) => "The broker closed an idle connection \
             (connections.max.idle.ms): set connections.max.idle.ms of the client below the \
             broker's, so that the client closes first."
            .to_owned(),
        Some(Class::BrokerShutdown) => {
            "The broker ended: expected during a deploy; otherwise look \
             for its exit in its own log, the out-of-memory killer or the orchestrator."
                .to_owned()
        }
        Some(Class::BrokerLost) => "The broker's host no longer knew the connection: look for a \
             crash or restart of the host, or an address that moved to another one."
            .to_owned(),
        Some(Class::BrokerAborted) => {
            "A live socket of the broker aborted the connection: look in \
             the broker's log for this client at this time (a request too large, a quota, a \
             protocol error)."
                .to_owned()
        }
        Some(Class::Refused) => format!(
            "Nothing listens at {}:{}: this is a refused connection, not a reset one; check that \
             the broker runs and what it advertises.",
            broker.address, broker.port
        ),
        Some(Class::ClosedByBroker) => "The broker accepted the connection and dropped it before \
             any answer: check connection limits (max.connections.per.ip), its load and its log."
            .to_owned(),
        Some(Class::PlaintextToTls) => "The client speaks plaintext to a TLS listener: set \
             security.protocol to SSL or SASL_SSL."
            .to_owned(),
        Some(Class::TlsToPlaintext) => "The client speaks TLS to a plaintext listener: set \
             security.protocol to PLAINTEXT or SASL_PLAINTEXT, or use the TLS port."
            .to_owned(),
        Some(Class::NotKafka) => "The client does not speak Kafka: find out what connects to this \
             port."
            .to_owned(),
        Some(Class::TlsAlert) => {
            "The TLS handshake failed: check certificates, trust and protocol \
             versions of both ends."
                .to_owned()
        }
        Some(Class::Authentication) => "SASL did not end well: check the mechanism, the user and \
             the password."
            .to_owned(),
        Some(Class::ClientAborted) => {
            "The client aborted the connection: look in the client's log \
             at this time."
                .to_owned()
        }
        Some(Class::ClientLost) => "The client's host no longer knew the connection: look for its \
             crash or restart, or an address that moved."
            .to_owned(),
        Some(Class::Probe | Class::LateData) => "Everyday teardown: nothing to do.".to_owned(),
        None => "One host alone cannot tell: run kreset-trace on the other end too and compare."
            .to_owned(),
    }
}
