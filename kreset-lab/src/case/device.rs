//! Many devices in one router: which of them stands before a broker shows in the broker's address.
//!
//! Each device is conntrack with a timer of its own, as in [`crate::device`], so that hundreds
//! of connections with different fates need a few networks only, and each has its own path and
//! its own broker.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::distances::{Distances, TIMERS};
use crate::{
    Family, Side,
    device::Ttl,
    error::Result,
    net::{self, Network},
    util::program::CONNTRACK,
};

/// Longer than every silence here: such a device forgets when a case says so.
const NEVER: u16 = 3600;

/// Brokers behind one device; what an octet of an address holds.
const BROKERS: u16 = 250;

/// Parts of addresses that stand for no device.
const FREE: u16 = 16;

/// What stands before a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Device {
    /// Nothing that acts.
    None,
    /// Forgets after one of the [`TIMERS`], and answers what comes afterwards with a reset.
    Resets {
        /// Which of the [`TIMERS`].
        timer: usize,
        /// Whether the reset has the TTL of the broker's packets.
        copied: bool,
    },
    /// Forgets after one of the [`TIMERS`], and drops what comes afterwards.
    Drops {
        /// Which of the [`TIMERS`].
        timer: usize,
    },
    /// Forgets when a case says so, and answers what comes afterwards with a reset.
    Fails {
        /// Whether the reset has the TTL of the broker's packets.
        copied: bool,
    },
    /// Forgets when a case says so, and drops what comes afterwards.
    Vanishes,
    /// Answers every attempt to connect with a reset.
    Refuses {
        /// Whether the reset has the TTL of the broker's packets.
        copied: bool,
    },
}

impl Device {
    fn all() -> Vec<Self> {
        let mut all = vec![Self::Vanishes];
        for timer in 0..TIMERS {
            all.push(Self::Drops { timer });
        }
        for copied in [false, true] {
            all.extend([Self::Fails { copied }, Self::Refuses { copied }]);
            all.extend((0..TIMERS).map(|timer| Self::Resets { timer, copied }));
        }
        all
    }

    /// The part of the brokers' addresses that stands for the device. Without a device there may
    /// be many brokers: all below [`FREE`] are theirs.
    fn code(self) -> u16 {
        let number = Self::all().iter().position(|device| *device == self);
        number.map_or(0, |number| FREE + u16::try_from(number).unwrap_or_default())
    }

    /// How many brokers may stand behind it before their addresses come round again.
    pub(crate) const fn brokers(self) -> u16 {
        match self {
            Self::None => FREE * BROKERS,
            _ => BROKERS,
        }
    }

    fn seconds(self, distances: &Distances) -> u16 {
        match self {
            Self::Resets { timer, .. } | Self::Drops { timer } => {
                distances.timers.get(timer).copied().unwrap_or(NEVER)
            }
            _ => NEVER,
        }
    }

    /// The address of its `number`th broker.
    pub(crate) fn broker(self, number: u16, family: Family) -> IpAddr {
        let code = self.code() + number / BROKERS;
        let low = number.checked_rem(BROKERS).unwrap_or_default() + 1;
        match family {
            Family::Ipv6 => Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, code, low).into(),
            Family::Ipv4 | Family::Mapped => {
                let [_, code] = code.to_be_bytes();
                let [_, low] = low.to_be_bytes();
                Ipv4Addr::new(10, 78, code, low).into()
            }
        }
    }

    /// The TTL of what it makes up.
    pub(crate) const fn ttl(self) -> Ttl {
        match self {
            Self::Resets { copied: true, .. }
            | Self::Fails { copied: true }
            | Self::Refuses { copied: true } => Ttl::Copied,
            _ => Ttl::Own,
        }
    }

    /// The addresses of its brokers, by the word for their family.
    fn ranges(self) -> [(&'static str, String); 2] {
        let code = self.code();
        [
            ("ip", format!("10.78.{code}.0/24")),
            ("ip6", format!("fd78::{code:x}:0/112")),
        ]
    }

    /// Adds the rules that make it.
    fn install(self, distances: &Distances, rules: &mut Rules) {
        let (code, seconds) = (self.code(), self.seconds(distances));
        let fate = match self {
            Self::None => return,
            Self::Drops { .. } | Self::Vanishes => "drop",
            _ => "reject with tcp reset",
        };
        let packets = match self {
            Self::Refuses { .. } => "tcp flags & (syn|ack) == syn",
            _ => "tcp flags & (syn|ack) != syn ct state invalid,new",
        };
        for (ip, range) in self.ranges() {
            let name = format!("{ip}of{code}");
            rules.timeouts.push(format!(
                "ct timeout {name} {{ protocol tcp; l3proto {ip}; \
                 policy = {{ established: {seconds} }}; }}\n"
            ));
            let set = format!("{ip} daddr {range} ct timeout set \"{name}\"\n");
            rules.tracked.push(set);
            for (end, victim) in [("saddr", Side::Client), ("daddr", Side::Broker)] {
                let resets = format!("{ip} {end} {range} {packets} {fate}\n");
                rules.forwarded.push(resets);
                if self.ttl() == Ttl::Copied {
                    let hops = if ip == "ip" { "ttl" } else { "hoplimit" };
                    let value = distances.ttl(Ttl::Copied, victim);
                    rules.sent.push(format!(
                        "{ip} {end} {range} tcp flags rst {ip} {hops} set {value}\n"
                    ));
                }
            }
        }
    }
}

/// The lines of each part of the ruleset.
#[derive(Default)]
struct Rules {
    timeouts: Vec<String>,
    tracked: Vec<String>,
    forwarded: Vec<String>,
    sent: Vec<String>,
}

/// The client that a broker has to itself: what one host remembers of a path must not be another
/// case's.
pub(crate) const fn client_of(broker: IpAddr) -> IpAddr {
    match broker {
        IpAddr::V4(broker) => {
            let [a, b, c, d] = broker.octets();
            IpAddr::V4(Ipv4Addr::new(a, b + 1, c, d))
        }
        IpAddr::V6(broker) => {
            let [first, .., code, low] = broker.segments();
            IpAddr::V6(Ipv6Addr::new(first + 1, 0, 0, 0, 0, 0, code, low))
        }
    }
}

/// Gives both hosts the addresses of all clients and brokers.
pub(crate) fn give_addresses(network: &Network) -> Result<()> {
    for (side, v4, v6) in [
        (Side::Client, "10.79.0.0/16", "fd79::/64"),
        (Side::Broker, "10.78.0.0/16", "fd78::/64"),
    ] {
        let (to_v4, to_v6) = (net::address(side, false), net::address(side, true));
        network.router().ip(&format!(
            "route add {v4} via {to_v4} dev {side}\n\
                 route add {v6} via {to_v6} dev {side}\n"
        ))?;
        let host = network.host(side);
        host.ip(&format!(
            "route add local {v4} dev lo\nroute add local {v6} dev lo\n"
        ))?;
        // IPv6 takes a route for an address less easily than IPv4 does.
        host.sysctl(&[("ipv6/ip_nonlocal_bind", "1")])?;
    }
    Ok(())
}

/// Puts all devices into the router.
pub(crate) fn install(network: &Network, distances: &Distances) -> Result<()> {
    let mut rules = Rules::default();
    for device in Device::all() {
        device.install(distances, &mut rules);
    }
    let Rules {
        timeouts,
        tracked,
        forwarded,
        sent,
    } = rules;
    let [timeouts, tracked, forwarded, sent] =
        [timeouts, tracked, forwarded, sent].map(|lines| lines.concat());
    let ruleset = format!(
        "flush ruleset\n\
         table inet standing {{\n\
         {timeouts}\
         set cut {{ type inet_service; }}\n\
         chain tracked {{\n\
         type filter hook prerouting priority -100; policy accept;\n\
         {tracked}\
         }}\n\
         chain forwarded {{\n\
         type filter hook forward priority 0; policy accept;\n\
         tcp dport @cut drop\n\
         ct state established,related accept\n\
         {forwarded}\
         }}\n\
         chain sent {{\n\
         type filter hook output priority 0; policy accept;\n\
         {sent}\
         }}\n\
         }}\n"
    );
    network.router().nft(&ruleset)?;
    network
        .router()
        .sysctl(&[("netfilter/nf_conntrack_tcp_loose", "0")])
}

/// Loses everything that a broker sends to a client's port from here on, or no longer.
pub(crate) fn cut(network: &Network, client_port: u16, lost: bool) -> Result<()> {
    let what = if lost { "add" } else { "delete" };
    let change = format!("{what} element inet standing cut {{ {client_port} }}\n");
    network.router().nft(&change)
}

/// Makes the device before a broker lose what it knows of one connection, as in a failover to a
/// device that shares no state.
pub(crate) fn forget(network: &Network, family: Family, client_port: u16) -> Result<()> {
    let family = if family == Family::Ipv6 {
        "ipv6"
    } else {
        "ipv4"
    };
    let port = client_port.to_string();
    let arguments = ["-D", "-f", family, "-p", "tcp", "--sport", &port];
    network.router().run(CONNTRACK, &arguments, "").map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_device_has_addresses_of_its_own() {
        let all = Device::all();
        let codes: BTreeSet<_> = all.iter().map(|device| device.code()).collect();
        assert_eq!(codes.len(), all.len());
        assert!(codes.iter().all(|code| (16..=255).contains(code)));
    }

    #[test]
    fn brokers_without_a_device_overflow_into_free_addresses() {
        let broker = |number| Device::None.broker(number, Family::Mapped).to_string();
        assert_eq!(broker(0), "10.78.0.1");
        assert_eq!(broker(249), "10.78.0.250");
        assert_eq!(broker(250), "10.78.1.1");
    }
}
