//! Reading the settings out of an advice, as a person would.

use std::fmt;

/// One way of following an advice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Sysctls of the client's host, by what follows `net.ipv4.`, such as `tcp_keepalive_time`.
    pub(super) host: Vec<(String, String)>,
    /// Those of the broker's host.
    pub(super) broker: Vec<(String, String)>,
    /// Settings of the client, in its own words or in those of the lab's program.
    pub(super) client: Vec<(String, String)>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.iter();
        let host = host.map(|(name, value)| format!("{SYSCTL}{name}={value}"));
        let broker = self.broker.iter();
        let broker = broker.map(|(name, value)| format!("the broker's {SYSCTL}{name}={value}"));
        let client = self.client.iter();
        let client = client.map(|(name, value)| format!("{name}={value}"));
        f.write_str(
            &host
                .chain(broker)
                .chain(client)
                .collect::<Vec<_>>()
                .join(" and "),
        )
    }
}

const SYSCTL: &str = "net.ipv4.";

/// Where the sysctls are to be set, if it is not the client's host.
const BROKER: &str = "On the broker's host";

/// What kafkajs is given in code rather than by a setting; the lab's program has one for it.
const KEEPALIVE_CALL: &str = "setKeepAlive(true, ";

/// All ways of following `advice` that it names: what stands between "or"s.
pub(super) fn changes(advice: &str) -> Vec<Change> {
    advice
        .split(" or ")
        .map(change)
        .filter(|change| *change != Change::default())
        .collect()
}

fn change(part: &str) -> Change {
    let mut change = Change::default();
    for word in part.split([' ', ',', ':', ';', '(', ')']) {
        // A sentence may end with it.
        let Some((name, value)) = word.trim_end_matches(['.', '`']).split_once('=') else {
            continue;
        };
        let (settings, name) = match name.strip_prefix(SYSCTL) {
            Some(name) if part.contains(BROKER) => (&mut change.broker, name),
            Some(name) => (&mut change.host, name),
            None => (&mut change.client, name),
        };
        settings.push((name.to_owned(), value.to_owned()));
    }
    let call = part.split_once(KEEPALIVE_CALL);
    if let Some((ms, _)) = call.and_then(|(_, rest)| rest.split_once(')')) {
        change
            .client
            .push(("keepalive.ms".to_owned(), ms.to_owned()));
    }
    change
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(advice: &str) -> Vec<String> {
        changes(advice).iter().map(Change::to_string).collect()
    }

    #[test]
    fn settings_are_found_in_sentences() {
        let advice = "A device on the way to 10.77.2.2:9092 resets flows silent for 3.5 s or less: \
                      set socket.keepalive.enable=true in librdkafka and \
                      net.ipv4.tcp_keepalive_time=1 and net.ipv4.tcp_keepalive_intvl=2 on the \
                      client's host, or connections.max.idle.ms=1700.";
        assert_eq!(
            found(advice),
            [
                "net.ipv4.tcp_keepalive_time=1 and net.ipv4.tcp_keepalive_intvl=2 \
                 and socket.keepalive.enable=true",
                "connections.max.idle.ms=1700"
            ]
        );
        let advice = "set net.ipv4.tcp_keepalive_time=1 on the client's host, since the Java client \
                      has keepalives on (connections.max.idle.ms does not save a quiet producer).";
        assert_eq!(found(advice), ["net.ipv4.tcp_keepalive_time=1"]);
    }

    #[test]
    fn a_line_for_the_brokers_host_is_found() {
        let advice = "It forgets. On the broker's host, for all: `sudo sysctl -w \
                      net.ipv4.tcp_keepalive_time=1 net.ipv4.tcp_keepalive_intvl=1` (on); or set \
                      net.ipv4.tcp_keepalive_time=2 on the client's host.";
        assert_eq!(
            found(advice),
            [
                "the broker's net.ipv4.tcp_keepalive_time=1 and the broker's \
                 net.ipv4.tcp_keepalive_intvl=1",
                "net.ipv4.tcp_keepalive_time=2"
            ]
        );
    }

    #[test]
    fn what_kafkajs_is_to_call_is_found() {
        let advice =
            "give kafkajs a socketFactory that calls socket.setKeepAlive(true, 1000), since";
        assert_eq!(found(advice), ["keepalive.ms=1000"]);
    }

    #[test]
    fn words_alone_change_nothing() {
        assert_eq!(found("look for a policy or a failover"), [""; 0]);
    }
}
