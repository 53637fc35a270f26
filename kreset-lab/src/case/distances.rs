//! What all cases of an environment have in common: the devices' timers, and how far each host is.

use std::time::Duration;

use super::{draw::Draw, environment::Environment};
use crate::{Side, device::Ttl, error::Result, net::Network};

/// Idle timers, from the shortest to the longest.
pub(crate) const TIMERS: usize = 4;

/// What a seed decides for a whole environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distances {
    /// The idle timers of the devices, in whole seconds, as conntrack counts.
    pub(super) timers: [u16; TIMERS],
    /// TTL with which each host's packets leave it: what systems begin with, less the hops that
    /// the lab does not have.
    client_ttl: u8,
    broker_ttl: u8,
    /// The same of what devices make up.
    device_ttl: u8,
}

impl Distances {
    /// Those of a seed.
    pub(crate) fn draw(seed: u64, environment: Environment) -> Self {
        let draw = Draw::new(seed, environment.name());
        let timers = [(1, 2), (3, 5), (6, 9), (12, 20)].map(|(from, to)| draw.number(from, to));
        let host = || draw.one_of([64_u8, 128, 255]) - small(draw.number(0, 9));
        let (client_ttl, broker_ttl) = (host(), host());
        let mut device_ttl = draw.one_of([64_u8, 255]) - small(draw.number(0, 3));
        // A device stands between the hosts: where its stack begins with the same TTL as theirs,
        // its packets come from nearer. What comes from as far is a copy, and there are devices
        // for that.
        for host in [client_ttl, broker_ttl] {
            if initial(host) == initial(device_ttl) {
                device_ttl = device_ttl.max(host);
            }
        }
        Self {
            timers,
            client_ttl,
            broker_ttl,
            device_ttl,
        }
    }

    /// Linux's own TTL for all, and the same timer in all devices.
    pub(super) fn default_with(timer: Duration) -> Self {
        let seconds = u16::try_from(timer.as_secs()).unwrap_or(u16::MAX);
        Self {
            timers: [seconds; TIMERS],
            client_ttl: 64,
            broker_ttl: 64,
            device_ttl: 64,
        }
    }

    /// The TTL of a reset that reaches `victim`, as it leaves the router.
    pub(crate) const fn ttl(&self, ttl: Ttl, victim: Side) -> u8 {
        match (ttl, victim) {
            (Ttl::Own, _) => self.device_ttl,
            (Ttl::Copied, Side::Client) => self.broker_ttl - 1,
            (Ttl::Copied, Side::Broker) => self.client_ttl - 1,
        }
    }

    /// Has the kernels send with these.
    pub(super) fn apply(&self, network: &Network) -> Result<()> {
        for (side, ttl) in [
            (Side::Client, self.client_ttl),
            (Side::Broker, self.broker_ttl),
        ] {
            let ttl = ttl.to_string();
            network.host(side).sysctl(&[
                ("ipv4/ip_default_ttl", &ttl),
                ("ipv6/conf/default/hop_limit", &ttl),
                ("ipv6/conf/lo/hop_limit", &ttl),
                ("ipv6/conf/eth0/hop_limit", &ttl),
            ])?;
        }
        let ttl = self.device_ttl.to_string();
        network.router().sysctl(&[
            ("ipv4/ip_default_ttl", &ttl),
            ("ipv6/conf/client/hop_limit", &ttl),
            ("ipv6/conf/broker/hop_limit", &ttl),
        ])
    }
}

/// The TTL that stacks begin with, of one that is a few hops less.
const fn initial(ttl: u8) -> u8 {
    match ttl {
        0..=64 => 64,
        65..=128 => 128,
        _ => 255,
    }
}

/// Draws of TTLs are below 256 by their bounds.
fn small(number: u16) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_is_nearer_than_the_hosts() {
        for seed in 0..2000 {
            for environment in Environment::DRAWN {
                let distances = Distances::draw(seed, environment);
                for victim in Side::BOTH {
                    let [own, copied] =
                        [Ttl::Own, Ttl::Copied].map(|ttl| distances.ttl(ttl, victim));
                    assert!(
                        own > copied || initial(own) != initial(copied),
                        "{seed} {environment:?}"
                    );
                }
                assert!(distances.timers.is_sorted());
            }
        }
    }
}
