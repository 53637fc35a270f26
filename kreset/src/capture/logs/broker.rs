//! What a broker wrote about its connections: lines of `server.log`, or of `journalctl`.
//!
//! A channel id has both ends (`10.0.4.33:9092-10.0.7.9:51544-12`); other lines have the
//! client's address.

use std::{
    io::{self, BufRead},
    net::IpAddr,
};

use jiff::tz::TimeZone;

use super::{LINES, NEAR_NS, endpoint, lines, shown, slashed, time::time};
use crate::{
    event::Endpoint,
    facts::{BrokerLog, LogKind},
};

/// One that names both ends: ports are used again.
const SAME_ENDS_NS: i64 = 60_000_000_000;
/// What a broker does as a whole precedes its resets by as much.
const SHUTDOWN_NS: i64 = 10_000_000_000;

/// One line that is about connections.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// Nanoseconds since the Unix epoch.
    at_ns: i64,
    /// The broker's end and the client's.
    ends: Option<(Endpoint, Endpoint)>,
    client: Option<IpAddr>,
    log: BrokerLog,
}

/// The lines of brokers' logs, in the order of time.
#[derive(Clone, Debug, Default)]
pub struct BrokerLogs {
    lines: Vec<Line>,
}

impl BrokerLogs {
    /// Adds the lines of a log; times without a zone are in `zone`. Whether all found room.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn add(&mut self, log: impl BufRead, zone: &TimeZone) -> io::Result<bool> {
        let mut fits = true;
        lines(log, |text| {
            if let Some(line) = line(text, zone) {
                fits = self.lines.len() < LINES;
                self.lines.extend(Some(line).filter(|_| fits));
            }
            fits
        })?;
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

    /// The line about a connection that ended at `at_ns` (Unix epoch): the one with both
    /// of its ends, else one with the client's address, else what the broker did as a
    /// whole.
    #[must_use]
    pub fn about(&self, client: Endpoint, broker: Endpoint, at_ns: i64) -> Option<&BrokerLog> {
        let from = at_ns.saturating_sub(SAME_ENDS_NS);
        let first = self.lines.partition_point(|line| line.at_ns < from);
        let near = || {
            let near = self.lines.get(first..).unwrap_or_default().iter();
            near.take_while(|line| line.at_ns <= at_ns.saturating_add(SAME_ENDS_NS))
        };
        let ago = |line: &&Line| line.at_ns.abs_diff(at_ns);
        let within = |line: &&Line, ns: i64| line.at_ns.abs_diff(at_ns) <= ns.unsigned_abs();
        let ends = near()
            .filter(|line| line.ends == Some((broker, client)))
            .min_by_key(ago);
        let address = || {
            near()
                .filter(|line| line.ends.is_none() && line.client == Some(client.address))
                .filter(|line| within(line, NEAR_NS))
                .min_by_key(ago)
        };
        let whole = || {
            near()
                .filter(|line| line.ends.is_none() && line.client.is_none())
                .filter(|line| line.at_ns <= at_ns.saturating_add(NEAR_NS))
                .filter(|line| within(line, SHUTDOWN_NS))
                .min_by_key(ago)
        };
        ends.or_else(address).or_else(whole).map(|line| &line.log)
    }
}

fn line(text: &str, zone: &TimeZone) -> Option<Line> {
    let kind = kind(text)?;
    let at_ns = time(text, zone)?;
    let ends = channel(text);
    let client = ends
        .map(|(_, client)| client.address)
        .or_else(|| slashed(text));
    let is_of_connection = !matches!(kind, LogKind::Shutdown | LogKind::OutOfMemory);
    if is_of_connection && client.is_none() {
        return None;
    }
    Some(Line {
        at_ns,
        ends: ends.filter(|_| is_of_connection),
        client: client.filter(|_| is_of_connection),
        log: BrokerLog {
            kind,
            text: shown(text),
        },
    })
}

/// Kafka 2.8 to 4.x: `Selector`, `SocketServer`, `KafkaServer`, `BrokerServer`.
fn kind(text: &str) -> Option<LogKind> {
    let has = |part: &str| text.contains(part);
    if let Some((_, rest)) = text.split_once("Invalid receive (size = ") {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return Some(LogKind::InvalidReceive(digits.parse().unwrap_or(0)));
    }
    Some(if has("SSL handshake failed") {
        LogKind::TlsHandshake
    } else if has("Failed authentication") || has("failed authentication") {
        LogKind::Authentication
    } else if has("Too many connections") || has("configured maximum of") {
        LogKind::TooMany
    } else if has("java.lang.OutOfMemoryError") {
        LogKind::OutOfMemory
    } else if has("Terminating process due to signal")
        || (has("shutting down") && (has("Server id=") || has("kafka.server")))
    {
        LogKind::Shutdown
    } else if has("Unexpected error from") || has("because of error") {
        LogKind::Closed
    } else {
        return None;
    })
}

/// The ends in a channel id: the broker's, then the client's, then numbers.
fn channel(text: &str) -> Option<(Endpoint, Endpoint)> {
    let words = text.split(|letter: char| letter.is_whitespace() || "()=,;".contains(letter));
    words.filter(|word| word.contains(':')).find_map(|word| {
        let mut parts = word.split('-');
        let broker = endpoint(parts.next()?)?;
        let client = endpoint(parts.next()?)?;
        let _number: u64 = parts.next()?.parse().ok()?;
        Some((broker, client))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
[2026-11-29 17:00:00,123] INFO [SocketServer listenerType=ZK_BROKER, nodeId=1] Failed authentication with /10.0.7.9 (channelId=10.0.4.33:9092-10.0.7.9:51544-12) (Authentication failed: Invalid username or password) (org.apache.kafka.common.network.Selector)
[2026-11-29 17:00:01,000] INFO [SocketServer listenerType=BROKER, nodeId=1] Failed authentication with /10.0.7.9 (channelId=10.0.4.33:9093-10.0.7.9:51546-3-7) (SSL handshake failed) (org.apache.kafka.common.network.Selector)
[2026-11-29 17:00:02,000] WARN [SocketServer listenerType=BROKER, nodeId=1] Unexpected error from /10.0.7.8 (channelId=10.0.4.33:9092-10.0.7.8:40000-4); closing connection (org.apache.kafka.common.network.Selector) org.apache.kafka.common.network.InvalidReceiveException: Invalid receive (size = 1195725856 larger than 104857600)
Nov 29 17:00:30 b1 kafka[77]: [2026-11-29 17:00:30,000] INFO Rejected connection from /10.0.7.7, address already has the configured maximum of 10 connections. (kafka.network.ConnectionQuotas)
[2026-11-29 17:01:40,000] INFO [KafkaServer id=1] shutting down (kafka.server.KafkaServer)
[2026-11-29 17:01:41,000] INFO Rolled new log segment (kafka.log.UnifiedLog)
no time: Failed authentication with /10.0.7.9
";

    fn logs() -> BrokerLogs {
        let mut logs = BrokerLogs::default();
        logs.add(LOG.as_bytes(), &TimeZone::UTC).unwrap();
        logs
    }

    fn about(client: &str, broker: &str, time: &str) -> Option<LogKind> {
        let at: jiff::Timestamp = time.parse().unwrap();
        let at_ns = i64::try_from(at.as_nanosecond()).unwrap();
        let logs = logs();
        let found = logs.about(endpoint(client).unwrap(), endpoint(broker).unwrap(), at_ns);
        found.map(|log| log.kind)
    }

    #[test]
    fn a_line_is_found_by_its_channel_or_by_address_and_time() {
        assert_eq!(logs().len(), 5);
        let broker = "10.0.4.33:9092";
        for (client, time, kind) in [
            (
                "10.0.7.9:51544",
                "2026-11-29T17:00:20Z",
                Some(LogKind::Authentication),
            ),
            (
                "10.0.7.8:40000",
                "2026-11-29T17:00:02Z",
                Some(LogKind::InvalidReceive(1_195_725_856)),
            ),
            ("10.0.7.7:1", "2026-11-29T17:00:31Z", Some(LogKind::TooMany)),
            ("10.0.7.7:1", "2026-11-29T17:00:34Z", None),
            ("10.0.7.9:51599", "2026-11-29T17:00:00Z", None),
            (
                "10.0.7.1:1",
                "2026-11-29T17:01:45Z",
                Some(LogKind::Shutdown),
            ),
            ("10.0.7.1:1", "2026-11-29T17:01:30Z", None),
        ] {
            assert_eq!(about(client, broker, time), kind, "{client} {time}");
        }
        let tls = about("10.0.7.9:51546", "10.0.4.33:9093", "2026-11-29T17:00:01Z");
        assert_eq!(tls, Some(LogKind::TlsHandshake));
    }

    #[test]
    fn ipv6_channels_have_both_ends() {
        let ends = channel("(channelId=[fd78::1]:9092-[fd79::1]:4000-1)");
        let ends = ends.map(|(broker, client)| (broker.port, client.address.to_string()));
        assert_eq!(ends, Some((9092, "fd79::1".to_owned())));
    }
}
