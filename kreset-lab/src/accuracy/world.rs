//! What all cases of a room have in common: the devices' timers, and how far everybody is.

use super::{case::Room, device::TIMERS, draw::Draw};
use crate::{Side, device::Ttl, error::Result, net::Network};

/// What a seed decides for a whole room.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    /// The idle timers of its devices, in whole seconds, as conntrack counts.
    pub(super) timers: [u16; TIMERS],
    /// TTL with which each host's packets leave it: what systems begin with, less the hops that
    /// the lab does not have.
    client_ttl: u8,
    broker_ttl: u8,
    /// The same of what devices make up.
    device_ttl: u8,
}

impl World {
    pub(super) fn draw(seed: u64, room: Room) -> Self {
        let draw = Draw::new(seed, room.name());
        let timers = [(1, 2), (3, 5), (6, 9), (12, 20)].map(|(from, to)| draw.number(from, to));
        let host = || draw.one_of([64_u8, 128, 255]) - small(draw.number(0, 9));
        let (client_ttl, broker_ttl) = (host(), host());
        let mut device_ttl = draw.one_of([64_u8, 255]) - small(draw.number(0, 3));
        // As far away as a host by chance is a copy, and there are devices for that.
        while [client_ttl - 1, broker_ttl - 1].contains(&device_ttl) {
            device_ttl -= 1;
        }
        Self {
            timers,
            client_ttl,
            broker_ttl,
            device_ttl,
        }
    }

    /// The TTL of a reset that reaches `victim`, as it leaves the router.
    pub(super) const fn ttl(&self, ttl: Ttl, victim: Side) -> u8 {
        match (ttl, victim) {
            (Ttl::Own, _) => self.device_ttl,
            (Ttl::Copied, Side::Client) => self.broker_ttl - 1,
            (Ttl::Copied, Side::Broker) => self.client_ttl - 1,
        }
    }

    /// Has everybody's kernel send with these.
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

/// Draws of TTLs are below 256 by their bounds.
fn small(number: u16) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_device_is_as_far_as_a_host_by_chance() {
        for seed in 0..2000 {
            for room in Room::ALL {
                let world = World::draw(seed, room);
                for victim in Side::BOTH {
                    assert_ne!(
                        world.ttl(Ttl::Own, victim),
                        world.ttl(Ttl::Copied, victim),
                        "{seed} {room:?}"
                    );
                }
                assert!(world.timers.is_sorted());
            }
        }
    }
}
