//! One concrete sentence: what to change, on which client, to which value.

use std::net::SocketAddr;

use smol_str::{SmolStr, format_smolstr};

use super::{
    case::Case,
    class::Class,
    context::PathView,
    devices,
    evidence::{broker_fin, first_bytes, refused_by, sasl, timeout},
    load,
    phase::Phase,
    process_end,
    weights::BAR,
};
use crate::{
    event::{Direction, Endpoint, Role, is_unclear},
    facts::{Facts, FirstBytes, Kind, State, api_key},
};

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
        let software = packets.and_then(|it| it.client_names().software);
        let process = (facts.role == Role::Client)
            .then(|| facts.owner.name.clone())
            .flatten();
        if packets.is_some_and(|it| super::software::is_kafkajs(it, process.as_deref())) {
            return Self::Kafkajs;
        }
        let name = software.or(process).unwrap_or_default().to_lowercase();
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
        Some((class, share)) if is_unclear(class.verdict(), share) => unclear(case),
        Some((class, share)) if share < BAR => hedged(&by_class(case, class)),
        Some((class, _)) => by_class(case, class),
        None => undecided(case),
    }
}

fn by_class(case: &Case<'_>, class: Class) -> SmolStr {
    let advice = of_broker(case, class);
    let names_queue = class == Class::ClosedByBroker && case.facts.queue_full;
    let load = || load::advice(case.facts, names_queue);
    match is_telling(class).then(load).flatten() {
        // Nothing to do about the close is not all that there is to do.
        Some(load) if class == Class::LateData => load,
        Some(load) => format_smolstr!("{advice} {load}"),
        None => advice,
    }
}

fn of_broker(case: &Case<'_>, class: Class) -> SmolStr {
    let advice = by_class_alone(case, class);
    // Whatever ended this one: while the broker does not run, or did not, that is to be known.
    match &case.context.process_end {
        Some(end) if class != Class::BrokerShutdown && is_telling(class) => {
            format_smolstr!("{advice} {}", process_end::of_the_broker(end))
        }
        _ => advice,
    }
}

/// An ending that a broker that does not run, or hardly runs, may have brought about.
const fn is_telling(class: Class) -> bool {
    matches!(
        class,
        Class::Refused
            | Class::BrokerLost
            | Class::BrokerAborted
            | Class::BrokerClosed
            | Class::ClosedByBroker
            | Class::ClientAborted
            | Class::LateData
            | Class::Blackholed
    )
}

fn by_class_alone(case: &Case<'_>, class: Class) -> SmolStr {
    match class {
        Class::IdleOnSend | Class::IdleOnTimer | Class::Blackholed => idle(case, class),
        _ => fixed(case, class),
    }
}

/// What is below the bar is no fact: neither is what follows from it.
fn hedged(advice: &str) -> SmolStr {
    format_smolstr!("Probably, other causes fit as well: {advice}")
}

fn undecided(case: &Case<'_>) -> SmolStr {
    let at = at(case);
    if case.gave_up() && timeout::is_unreachable(case.facts) {
        return format_smolstr!(
            "The network answered that the other end is unreachable (ICMP, or no answer to ARP): \
             check that its host is up and has its address, then routes and firewalls on the way \
             to {at}."
        );
    }
    if case.facts.kind == Kind::Unobserved {
        return format_smolstr!(
            "The kernel ran no program when this connection ended, so nothing is known but that it \
             did: the log of the process says how, or kreset-trace on the other end."
        );
    }
    if case.never_had().is_some() && !case.is_client() {
        return never_had(case);
    }
    let large = full_sized(case);
    if case.gave_up() && !large.is_empty() {
        return format_smolstr!("Packets went unanswered in mid-use{large}.");
    }
    if case.drawn_by_synack() {
        return format_smolstr!(
            "This host reset a SYN,ACK of {at} that answers no connection attempt of its own: \
             translation on the way that changes the answers' address (asymmetric DNAT), an \
             attempt that was given up, or a scan from here. Where connects time out, compare the \
             address that the client asks with {at}."
        );
    }
    if case.is_open() && case.received() && case.facts.reset_is_live() == Some(false) {
        return format_smolstr!(
            "One host alone cannot tell: the other end lost the connection (a crash, a restart), \
             the flow was moved to another host (a NAT, a balancer, an address that moved), or a \
             device or a host's own firewall reset it. Run kreset-trace on the other end too and \
             compare{}.",
            long_poll_symptom(case)
        );
    }
    format_smolstr!(
        "One host alone cannot tell: run kreset-trace on the other end too and compare{}.",
        long_poll_symptom(case)
    )
}

/// This host answered for a connection that it never had, and does not know why the packet came.
fn never_had(case: &Case<'_>) -> SmolStr {
    let reach = match case.never_had() {
        None | Some(0) => "as far as kreset-trace remembers".to_owned(),
        Some(ms) => format!(
            "in the last {}, which is all that kreset-trace remembers",
            seconds(ms.into())
        ),
    };
    format_smolstr!(
        "This host did not have the connection {reach}: a NAT, balancer or failover on the way moved \
         the flow here, or this host lost it before. Compare with kreset-trace on the client's host."
    )
}

/// What went unanswered was as large as packets get: a link with a smaller MTU drops
/// those, and its ICMP is filtered.
fn full_sized(case: &Case<'_>) -> String {
    /// IPv6's least MTU without headers: links that carry less are not the internet's.
    const LARGE: u32 = 1_220;
    let packets = case.facts.packets.as_ref();
    let sent = packets.map_or(0, |packets| match case.facts.role {
        Role::Client => packets.latest_request_len,
        Role::Broker => packets.latest_response_len,
    });
    if sent < LARGE {
        return String::new();
    }
    format!(
        "; the lost segment was full-sized ({sent} bytes), so check the MTU of the path (a tunnel, \
         ICMP \"fragmentation needed\" that is filtered; net.ipv4.tcp_mtu_probing=1 works around it)"
    )
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

/// A value below the timer, milliseconds: below what the path is known to survive, else
/// half of what was fatal.
fn safe_ms(path: &PathView, idle_ms: f64) -> u64 {
    /// The kernel sends keepalives every second at most.
    const LEAST_MS: f64 = 1_200.0;
    let fatal_ms = path.fatal_ms.map_or(idle_ms, |fatal| fatal.min(idle_ms));
    let safe = match path.survived_ms {
        Some(survived) if survived < fatal_ms && survived >= LEAST_MS => survived * 0.9,
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
        Class::Blackholed => "drops what comes later",
        Class::IdleOnTimer => "resets both ends then",
        _ => "resets their next packet",
    };
    let interval = match path.survived_ms {
        Some(survived) if survived < fatal_ms => format!(
            "about {} (at most; {} are survived)",
            seconds(fatal_ms),
            seconds(survived)
        ),
        _ => format!("about {} (at most)", seconds(fatal_ms)),
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
    let symptom = match class {
        Class::Blackholed => full_sized(case),
        _ => long_poll_symptom(case).to_owned(),
    };
    format_smolstr!(
        "A device on the way to {at} forgets connections that are idle for {interval} and {what}. \
         On the broker's host, for all its new connections: `sudo sysctl -w \
         net.ipv4.tcp_keepalive_time={keep_s} net.ipv4.tcp_keepalive_intvl={keep_s}` (a broker's \
         sockets have keepalives on; for a pod, securityContext.sysctls); or {setting}; or raise the \
         device's idle timeout{}{symptom}.",
        ranges(class, path)
    )
}

/// What the timers of the devices that fit can be set to.
fn ranges(class: Class, path: &PathView) -> String {
    let ranges: Vec<String> = devices::candidates(class, path)
        .iter()
        .filter_map(|device| {
            let [least, most] = device.range_s?;
            Some(format!("{} {least} to {most} s", device.name))
        })
        .collect();
    if ranges.is_empty() {
        String::new()
    } else {
        format!(" ({})", ranges.join(", "))
    }
}

/// The answer of a long poll met the reset: the client sees none.
fn long_poll_symptom(case: &Case<'_>) -> &'static str {
    let polls = case
        .facts
        .packets
        .as_ref()
        .and_then(|packets| packets.api_key)
        .is_some_and(|key| [api_key::FETCH, api_key::JOIN_GROUP].contains(&key));
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
        Class::BrokerAborted | Class::BrokerClosed if ended_at_one_age(case).is_some() => {
            return ended_at_one_age(case).unwrap_or_default();
        }
        Class::BrokerClosed if case.is_cut_off() => {
            let silence_ms = case.facts.fin.map_or(0.0, |fin| fin.silence_ms);
            return format_smolstr!(
                "The broker, or a proxy at its address, closed the connection in order with a \
                 request unanswered for {}: a proxy whose backend ended or was too slow (HAProxy's \
                 timeout server, nginx's proxy_timeout), or an error that the log at that address \
                 names.",
                seconds(silence_ms)
            );
        }
        Class::BrokerClosed => {
            "The broker, or a proxy at its address, closed this connection and goes on: look in its \
             log for this client at this time (connections.max.reauth.ms, a quota, a TLS error, a \
             proxy's limit on the age of a connection)."
        }
        Class::BrokerIdleClose => return idle_close(case),
        Class::BrokerShutdown if goes(case) => {
            let end = case.context.process_end.as_ref();
            return end.map_or_else(SmolStr::default, process_end::advice);
        }
        Class::BrokerShutdown if case.context.concurrent.accepted => {
            "The broker, or a proxy at its address, ended several connections while new ones were \
             accepted at once: a listener that was drained or replaced (a reload, a rolling \
             restart); expected during a deploy."
        }
        Class::BrokerShutdown => {
            "The broker ended: expected during a deploy; otherwise look for its exit in its own \
             log, the out-of-memory killer or the orchestrator."
        }
        Class::BrokerLost => {
            "The broker's host no longer knew the connection: look for a crash or restart of the \
             host, or an address that moved to another one."
        }
        Class::BrokerAborted if case.facts.worker_exited() => {
            "A process that had inherited the connection ended with it, while the broker goes on: \
             look for the end of a worker or a child of the broker, or of a proxy at its address."
        }
        Class::BrokerAborted if broker_fin::after_its_timer(case) => {
            "The broker's idle timer closed the connection with a request unread: it had muted this \
             client (a quota, or a request that took as long). Look at the client's throttle times."
        }
        Class::BrokerAborted | Class::ClientAborted if was_aborted_from_outside(case) => {
            "The kernel was told to abort the connection from outside its process (tcp_abort): an \
             administrator's ss -K, or an agent that does the same."
        }
        Class::BrokerAborted => {
            "A live socket of the broker aborted the connection: look in the broker's log for \
             this client at this time (a request too large, a quota, a protocol error)."
        }
        Class::Refused => {
            return refused(case);
        }
        Class::ClosedByBroker => return closed_by_broker(case),
        Class::PlaintextToTls => {
            "The client speaks plaintext to a TLS listener: set security.protocol=SSL (or \
             SASL_SSL) in the client, or use the plaintext port."
        }
        Class::TlsToPlaintext if !first_bytes::is_kafka_plaintext(case) => {
            return format_smolstr!(
                "The client's TLS hello was not answered. Either the listener is a plaintext one \
                 (set security.protocol=PLAINTEXT or SASL_PLAINTEXT in the client, or use the TLS \
                 port), or a proxy or ingress at that address knows no such server name, or a \
                 limit closed the connection. Whether it speaks TLS: `openssl s_client -connect {}`.",
                at(case)
            );
        }
        Class::TlsToPlaintext => {
            "The client speaks TLS to a plaintext listener: set security.protocol=PLAINTEXT (or \
             SASL_PLAINTEXT) in the client, or use the TLS port."
        }
        Class::NotKafka if answers_otherwise(case) => return other_service(case),
        Class::NotKafka if proxy_header(case).is_some() => {
            return format_smolstr!(
                "The connection begins with a PROXY protocol header ({}), which the listener does \
                 not expect: turn it off at the balancer (send-proxy, proxy_protocol), or let a \
                 proxy that accepts it stand before the broker.",
                proxy_header(case).unwrap_or_default()
            );
        }
        Class::NotKafka => {
            "What connects here does not speak Kafka: find out who it is (a health check, a \
             browser, a scanner) and point it elsewhere."
        }
        Class::TlsAlert => return tls(case),
        Class::Authentication if has_no_sasl(case) => {
            "The listener has no SASL (it answered SaslHandshake with 34, ILLEGAL_SASL_STATE): set \
             security.protocol=PLAINTEXT (or SSL) in the client, or use the SASL listener's port."
        }
        Class::Authentication => {
            "Authentication failed: check sasl.mechanism, the user and the password, and that the \
             client's security.protocol has SASL where the listener wants it."
        }
        Class::ClientAborted if case.facts.exit_signal.is_some_and(|signal| signal != 0) => {
            return format_smolstr!(
                "The client's process was ended by signal {}: look at the out-of-memory killer, the \
                 orchestrator or who sent it; the client's own log has nothing of it.",
                case.facts.exit_signal.unwrap_or_default()
            );
        }
        Class::ClientAborted => {
            "The client aborted the connection: look in the client's log at this time."
        }
        Class::ClientLost => {
            "The client's host no longer knew the connection: look for its crash or restart, or \
             an address that moved."
        }
        Class::Probe | Class::LateData => "Routine close: nothing to do.",
        Class::IdleOnSend | Class::IdleOnTimer | Class::Blackholed => return idle(case, class),
    })
}

/// How the broker's process ended, or that it was asked to, is known.
fn goes(case: &Case<'_>) -> bool {
    let end = case.context.process_end.as_ref();
    end.is_some_and(|end| process_end::what(end).is_end())
}

/// The timer, and whose it may be.
fn idle_close(case: &Case<'_>) -> SmolStr {
    let silence_ms = case.context.closing.map(|closing| closing.silence_ms);
    let silence_ms = silence_ms.or_else(|| case.facts.fin.map(|fin| fin.silence_ms));
    let Some(silence_ms) = silence_ms else {
        return SmolStr::new_static(
            "The broker closed an idle connection: set connections.max.idle.ms of the client below \
             the broker's, so that the client closes first.",
        );
    };
    let whose = if broker_fin::fits_timer(case, silence_ms) {
        "its connections.max.idle.ms"
    } else {
        "its connections.max.idle.ms, or the idle timer of a proxy at its address (HAProxy's timeout \
         client and server, nginx's proxy_timeout)"
    };
    format_smolstr!(
        "The broker's end closed the connection after {} of silence ({whose}): set \
         connections.max.idle.ms of the client below that, so that the client closes first.",
        seconds(silence_ms)
    )
}

/// A limit on the age of connections ended this one and others before.
fn ended_at_one_age(case: &Case<'_>) -> Option<SmolStr> {
    let age_ms = case
        .facts
        .age
        .filter(|_| case.context.concurrent.same_age)?
        .ms;
    Some(format_smolstr!(
        "Connections of this broker end at the same age, {}: a session that was not \
         reauthenticated in time (connections.max.reauth.ms; the client must support KIP-368), or a \
         proxy's limit on the age of a connection.",
        seconds(age_ms)
    ))
}

/// Kernel: `tcp_abort` resets what is not closed yet; an application's own abort has left
/// the state (`tcp_disconnect`).
fn was_aborted_from_outside(case: &Case<'_>) -> bool {
    case.sent()
        && case.facts.kernel_reason.as_deref() == Some("TCP_STATE")
        && case.in_state(&[State::Established, State::CloseWait])
}

/// What may drop a connection before any answer, as far as its end shows which.
fn closed_by_broker(case: &Case<'_>) -> SmolStr {
    const LIMITS: &str = "max.connections.per.ip or the creation rate of the broker";
    const OTHERS: &str = "a proxy at its address without a working backend or with a full queue, a \
                          listener that expects TLS or a PROXY protocol header, another service";
    const QUEUE: &str = "net.core.somaxconn and socket.listen.backlog.size";
    if case.facts.queue_full {
        return format_smolstr!(
            "The listener's accept queue was full, so the broker never accepted the connection: \
             raise {QUEUE}, and look at what keeps the broker from accepting (its load, long pauses)."
        );
    }
    if case.phase == Phase::Second
        && let Some(packets) = &case.facts.packets
        && let Some(key) = packets.api_key
    {
        let [_, _, _, _, _, _, high, low] = packets.latest_request;
        return format_smolstr!(
            "The broker answered ApiVersions and closed on the client's next request ({} version \
             {}): look in its log for an unsupported version (a client too old for Kafka 4.0, \
             KIP-896) or a request above socket.request.max.bytes.",
            sasl::name(key),
            u16::from_be_bytes([high, low])
        );
    }
    let answered_hello = case
        .facts
        .packets
        .as_ref()
        .is_some_and(|packets| packets.broker_speaks() == Some(FirstBytes::Tls));
    if answered_hello {
        return SmolStr::new_static(
            "The TLS handshake succeeded, and the first request within it was reset: look at the \
             health of the targets of what ends TLS at this address (a balancer, a sidecar), then at \
             the broker's limits.",
        );
    }
    let bare = if case.is_client() {
        case.received() && case.facts.reset_is_live() == Some(false)
    } else {
        case.sent() && case.facts.id.is_none()
    };
    if bare {
        return format_smolstr!(
            "No socket accepted the connection: the accept queue of the listener was full ({QUEUE}: \
             raise both, and look at the broker's load), or the flow reached another host than the \
             handshake did."
        );
    }
    let silence_ms = case.facts.fin.map(|fin| fin.silence_ms);
    match silence_ms {
        Some(ms) if ms >= 900.0 => format_smolstr!(
            "The connection was accepted and closed unanswered after {}: a timer ran out (a proxy's \
             connect or queue timeout, its retries of a backend that is down), or the broker is \
             overloaded.",
            seconds(ms)
        ),
        _ => format_smolstr!(
            "The connection was accepted and dropped before any answer. Possible: {LIMITS}, {OTHERS}. \
             The log at that address names it."
        ),
    }
}

/// The broker's end answered a Kafka client in another protocol.
fn answers_otherwise(case: &Case<'_>) -> bool {
    let Some(packets) = &case.facts.packets else {
        return false;
    };
    let answer = packets.broker_speaks();
    matches!(packets.client_speaks(), None | Some(FirstBytes::Kafka))
        && matches!(answer, Some(FirstBytes::Http | FirstBytes::Other))
}

fn other_service(case: &Case<'_>) -> SmolStr {
    let at = at(case);
    let packets = case.facts.packets.as_ref();
    let head = packets.map_or(&[][..], |packets| &packets.response_head);
    let text: String = head
        .iter()
        .map(|byte| char::from(*byte))
        .take_while(|letter| letter.is_ascii_graphic() || *letter == ' ')
        .take(16)
        .collect();
    let what = match packets.and_then(crate::facts::PacketFacts::broker_speaks) {
        Some(FirstBytes::Http) => "an HTTP server".to_owned(),
        _ if text.len() >= 4 => format!("another service (\"{text}\")"),
        _ => "another service".to_owned(),
    };
    let size = head
        .first_chunk::<4>()
        .map_or(0, |size| u32::from_be_bytes(*size));
    format_smolstr!(
        "What answers at {at} is {what}, not a Kafka broker (clients show a response of {size} \
         bytes, or that it is too large): correct bootstrap.servers, the port, or what the balancer \
         forwards to."
    )
}

/// The version of the PROXY protocol that the client's first bytes are a header of.
fn proxy_header(case: &Case<'_>) -> Option<&'static str> {
    let head = &case.facts.packets.as_ref()?.request_head;
    if head.starts_with(b"PROXY ") {
        Some("version 1")
    } else if head.starts_with(b"\r\n\r\n\0\r\nQUIT\n") {
        Some("version 2")
    } else {
        None
    }
}

/// A client that began with `SaslHandshake` was answered with `ILLEGAL_SASL_STATE`.
fn has_no_sasl(case: &Case<'_>) -> bool {
    const SASL_HANDSHAKE: [u8; 2] = [0, 17];
    const ILLEGAL_SASL_STATE: [u8; 2] = [0, 34];
    case.facts.packets.as_ref().is_some_and(|packets| {
        packets.request_head.get(4..6) == Some(SASL_HANDSHAKE.as_slice())
            && packets.response_head.get(8..10) == Some(ILLEGAL_SASL_STATE.as_slice())
    })
}

fn refused(case: &Case<'_>) -> SmolStr {
    const NOT_RESET: &str = "this is a refused connection, not a reset one";
    let at = at(case);
    if case.gave_up() {
        return format_smolstr!(
            "The network answered the SYN to {at} by ICMP (unreachable or prohibited), or no host \
             has the address: look at firewalls, security groups and routes on the way, and whether \
             the host is up."
        );
    }
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
