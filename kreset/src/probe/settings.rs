//! What to set, on which client.

use std::time::Duration;

use super::clients::{HostKeepalive, Like};

/// A setting of a client, or of its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Whose.
    pub client: Like,
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
}

/// Values that a timer is safe with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safe {
    /// Silence before a keepalive probe.
    pub keepalive: Duration,
    /// From one probe to the next.
    pub interval: Duration,
    /// `connections.max.idle.ms` of a client that closes by itself.
    pub max_idle: Duration,
}

/// Two digits are enough, and fewer are easier to read.
fn rounded(time: Duration) -> Duration {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    let digit = 10_u64.pow(ms.ilog10().saturating_sub(1));
    Duration::from_millis(ms / digit * digit)
}

/// Values for a timer that is longer than `survived` and no longer than `died`.
///
/// Two probes go out before the timer: one may be lost. The kernel sends the
/// second one no sooner than the interval after the first (`tcp_keepalive_timer`,
/// 6.18), which is 75 s unless something else is set.
#[must_use]
pub fn safe(survived: Option<Duration>, died: Duration) -> Safe {
    let known = survived.filter(|survived| *survived > died / 2);
    let below = known.map_or(died / 2, |survived| survived.mul_f64(0.9));
    let keepalive = Duration::from_secs(rounded(below / 2).as_secs().max(1));
    Safe {
        keepalive,
        interval: keepalive.min(HostKeepalive::DEFAULT.interval),
        max_idle: rounded(below),
    }
}

/// What to set.
#[must_use]
pub fn settings(safe: &Safe) -> Vec<Setting> {
    let setting = |client, name, value: String| Setting {
        client,
        name,
        value,
    };
    let time = safe.keepalive.as_secs().to_string();
    let host = |client| {
        let mut all = vec![setting(client, "net.ipv4.tcp_keepalive_time", time.clone())];
        if safe.interval < HostKeepalive::DEFAULT.interval {
            all.push(setting(
                client,
                "net.ipv4.tcp_keepalive_intvl",
                safe.interval.as_secs().to_string(),
            ));
        }
        all
    };
    let mut all = host(Like::Java);
    all.push(setting(
        Like::Librdkafka,
        "socket.keepalive.enable",
        "true".to_owned(),
    ));
    all.extend(host(Like::Librdkafka));
    all.push(setting(
        Like::Librdkafka,
        "connections.max.idle.ms",
        safe.max_idle.as_millis().to_string(),
    ));
    all.push(setting(
        Like::Kafkajs,
        "socketFactory: socket.setKeepAlive",
        format!("true, {}", safe.keepalive.as_millis()),
    ));
    all
}

/// The settings of one client in words.
#[must_use]
pub fn sentence(client: Like, safe: &Safe) -> String {
    let time = safe.keepalive.as_secs();
    let host = if safe.interval < HostKeepalive::DEFAULT.interval {
        format!("net.ipv4.tcp_keepalive_time={time} and net.ipv4.tcp_keepalive_intvl={time}")
    } else {
        format!("net.ipv4.tcp_keepalive_time={time}")
    };
    match client {
        Like::Java => format!(
            "{host} on the client's host: keepalives are on, at the kernel's 7200 s \
             (connections.max.idle.ms does not save a quiet producer)"
        ),
        Like::Librdkafka => format!(
            "socket.keepalive.enable=true and {host} on the client's host, or \
             connections.max.idle.ms={}",
            safe.max_idle.as_millis()
        ),
        Like::Kafkajs => format!(
            "a socketFactory that calls socket.setKeepAlive(true, {})",
            safe.keepalive.as_millis()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_probes_fit_into_the_timer() {
        for (survived, died) in [(Some(349), 351), (None, 10), (Some(3), 240), (Some(59), 60)] {
            let died = Duration::from_secs(died);
            let safe = safe(survived.map(Duration::from_secs), died);
            let second = safe.keepalive + safe.interval;
            assert!(second < died, "{safe:?}");
            assert!(safe.max_idle < died, "{safe:?}");
        }
    }

    #[test]
    fn the_values_of_a_load_balancer() {
        let safe = safe(Some(Duration::from_secs(349)), Duration::from_secs(351));
        assert_eq!(safe.keepalive, Duration::from_secs(150));
        assert_eq!(safe.max_idle, Duration::from_secs(310));
        let words = sentence(Like::Kafkajs, &safe);
        assert!(words.contains("setKeepAlive(true, 150000)"), "{words}");
        let names: Vec<_> = settings(&safe).iter().map(|it| it.name).collect();
        assert_eq!(
            names,
            [
                "net.ipv4.tcp_keepalive_time",
                "socket.keepalive.enable",
                "net.ipv4.tcp_keepalive_time",
                "connections.max.idle.ms",
                "socketFactory: socket.setKeepAlive",
            ]
        );
    }
}
