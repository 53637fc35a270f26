//! What of the events a run shows.

use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;

use crate::event::{Endpoint, Event, Finding, Kind, Role, Verdict};

/// The choice made by `--role`, `--verdict`, `--client`, `--broker` and `--all`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The only verdicts; empty for all.
    pub verdicts: Vec<Verdict>,
    /// The only clients; empty for all.
    pub clients: Vec<Ends>,
    /// The only brokers; empty for all.
    pub brokers: Vec<Ends>,
    /// The only role of this host to show; `None` for both.
    pub role: Option<Role>,
    /// Whether noise is shown.
    pub all: bool,
}

impl Filter {
    /// Whether `event` is of what was asked for. What is not is neither shown nor
    /// counted.
    #[must_use]
    pub fn concerns(&self, event: &Event) -> bool {
        match event {
            Event::Alert(alert) => {
                is_one(&self.verdicts, &alert.verdict) && has(&self.brokers, alert.broker)
            }
            Event::Incident(incident) => {
                self.concerns_incident(incident.verdict, incident.role, &incident.brokers)
            }
            _ => event.finding().is_none_or(|finding| {
                is_one(&self.verdicts, &finding.verdict)
                    && self.concerns_connection(
                        |role| finding.process_of(role).is_some(),
                        finding.client.end(),
                        finding.broker,
                    )
            }),
        }
    }

    /// Whether a connection is one of those that were asked for, whatever became of it. `is_here`
    /// says whether the end with a role is on this host.
    #[must_use]
    pub fn concerns_connection(
        &self,
        is_here: impl FnOnce(Role) -> bool,
        client: Endpoint,
        broker: Endpoint,
    ) -> bool {
        self.role.is_none_or(is_here) && has(&self.clients, client) && has(&self.brokers, broker)
    }

    /// Whether an incident is of what was asked for.
    #[must_use]
    pub fn concerns_incident(&self, verdict: Verdict, role: Role, brokers: &[Endpoint]) -> bool {
        is_one(&self.verdicts, &verdict)
            && self.role.is_none_or(|asked| asked == role)
            && (self.brokers.is_empty() || brokers.iter().any(|it| has(&self.brokers, *it)))
    }

    /// Whether `event` is to be shown. Noise that is not shown is still
    /// counted: see [`Filter::concerns`].
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        self.concerns(event) && (self.all || !event.finding().is_some_and(Finding::is_noise))
    }
}

fn is_one<T: PartialEq>(all: &[T], it: &T) -> bool {
    all.is_empty() || all.contains(it)
}

fn has(all: &[Ends], end: Endpoint) -> bool {
    all.is_empty() || all.iter().any(|it| it.contains(end))
}

/// Bits that all IPv4-mapped addresses have in common; RFC 4291, 2.5.5.2.
const MAPPED: u8 = 96;

/// Addresses, and a port if only one is meant: `10.0.1.5`, `10.0.1.0/24`,
/// `10.0.1.5:9092`, `[2001:db8::1]:9092`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    network: IpAddr,
    /// Leading bits that count.
    prefix: u8,
    port: Option<u16>,
}

impl Ends {
    /// Whether `end` is one of them.
    #[must_use]
    pub fn contains(&self, end: Endpoint) -> bool {
        let same = |a: u128, b: u128, bits: u8| {
            let rest = u32::from(bits.saturating_sub(self.prefix));
            a.checked_shr(rest) == b.checked_shr(rest)
        };
        let is_within = match (self.network, end.address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        };
        is_within && self.port.is_none_or(|port| port == end.port)
    }
}

impl FromStr for Ends {
    type Err = EndsError;

    fn from_str(text: &str) -> Result<Self, EndsError> {
        let error = || EndsError(text.to_owned());
        if let Ok(end) = text.parse::<std::net::SocketAddr>() {
            return Ok(Self {
                network: end.ip().to_canonical(),
                prefix: 128,
                port: Some(end.port()),
            });
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_not_one| error())?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= most)
                .ok_or_else(error)?,
        };
        // Events have the addresses of a socket for both families as IPv4.
        let (network, prefix) = match network.to_canonical() {
            canonical @ IpAddr::V4(_) if network.is_ipv6() && prefix >= MAPPED => {
                (canonical, prefix - MAPPED)
            }
            _ => (network, prefix),
        };
        Ok(Self {
            network,
            prefix,
            port: None,
        })
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => std::net::SocketAddr::new(self.network, port).fmt(f),
            None => write!(f, "{}/{}", self.network, self.prefix),
        }
    }
}

/// A text that names no addresses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "invalid address \"{0}\": expected an IP address, such as 10.0.1.5, 10.0.1.0/24, \
     10.0.1.5:9092 or [2001:db8::1]:9092"
)]
pub struct EndsError(String);

/// What of the events shown one sink gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinkFilter {
    /// The only types; empty for all.
    pub events: Vec<Kind>,
    /// The only verdicts; empty for all. What has no verdict is not held back.
    pub verdicts: Vec<Verdict>,
    /// Findings that are less sure are held back.
    pub min_confidence: f64,
}

impl SinkFilter {
    /// Whether the sink gets `event`.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        let verdict = match event {
            Event::Alert(alert) => Some(alert.verdict),
            Event::Incident(incident) => Some(incident.verdict),
            _ => event.finding().map(|finding| finding.verdict),
        };
        (self.events.is_empty() || self.events.contains(&event.kind()))
            && (self.verdicts.is_empty() || verdict.is_none_or(|it| self.verdicts.contains(&it)))
            && event
                .finding()
                .is_none_or(|finding| finding.confidence >= self.min_confidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Cause, samples};

    #[test]
    fn a_sink_gets_what_its_filter_names() {
        let count = |change: fn(&mut SinkFilter)| {
            let mut filter = SinkFilter::default();
            change(&mut filter);
            let wanted = samples::all()
                .into_iter()
                .filter(|event| filter.wants(event));
            wanted
                .map(|event| event.kind().as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let all = "start reset reset reset close timeout alert incident incident correction loss \
                   summary probe finding";
        assert_eq!(count(|_| ()), all);
        let resets = count(|it| it.events = vec![Kind::Reset, Kind::Alert]);
        assert_eq!(resets, "reset reset reset alert");
        let idle = count(|it| it.verdicts = vec![Verdict::MiddleboxIdleReset]);
        assert_eq!(idle, "start reset alert loss summary probe finding");
        assert_eq!(
            count(|it| it.min_confidence = 0.9),
            "start reset reset close timeout alert incident incident loss summary probe finding"
        );
    }

    fn reset(role: Role, noise: bool) -> Event {
        let mut finding = samples::finding();
        finding.role = role;
        if noise {
            (finding.verdict, finding.cause) = (Verdict::ClientOriginated, Some(Cause::Probe));
        }
        Event::Reset(Box::new(finding))
    }

    #[test]
    fn the_role_and_noise_decide() {
        let any = Filter::default();
        let brokers = Filter {
            role: Some(Role::Broker),
            ..Filter::default()
        };
        let everything = Filter {
            all: true,
            ..Filter::default()
        };
        for (filter, event, concerns, wants) in [
            (&any, reset(Role::Client, false), true, true),
            (&any, reset(Role::Client, true), true, false),
            (&everything, reset(Role::Client, true), true, true),
            (&brokers, reset(Role::Client, false), false, false),
            (&brokers, reset(Role::Broker, false), true, true),
            (&brokers, reset(Role::Broker, true), true, false),
        ] {
            assert_eq!(
                (filter.concerns(&event), filter.wants(&event)),
                (concerns, wants),
                "{filter:?}"
            );
        }
    }

    /// Ends that are no event may still make an incident.
    #[test]
    fn a_connection_is_asked_for_by_its_ends_whatever_became_of_it() {
        let end = |address: [u8; 4], port| Endpoint {
            address: address.into(),
            port,
        };
        let (client, broker) = (end([10, 0, 1, 5], 43210), end([10, 0, 2, 7], 9092));
        let ends = |text: &str| vec![text.parse::<Ends>().unwrap()];
        for (filter, expected) in [
            (Filter::default(), true),
            (
                Filter {
                    verdicts: vec![Verdict::HandshakePhase],
                    ..Filter::default()
                },
                true,
            ),
            (
                Filter {
                    role: Some(Role::Client),
                    ..Filter::default()
                },
                false,
            ),
            (
                Filter {
                    brokers: ends("10.0.2.8"),
                    ..Filter::default()
                },
                false,
            ),
            (
                Filter {
                    clients: ends("10.0.1.6"),
                    ..Filter::default()
                },
                false,
            ),
        ] {
            let is_here = |role| role == Role::Broker;
            let concerns = filter.concerns_connection(is_here, client, broker);
            assert_eq!(concerns, expected, "{filter:?}");
        }
    }

    #[test]
    fn verdict_client_and_broker_decide_too() {
        let event = reset(Role::Client, false);
        let ends = |text: &str| vec![text.parse::<Ends>().unwrap()];
        for (filter, expected) in [
            (ends("10.0.1.5"), true),
            (ends("10.0.1.5:43210"), true),
            (ends("10.0.1.5:43211"), false),
            (ends("10.0.0.0/23"), true),
            (ends("10.0.0.0/24"), false),
            // As ss(8) shows a socket for both families.
            (ends("::ffff:10.0.1.5"), true),
            (ends("[::ffff:10.0.1.5]:43210"), true),
            (ends("::ffff:10.0.0.0/119"), true),
            (ends("::ffff:10.0.0.0/120"), false),
            (ends("0.0.0.0/0"), true),
            (ends("2001:db8::/32"), false),
            (ends("::/0"), false),
        ] {
            let shown = filter[0].to_string();
            let filter = Filter {
                clients: filter,
                ..Filter::default()
            };
            assert_eq!(filter.concerns(&event), expected, "{shown}");
        }
        let of = |verdicts: Vec<Verdict>, brokers: Vec<Ends>| Filter {
            verdicts,
            brokers,
            ..Filter::default()
        };
        let idle = vec![Verdict::MiddleboxIdleReset];
        assert!(of(idle.clone(), ends("10.0.2.7:9092")).concerns(&event));
        assert!(!of(idle, ends("10.0.2.8")).concerns(&event));
        assert!(!of(vec![Verdict::Indeterminate], Vec::new()).concerns(&event));
    }

    #[test]
    fn an_address_that_is_none_says_what_was_expected() {
        for text in [
            "",
            "broker-1",
            "10.0.1.5/33",
            "10.0.1/24",
            "[::1]",
            "10.0.1.5:x",
        ] {
            let error = text.parse::<Ends>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("invalid address \"{text}\": expected")),
                "{error}"
            );
        }
    }

    #[test]
    fn incidents_are_of_their_brokers_verdict_and_role() {
        let incident = Event::Incident(Box::new(samples::incident()));
        let filter = |change: fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter.wants(&incident)
        };
        assert!(filter(|_| {}));
        assert!(filter(|it| it.role = Some(Role::Client)));
        assert!(!filter(|it| it.role = Some(Role::Broker)));
        assert!(filter(|it| it.verdicts = vec![Verdict::BrokerOriginated]));
        assert!(!filter(|it| it.verdicts = vec![Verdict::MiddleboxReset]));
        assert!(filter(|it| it.brokers = vec!["10.0.2.7".parse().unwrap()]));
        assert!(!filter(|it| it.brokers = vec!["10.0.2.8".parse().unwrap()]));
    }

    #[test]
    fn what_is_said_about_the_run_is_always_shown() {
        let brokers = Filter {
            role: Some(Role::Broker),
            ..Filter::default()
        };
        for event in samples::all()
            .into_iter()
            .filter(|event| event.finding().is_none() && event.kind() != Kind::Incident)
        {
            assert!(brokers.wants(&event), "{event:?}");
        }
    }
}
