//! What a client wrote about its connections: lines of Kafka's Java clients and of
//! librdkafka.
//!
//! No line has the client's port. One has the broker's address, or only the number of a
//! node, whose address other lines of the same log may have.

use std::{
    collections::HashMap,
    io::{self, BufRead},
    net::IpAddr,
};

use jiff::tz::TimeZone;
use smol_str::{SmolStr, format_smolstr};

use super::{LINES, NEAR_NS, endpoint, lines, shown, slashed, time::time};
use crate::{
    event::{Endpoint, Role},
    facts::{ClientLog, ClientLogKind},
};

/// A broker as a line names it; what it does not name is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Broker {
    address: Option<IpAddr>,
    port: Option<u16>,
}

impl Broker {
    fn fits(self, broker: Endpoint) -> bool {
        self.address.is_none_or(|address| address == broker.address)
            && self.port.is_none_or(|port| port == broker.port)
    }

    const fn is_known(self) -> bool {
        self.address.is_some() || self.port.is_some()
    }
}

/// One line that is about a connection's end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// Nanoseconds since the Unix epoch.
    at_ns: i64,
    broker: Broker,
    /// `client.id`.
    client: Option<SmolStr>,
    log: ClientLog,
}

/// The event that a line is looked for.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The end that reported it.
    pub role: Role,
    /// The broker's end.
    pub broker: Endpoint,
    /// `client.id`, where the capture shows it.
    pub client: Option<&'a str>,
    /// When the connection ended, nanoseconds since the Unix epoch.
    pub at_ns: i64,
}

/// The lines of clients' logs, in the order of time.
#[derive(Clone, Debug, Default)]
pub struct ClientLogs {
    lines: Vec<Line>,
}

impl ClientLogs {
    /// Adds the lines of a log; times without a zone are in `zone`. Whether all found room.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn add(&mut self, log: impl BufRead, zone: &TimeZone) -> io::Result<bool> {
        // Where each node is, by its number; and the lines that have only that.
        let mut nodes: HashMap<SmolStr, Broker> = HashMap::new();
        let mut unplaced: Vec<(usize, SmolStr)> = Vec::new();
        let mut fits = true;
        // A line of `Selector`, whose exception is in the next one.
        let mut open = false;
        lines(log, |text| {
            if std::mem::take(&mut open)
                && let Some(line) = self.lines.last_mut()
            {
                explain(&mut line.log, text);
            }
            let node = node(text);
            let broker = broker(text);
            if let (Some(node), Some(_)) = (&node, broker.port)
                && nodes.len() < LINES
            {
                nodes.insert(node.clone(), broker);
            }
            let Some(kind) = kind(text) else {
                return true;
            };
            let Some(at_ns) = time(text, zone) else {
                return true;
            };
            fits = self.lines.len() < LINES;
            if !fits {
                return false;
            }
            if broker.port.is_none()
                && let Some(node) = node
            {
                unplaced.push((self.lines.len(), node));
            }
            open = text.contains("Connection with ");
            self.lines.push(Line {
                at_ns,
                broker,
                client: client(text),
                log: ClientLog {
                    kind,
                    text: shown(text),
                },
            });
            true
        })?;
        for (at, node) in unplaced {
            let (Some(line), Some(known)) = (self.lines.get_mut(at), nodes.get(&node)) else {
                continue;
            };
            let both = line.broker.address.zip(known.address);
            if both.is_none_or(|(named, known)| named == known) {
                line.broker = *known;
            }
        }
        self.lines.sort_by_key(|line| line.at_ns);
        Ok(fits)
    }

    /// How many lines are about connections.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether none is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The line about a connection's end: of those within 2 s that fit its broker and its
    /// `client.id`, the one that says most, then the nearest.
    ///
    /// A broker's host has many clients: there, the `client.id` has to be the same.
    #[must_use]
    pub fn about(&self, event: About<'_>) -> Option<&ClientLog> {
        let from = event.at_ns.saturating_sub(NEAR_NS);
        let until = event.at_ns.saturating_add(NEAR_NS);
        let first = self.lines.partition_point(|line| line.at_ns < from);
        let near = self.lines.get(first..).unwrap_or_default().iter();
        near.take_while(|line| line.at_ns <= until)
            .filter(|line| line.broker.fits(event.broker))
            .filter(|line| match (line.client.as_deref(), event.client) {
                (Some(line), Some(event)) => line == event,
                _ => event.role == Role::Client,
            })
            .max_by_key(|line| {
                let ago = std::cmp::Reverse(line.at_ns.abs_diff(event.at_ns));
                (line.log.kind, line.broker.is_known(), ago)
            })
            .map(|line| &line.log)
    }
}

/// `NetworkClient` and `Selector` of Kafka 2.8 to 4.x; librdkafka's `rd_kafka_broker_fail`.
fn kind(text: &str) -> Option<ClientLogKind> {
    let has = |part: &str| text.contains(part);
    let of_java = has("disconnected")
        && (has("Node ") || has("node ") || has("Connection with ") || has("ootstrap broker "));
    Some(if has("PLAINTEXT broker listener?") {
        ClientLogKind::TlsToPlaintext
    } else if has("SSL listener?") {
        ClientLogKind::PlaintextToTls
    } else if has("SSL handshake failed") {
        ClientLogKind::TlsHandshake
    } else if has("failed authentication due to") || has("SASL authentication error") {
        ClientLogKind::Authentication
    } else if has("Connection refused") {
        ClientLogKind::Refused
    } else if (has("Disconnecting from node ") && has("timeout"))
        || has("request(s) timed out: disconnect")
    {
        ClientLogKind::RequestTimeout
    } else if has("Disconnected: connection reset by peer") {
        ClientLogKind::Reset
    } else if has("Disconnected: connection closed by peer") {
        ClientLogKind::EndOfStream
    } else if of_java
        || has("could not be established")
        || has("terminated during authentication")
        || has(": Disconnected (after ")
        || has(": Disconnected while requesting ")
    {
        ClientLogKind::Disconnected
    } else {
        return None;
    })
}

/// The line after one of `Selector` has the exception.
fn explain(log: &mut ClientLog, text: &str) {
    let kind = if !text.starts_with("java.") {
        return;
    } else if text.contains("Connection reset") {
        ClientLogKind::Reset
    } else if text.contains("EOFException") {
        ClientLogKind::EndOfStream
    } else if text.contains("Connection refused") {
        ClientLogKind::Refused
    } else {
        return;
    };
    log.kind = kind;
    log.text = shown(&format_smolstr!("{}: {text}", log.text));
}

/// The number of the node: Java's `node 1`, `Node -1` and `id: 1`; librdkafka's lines have
/// the address as well.
fn node(text: &str) -> Option<SmolStr> {
    [
        "(channelId=",
        "(id: ",
        "to node ",
        "from node ",
        "Node ",
        "node ",
    ]
    .into_iter()
    .find_map(|before| {
        let (_, rest) = text.split_once(before)?;
        let is_end = |letter: char| !letter.is_ascii_digit() && letter != '-';
        let number = rest.get(..rest.find(is_end).unwrap_or(rest.len()))?;
        number.parse::<i64>().ok().map(|_| SmolStr::new(number))
    })
}

/// `(b1/10.0.4.33:9092)` and `broker b1:9092 (id: 1` of Java; `ssl://b1:9092/1: ` of
/// librdkafka; else an address after a slash.
fn broker(text: &str) -> Broker {
    let words = text.split(|letter: char| letter.is_whitespace() || "()[]|,;".contains(letter));
    let named = words.filter_map(|word| {
        let word = word.trim_end_matches([':', '.']);
        let word = word.split_once("://").map_or(word, |(_, rest)| rest);
        let word = word.strip_prefix("thrd:").unwrap_or(word);
        // A node of librdkafka, or a host name of Java before the address.
        let mut parts = word.rsplit('/').filter(|part| part.contains(':'));
        let part = parts.next()?;
        if let Some(endpoint) = endpoint(part) {
            return Some(Broker {
                address: Some(endpoint.address),
                port: Some(endpoint.port),
            });
        }
        let (host, port) = part.rsplit_once(':')?;
        let is_name = !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            && host.bytes().any(|byte| byte.is_ascii_alphabetic());
        // A host and a port, rather than a time or a word before a colon.
        (is_name && (text.contains("(id: ") || text.contains("[thrd:")))
            .then(|| port.parse().ok())
            .flatten()
            .map(|port| Broker {
                address: None,
                port: Some(port),
            })
    });
    let best = named.max_by_key(|it| it.address.is_some());
    best.unwrap_or_else(|| Broker {
        address: slashed(text),
        port: None,
    })
}

/// `clientId=orders` of Java; `|orders#producer-1|` of librdkafka.
fn client(text: &str) -> Option<SmolStr> {
    if let Some((_, rest)) = text.split_once("clientId=") {
        let end = rest.find([',', ']']);
        return rest.get(..end?).map(shown);
    }
    ["#producer-", "#consumer-"].into_iter().find_map(|kind| {
        let (before, _) = text.split_once(kind)?;
        let start = before.rfind(['|', '[', ' ']).map_or(0, |at| at + 1);
        before
            .get(start..)
            .filter(|name| !name.is_empty())
            .map(shown)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Kafka's Java client 4.3.1, with its network classes at DEBUG, and of librdkafka
    /// 2.16; 10.0.4.33 in place of the machine's own address.
    const JAVA: &str = "\
[2026-11-30 03:28:22,084] [kafka-producer-network-thread | orders] DEBUG org.apache.kafka.common.network.Selector - [Producer clientId=orders] Connection with /10.0.4.33 (channelId=-1) disconnected
java.net.SocketException: Connection reset
\tat java.base/sun.nio.ch.SocketChannelImpl.throwConnectionReset(SocketChannelImpl.java:394)
[2026-11-30 03:28:22,091] [kafka-producer-network-thread | orders] INFO org.apache.kafka.clients.NetworkClient - [Producer clientId=orders] Node -1 disconnected.
[2026-11-30 03:28:22,092] [kafka-producer-network-thread | orders] INFO org.apache.kafka.clients.NetworkClient - [Producer clientId=orders] Cancelled in-flight API_VERSIONS request with correlation id 0 due to node -1 being disconnected (elapsed time since creation: 136ms, elapsed time since send: 136ms, throttle time: 0ms, request timeout: 30000ms)
[2026-11-30 03:28:22,108] [kafka-producer-network-thread | orders] WARN org.apache.kafka.clients.NetworkClient - [Producer clientId=orders] Bootstrap broker 10.0.4.33:9092 (id: -1 rack: null isFenced: false) disconnected
[2026-11-30 03:28:55,397] [kafka-producer-network-thread | orders] DEBUG org.apache.kafka.common.network.Selector - [Producer clientId=orders] Connection with /10.0.4.34 (channelId=2) disconnected
java.net.ConnectException: Connection refused
[2026-11-30 03:28:55,402] [kafka-producer-network-thread | orders] WARN org.apache.kafka.clients.NetworkClient - [Producer clientId=orders] Connection to node 2 (/10.0.4.34:9092) could not be established. Node may not be available.
[2026-11-30 03:29:55,000] [kafka-producer-network-thread | orders] INFO org.apache.kafka.clients.NetworkClient - [Producer clientId=orders] Disconnecting from node 2 due to request timeout.
";

    const LIBRDKAFKA: &str = "\
%6|1796009295.516|FAIL|orders#producer-1| [thrd:10.0.4.33:9092/1]: 10.0.4.33:9092/1: Disconnected: connection reset by peer (after 12041ms in state UP)
%6|1796009305.730|FAIL|orders#producer-1| [thrd:b3.example:9092/3]: b3.example:9092/3: Disconnected: connection closed by peer: receive 0 after POLLIN (after 0ms in state APIVERSION_QUERY)
%3|1796009317.717|FAIL|orders#producer-1| [thrd:ssl://10.0.4.33:9093/bootstrap]: ssl://10.0.4.33:9093/bootstrap: SSL handshake failed: Disconnected: connection reset by peer: connecting to a PLAINTEXT broker listener? (after 14ms in state SSL_HANDSHAKE)
%3|1796009327.958|FAIL|orders#producer-1| [thrd:10.0.4.33:9099/bootstrap]: 10.0.4.33:9099/bootstrap: Connect to ipv4#10.0.4.33:9099 failed: Connection refused (after 0ms in state CONNECT)
";

    fn logs(text: &str) -> ClientLogs {
        let mut logs = ClientLogs::default();
        assert!(logs.add(text.as_bytes(), &TimeZone::UTC).unwrap());
        logs
    }

    /// What is found for an event of the client's host at a time of 30 November 2026.
    fn about(logs: &ClientLogs, broker: &str, time: &str) -> Option<ClientLogKind> {
        find(logs, Role::Client, broker, None, time)
    }

    fn find(
        logs: &ClientLogs,
        role: Role,
        broker: &str,
        client: Option<&str>,
        time: &str,
    ) -> Option<ClientLogKind> {
        let at: jiff::Timestamp = format!("2026-11-30T{time}Z").parse().unwrap();
        let event = About {
            role,
            broker: endpoint(broker).unwrap(),
            client,
            at_ns: i64::try_from(at.as_nanosecond()).unwrap(),
        };
        logs.about(event).map(|log| log.kind)
    }

    #[test]
    fn java_names_a_node_whose_address_other_lines_have() {
        let logs = logs(JAVA);
        // The line of `Selector` has the exception, the others say less.
        let reset = about(&logs, "10.0.4.33:9092", "03:28:22");
        assert_eq!(reset, Some(ClientLogKind::Reset));
        assert_eq!(about(&logs, "10.0.4.34:9092", "03:28:22"), None);
        assert_eq!(about(&logs, "10.0.4.33:9093", "03:28:22"), None);
        let refused = about(&logs, "10.0.4.34:9092", "03:28:55");
        assert_eq!(refused, Some(ClientLogKind::Refused));
        let timeout = about(&logs, "10.0.4.34:9092", "03:29:56");
        assert_eq!(timeout, Some(ClientLogKind::RequestTimeout));
        assert_eq!(about(&logs, "10.0.4.33:9092", "03:29:56"), None);
        assert_eq!(about(&logs, "10.0.4.34:9092", "03:29:58"), None);
    }

    #[test]
    fn librdkafka_names_the_broker_and_how_it_ended() {
        let logs = logs(LIBRDKAFKA);
        assert_eq!(logs.len(), 4);
        for (broker, time, kind) in [
            ("10.0.4.33:9092", "03:28:15.6", Some(ClientLogKind::Reset)),
            (
                "10.0.9.9:9092",
                "03:28:25",
                Some(ClientLogKind::EndOfStream),
            ),
            ("10.0.9.9:9093", "03:28:25", None),
            (
                "10.0.4.33:9093",
                "03:28:37",
                Some(ClientLogKind::TlsToPlaintext),
            ),
            ("10.0.4.33:9099", "03:28:48", Some(ClientLogKind::Refused)),
        ] {
            assert_eq!(about(&logs, broker, time), kind, "{broker} {time}");
        }
    }

    #[test]
    fn on_a_brokers_host_the_client_id_has_to_be_the_same() {
        for text in [JAVA, LIBRDKAFKA] {
            let logs = logs(text);
            let at = if text == JAVA { "03:28:22" } else { "03:28:15" };
            let find = |role, client| find(&logs, role, "10.0.4.33:9092", client, at);
            assert_eq!(find(Role::Broker, None), None);
            assert_eq!(find(Role::Broker, Some("other")), None);
            assert_eq!(find(Role::Client, Some("other")), None);
            let same = find(Role::Broker, Some("orders"));
            assert_eq!(same, Some(ClientLogKind::Reset));
        }
    }

    #[test]
    fn other_lines_are_none() {
        let other = logs(
            "[2026-11-30 03:28:21,940] DEBUG [Producer clientId=orders] Created socket to node -1\n\
             %7|1796009295.516|STATE|orders#producer-1| [thrd:x]: x: Broker changed state UP\n\
             no time: Node 1 disconnected.\n",
        );
        assert!(other.is_empty());
    }
}
