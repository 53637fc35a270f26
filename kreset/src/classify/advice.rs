//! One concrete sentence: what to change, on which client, to which value.

use std::net::SocketAddr;

use smol_str::{SmolStr, format_smolstr};

use super::{case::Case, class::Class, context::PathView, evidence::refused_by};
use crate::{
    event::{Direction, Endpoint, Role, is_unclear},
    facts::Facts,
};

/// Kafka API keys whose answer a broker holds back on purpose (long polls).
const FETCH: u16 = 1;
const JOIN_GROUP: u16 = 11;

/// Names of Kafka's own client, and of its threads, which Linux cuts after 15
/// characters.
const JAVA: [&str; 4] = [
    "apache-kafka-java",
    "kafka-producer-",
    "kafka-admin-cli",
    "kafka-coordinat",
];

/// Names of librdkafka, of programs and bindings that use it, and of its threads.
const LIBRDKAFKA: [&str; 5] = ["librdkafka", "confluent-kafka", "rdkafka", "kcat", "rdk:"];

/// A client library that is advised in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    /// Apache Kafka's own, and what is built on it.
    Java,
    /// librdkafka and its bindings.
    Librdkafka,
    /// kafkajs.
    Kafkajs,
    /// kafka-python, aiokafka, Sarama, franz-go and all others.
    Other,
}

impl Client {
    /// By what the client's first request says of it, else by the process.
    #[must_use]
    fn of(facts: &Facts) -> Self {
        let packets = facts.packets.as_ref();
        let software = packets.and_then(super::software::name);
        let process = (facts.role == Role::Client)
            .then(|| facts.owner.name.clone())
            .flatten();
        if packets.is_some_and(|it| super::software::is_kafkajs(it, process.as_deref())) {
            return Self::Kafkajs;
        }
        let name = software
            .map(SmolStr::from)
            .or(process)
            .unwrap_or_default()
            .to_lowercase();
        let any = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if name == "java" || any(&JAVA) {
            Self::Java
        } else if any(&LIBRDKAFKA) {
            Self::Librdkafka
        } else {
            Self::Other
        }
    }
}

/// What to do about an event.
pub(super) fn advise(case: &Case<'_>, decided: Option<(Class, f64)>) -> SmolStr {
    match decided {
        Some((class @ (Class::IdleOnSend | Class::IdleOnTimer | Class::Blackholed), _)) => {
            idle(case, class)
        }
        Some((class, share)) if is_unclear(class.verdict(), share) => unclear(case),
        Some((class, _)) => fixed(case, class),
        None => format_smolstr!(
            "One host alone cannot tell: run kreset-trace on the other end too and compare{}.",
            long_poll_symptom(case)
        ),
    }
}

/// A failed first exchange that several causes fit.
fn unclear(case: &Case<'_>) -> SmolStr {
    let packets = case.facts.packets.as_ref();
    SmolStr::new_static(if packets.is_some_and(|packets| packets.from_start) {
        "The first exchange failed, and several causes fit: look in the broker's log at this time."
    } else {
        "The first exchange failed, and its first bytes, which would tell why, were not seen: run \
         kreset-trace with packet evidence, and before the clients connect."
    })
}

/// Where clients reach the broker.
const fn at(case: &Case<'_>) -> SocketAddr {
    let Endpoint { address, port } = case.facts.broker();
    SocketAddr::new(address, port)
}

/// A value below the timer, milliseconds: below what is known to survive where
/// something is, else half of what was fatal.
fn safe_ms(path: &PathView, idle_ms: f64) -> u64 {
    let fatal_ms = path.fatal_ms.map_or(idle_ms, |fatal| fatal.min(idle_ms));
    let safe = match path.survived_ms {
        Some(survived) if survived < fatal_ms && survived > fatal_ms / 2.0 => survived * 0.9,
        _ => fatal_ms / 2.0,
    };
    whole(safe)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a silence in milliseconds, rounded down to two digits"
)]
const fn whole(ms: f64) -> u64 {
    let ms = ms.max(1.0) as u64;
    let digit = 10_u64.pow(ms.ilog10().saturating_sub(1));
    ms / digit * digit
}

fn seconds(ms: f64) -> String {
    if ms < 10_000.0 {
        format!("{:.1} s", ms / 1_000.0)
    } else {
        format!("{:.0} s", ms / 1_000.0)
    }
}

/// What has the kernel of the client's host send a keepalive every `every_s`
/// seconds: the first one after `tcp_keepalive_time`, and each further one no
/// sooner than `tcp_keepalive_intvl` after it, answered or not
/// (`tcp_keepalive_timer`, 6.18).
fn keepalives(every_s: u64) -> String {
    /// `TCP_KEEPALIVE_INTVL` (include/net/tcp.h, 6.18).
    const DEFAULT_INTERVAL_S: u64 = 75;
    let time = format!("net.ipv4.tcp_keepalive_time={every_s}");
    if every_s < DEFAULT_INTERVAL_S {
        format!("{time} and net.ipv4.tcp_keepalive_intvl={every_s}")
    } else {
        time
    }
}

fn idle(case: &Case<'_>, class: Class) -> SmolStr {
    let at = at(case);
    let path = &case.context.path;
    let idle_ms = case.facts.idle.map_or(0.0, |idle| idle.wire_ms);
    let fatal_ms = path.fatal_ms.map_or(idle_ms, |fatal| fatal.min(idle_ms));
    let what = match class {
        Class::Blackholed => "drops",
        _ => "resets",
    };
    let interval = match path.survived_ms {
        Some(survived) if survived < fatal_ms => {
            format!("between {} and {}", seconds(survived), seconds(fatal_ms))
        }
        _ => format!("{} or less", seconds(fatal_ms)),
    };
    let safe = safe_ms(path, idle_ms);
    let keep_s = (safe / 1_000).max(1);
    let host = keepalives(keep_s);
    let setting = match Client::of(case.facts) {
        // Its selector looks for idle connections only when it is woken, and the
        // record that wakes it goes out on the dead one; SO_KEEPALIVE is on.
        Client::Java => format!(
            "set {host} on the client's host, since the Java client \
             has keepalives on but at the kernel's 7200 s (connections.max.idle.ms does not save \
             a quiet producer)"
        ),
        Client::Librdkafka => format!(
            "set socket.keepalive.enable=true in librdkafka and {host} on the client's host, or \
             connections.max.idle.ms={safe}"
        ),
        // It sets TCP_KEEPIDLE to 60 s on each socket, whatever the host's sysctl
        // says, and has no setting for it (2.2.4, network/socketFactory.js).
        Client::Kafkajs => format!(
            "give kafkajs a socketFactory that calls socket.setKeepAlive(true, {}), since its own \
             sends keepalives every 60 s and closes nothing that is idle",
            keep_s * 1_000
        ),
        Client::Other => format!(
            "set connections.max.idle.ms={safe} (or your client's equivalent), or enable keepalives with \
             {host} on the client's host"
        ),
    };
    let symptom = long_poll_symptom(case);
    format_smolstr!(
        "A device on the way to {at} {what} flows silent for {interval}: {setting}{symptom}."
    )
}

/// The answer of a long poll met the reset: the client sees none.
fn long_poll_symptom(case: &Case<'_>) -> &'static str {
    let polls = case
        .facts
        .packets
        .as_ref()
        .and_then(|packets| packets.api_key)
        .is_some_and(|key| key == FETCH || key == JOIN_GROUP);
    if case.facts.role == Role::Broker && case.direction() == Direction::Received && polls {
        "; the client will show a request timeout, no reset (lower fetch.max.wait.ms as well)"
    } else {
        ""
    }
}

fn fixed(case: &Case<'_>, class: Class) -> SmolStr {
    SmolStr::new_static(match class {
        Class::NotIdle => {
            "The flow was in use: look for a policy, a failover or out-of-window packets \
             (conntrack INVALID) on the devices between the ends."
        }
        Class::Rebound | Class::Moved => {
            "This host answered for a connection that it never had: a NAT, balancer or failover on \
             the way gave the flow another port, address or backend. Look at the idle timer and the \
             failover of those devices, not at this host."
        }
        Class::BrokerClosed => {
            "The broker, or a proxy at its address, closed this connection and goes on: look in its \
             log for this client at this time (connections.max.reauth.ms, a quota, a TLS error, a \
             proxy's limit on the age of a connection)."
        }
        Class::BrokerIdleClose => {
            "The broker closed an idle connection (connections.max.idle.ms): set \
             connections.max.idle.ms of the client below the broker's, so that the client closes \
             first."
        }
        Class::BrokerShutdown => {
            "The broker ended: expected during a deploy; otherwise look for its exit in its own \
             log, the out-of-memory killer or the orchestrator."
        }
        Class::BrokerLost => {
            "The broker's host no longer knew the connection: look for a crash or restart of the \
             host, or an address that moved to another one."
        }
        Class::BrokerAborted => {
            "A live socket of the broker aborted the connection: look in the broker's log for \
             this client at this time (a request too large, a quota, a protocol error)."
        }
        Class::Refused => {
            return refused(case);
        }
        Class::ClosedByBroker => {
            "The broker accepted the connection and dropped it before any answer: check \
             max.connections.per.ip and the creation rate, its load and its log."
        }
        Class::PlaintextToTls => {
            "The client speaks plaintext to a TLS listener: set security.protocol=SSL (or \
             SASL_SSL) in the client, or use the plaintext port."
        }
        Class::TlsToPlaintext => {
            "The client speaks TLS to a plaintext listener: set security.protocol=PLAINTEXT (or \
             SASL_PLAINTEXT) in the client, or use the TLS port."
        }
        Class::NotKafka => {
            "What connects here does not speak Kafka: find out who it is (a health check, a \
             browser, a scanner) and point it elsewhere."
        }
        Class::TlsAlert => return tls(case),
        Class::Authentication => {
            "Authentication failed: check sasl.mechanism, the user and the password, and that the \
             client's security.protocol has SASL where the listener wants it."
        }
        Class::ClientAborted => {
            "The client aborted the connection: look in the client's log at this time."
        }
        Class::ClientLost => {
            "The client's host no longer knew the connection: look for its crash or restart, or \
             an address that moved."
        }
        Class::Probe | Class::LateData => "Everyday teardown: nothing to do.",
        Class::IdleOnSend | Class::IdleOnTimer | Class::Blackholed => return idle(case, class),
    })
}

fn refused(case: &Case<'_>) -> SmolStr {
    const NOT_RESET: &str = "this is a refused connection, not a reset one";
    let at = at(case);
    match refused_by::distances(case) {
        Some((reset, known)) if reset != known => format_smolstr!(
            "Something before {at} refuses connections (its RST came with TTL {reset}, the \
             broker's packets with {known}; {NOT_RESET}): look at firewalls, security groups and \
             load balancers on the way."
        ),
        None if case.received() => format_smolstr!(
            "Nothing listens at {at}, or a firewall on the way refuses: {NOT_RESET}; check that \
             the broker runs and what it advertises."
        ),
        _ => format_smolstr!(
            "Nothing listens at {at}: {NOT_RESET}; check that the broker runs and what it \
             advertises."
        ),
    }
}

fn tls(case: &Case<'_>) -> SmolStr {
    let packets = case.facts.packets.as_ref();
    let alert = packets.and_then(|packets| packets.broker_alert.or(packets.client_alert));
    let what = match alert
        .filter(|alert| alert.is_fatal())
        .map(|alert| alert.description)
    {
        Some(42 | 43 | 44 | 45 | 46 | 48 | 116) => {
            "check the certificates of both ends, their dates and ssl.truststore/ssl.keystore"
        }
        Some(40 | 70 | 71) => "make ssl.enabled.protocols and the cipher suites of both ends meet",
        Some(112) => "check the host name that the client connects to (SNI)",
        _ => "check certificates, trust and protocol versions of both ends",
    };
    format_smolstr!("The TLS handshake failed: {what}.")
}
