//! What Kafka's clients do about a silent connection, to do the same.

use std::{fmt, fs, time::Duration};

use crate::util::named::named;

named! {
    /// A client library.
    Like,
    /// As `--like` takes it.
    name {
        /// Apache Kafka's own.
        Java = "java",
        /// librdkafka and its bindings.
        Librdkafka = "librdkafka",
        /// kafkajs.
        Kafkajs = "kafkajs",
    }
}

/// What the kernel of this host does by itself (`net.ipv4.tcp_keepalive_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostKeepalive {
    /// Silence before the first probe.
    pub time: Duration,
    /// From one probe to the next.
    pub interval: Duration,
}

impl HostKeepalive {
    /// The kernel's defaults (`TCP_KEEPALIVE_TIME`, `TCP_KEEPALIVE_INTVL`,
    /// include/net/tcp.h, 6.18).
    pub const DEFAULT: Self = Self {
        time: Duration::from_hours(2),
        interval: Duration::from_secs(75),
    };

    /// This host's settings.
    #[must_use]
    pub fn of_this_host() -> Self {
        let read = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()?;
            text.trim().parse().ok().map(Duration::from_secs)
        };
        Self {
            time: read("tcp_keepalive_time").unwrap_or(Self::DEFAULT.time),
            interval: read("tcp_keepalive_intvl").unwrap_or(Self::DEFAULT.interval),
        }
    }
}

/// How connections are to be kept alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whose connections.
    pub like: Option<Like>,
    /// Silence before the first keepalive probe.
    pub keepalive: Option<Duration>,
    /// From one probe to the next.
    pub interval: Option<Duration>,
    /// The client's `connections.max.idle.ms`.
    pub max_idle: Option<Duration>,
}

/// What a connection with such settings does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Sends keepalive probes like this.
    pub keepalive: Option<HostKeepalive>,
    /// Closes the connection itself after this silence.
    pub closes_after: Option<Duration>,
}

/// What the client with these settings does on this host.
///
/// - Java sets `SO_KEEPALIVE` and leaves the times to the host (`Selector.java`
///   since 0.8.1). It closes idle connections only when something wakes it, and
///   what wakes a quiet producer goes out on the idle connection: its
///   `connections.max.idle.ms` is no help, and is left out here.
/// - librdkafka sets `SO_KEEPALIVE` only with `socket.keepalive.enable`, which a
///   `keepalive` here stands for; it closes by `connections.max.idle.ms` by itself.
/// - kafkajs sets 60 s (2.2.4, network/socketFactory.js) and, through libuv, 1 s
///   between probes; it closes nothing.
#[must_use]
pub fn keeping(settings: &Settings, host: HostKeepalive) -> Keeping {
    /// `uv__tcp_keepalive` (libuv 1.51).
    const LIBUV_INTERVAL: Duration = Duration::from_secs(1);
    const KAFKAJS: Duration = Duration::from_mins(1);
    let with = |time: Duration, interval: Duration| {
        Some(HostKeepalive {
            time: settings.keepalive.unwrap_or(time),
            interval: settings.interval.unwrap_or(interval),
        })
    };
    match settings.like {
        Some(Like::Java) | None => Keeping {
            keepalive: with(host.time, host.interval),
            closes_after: None,
        },
        Some(Like::Librdkafka) => Keeping {
            keepalive: settings
                .keepalive
                .and_then(|time| with(time, host.interval)),
            closes_after: settings.max_idle,
        },
        Some(Like::Kafkajs) => Keeping {
            keepalive: with(KAFKAJS, LIBUV_INTERVAL),
            closes_after: None,
        },
    }
}

impl fmt::Display for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.keepalive {
            Some(HostKeepalive { time, interval }) => write!(
                f,
                "a keepalive probe after {} s of silence, then every {} s",
                time.as_secs(),
                interval.as_secs(),
            )?,
            None => f.write_str("no keepalive probes")?,
        }
        match self.closes_after {
            Some(time) => write!(f, "; closed by this end after {} ms", time.as_millis()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostKeepalive = HostKeepalive {
        time: Duration::from_secs(100),
        interval: Duration::from_secs(30),
    };

    fn of(like: Like, keepalive: Option<u64>) -> String {
        let settings = Settings {
            like: Some(like),
            keepalive: keepalive.map(Duration::from_secs),
            max_idle: Some(Duration::from_mins(3)),
            ..Settings::default()
        };
        keeping(&settings, HOST).to_string()
    }

    #[test]
    fn each_client_keeps_its_connections_as_it_does() {
        let probes = |time, interval| {
            format!("a keepalive probe after {time} s of silence, then every {interval} s")
        };
        assert_eq!(of(Like::Java, None), probes(100, 30));
        assert_eq!(of(Like::Java, Some(50)), probes(50, 30));
        assert_eq!(of(Like::Kafkajs, None), probes(60, 1));
        assert_eq!(of(Like::Kafkajs, Some(170)), probes(170, 1));
        let closes = "; closed by this end after 180000 ms";
        assert_eq!(
            of(Like::Librdkafka, None),
            format!("no keepalive probes{closes}")
        );
        assert_eq!(
            of(Like::Librdkafka, Some(50)),
            format!("{}{closes}", probes(50, 30))
        );
    }
}
