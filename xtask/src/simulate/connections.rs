//! How connections end, between which hosts, and through what.

use std::{collections::HashMap, net::Ipv4Addr};

use fastrand::Rng;

use super::{
    fleet::{BEGIN, Fleet, SECOND},
    recorded::{Pair, Recorded, Template},
};

/// An address and a port.
pub(super) type Socket = (Ipv4Addr, u16);

/// An end of a connection as one host saw it.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// By true time.
    pub(super) at: i64,
    pub(super) host: usize,
    /// Which recorded event it is: the pair, whether the broker's host saw it, and which of its.
    pub(super) template: (usize, bool, usize),
    pub(super) client: Socket,
    pub(super) broker: Socket,
    pub(super) flow: Option<u64>,
    pub(super) sequence: Option<u32>,
    /// What the connection's other end saw, if that is on this host too.
    pub(super) other: Option<Box<Self>>,
}

/// What stands between two hosts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    Direct,
    /// The client's address is rewritten.
    Masqueraded,
    /// The broker's is, and the client's.
    Balanced,
    /// TCP ends and begins again.
    Proxied,
}

/// What a host saw of a connection: both ends.
type Ends = (Socket, Socket);

/// Draws about `count` events.
pub(super) fn draw(random: &mut Rng, fleet: &Fleet, recorded: &Recorded, count: usize) -> Vec<End> {
    let mut ends = Vec::with_capacity(count + 16);
    while ends.len() < count {
        if random.u32(..30) == 0 {
            both_on_one_host(random, fleet, recorded, &mut ends);
            continue;
        }
        let client = fleet.client(random);
        let broker = fleet.broker(random);
        let at = random.i64(BEGIN..fleet.end);
        let path = match random.u32(..100) {
            0..55 => Path::Direct,
            55..80 => Path::Masqueraded,
            80..97 => Path::Balanced,
            _ => Path::Proxied,
        };
        let views = views(random, fleet, client, broker, path);
        // A port that is used again, or several connections that one gateway gives one port.
        let times = if random.u32(..50) == 0 { 2 } else { 1 };
        for again in 0..times {
            let at = at + again * random.i64(SECOND / 100..7 * SECOND);
            let drawn = Drawn {
                pair: random.usize(..recorded.pairs.len()),
                hosts: [client, broker],
                views,
                path,
                at,
            };
            drawn.add(random, recorded, &mut ends);
        }
    }
    ends
}

/// A connection of a host to itself: one event has what both ends saw.
fn both_on_one_host(random: &mut Rng, fleet: &Fleet, recorded: &Recorded, ends: &mut Vec<End>) {
    let host = fleet.broker(random);
    let address = fleet.hosts[host].address;
    let here = (address, random.u16(32_768..));
    let there = (address, 9_092);
    // A Service's address is translated on the host.
    let dialed = if random.u32(..4) == 0 {
        balancer(host)
    } else {
        there
    };
    let drawn = Drawn {
        pair: random.usize(..recorded.pairs.len()),
        hosts: [host, host],
        views: [(here, dialed), (here, there)],
        path: Path::Direct,
        at: random.i64(BEGIN..fleet.end),
    };
    let mut seen = Vec::new();
    drawn.add(random, recorded, &mut seen);
    let Some(mut one) = seen.pop() else {
        return;
    };
    let Some(other) = seen.pop() else {
        // Nothing is known of the other end.
        ends.push(one);
        return;
    };
    // Another event of the connection, of one end alone.
    if random.u32(..8) == 0 {
        let mut late = other.clone();
        late.at += random.i64(SECOND / 100..SECOND);
        ends.push(late);
    }
    one.other = Some(Box::new(other));
    ends.push(one);
}

fn views(random: &mut Rng, fleet: &Fleet, client: usize, broker: usize, path: Path) -> [Ends; 2] {
    let here = (fleet.hosts[client].address, random.u16(32_768..));
    let there = (fleet.hosts[broker].address, 9_092);
    // A gateway has few ports, so that connections that end at once may share one.
    let gateway = (
        Ipv4Addr::new(172, 16, random.u8(..8), 1),
        random.u16(1_024..2_048),
    );
    let balancer = balancer(broker);
    match path {
        Path::Direct => [(here, there), (here, there)],
        Path::Masqueraded => [(here, there), (gateway, there)],
        Path::Balanced | Path::Proxied => [(here, balancer), (gateway, there)],
    }
}

/// The address in front of a broker's host.
fn balancer(broker: usize) -> Socket {
    let last = u8::try_from(broker % 200 + 1).unwrap_or(u8::MAX);
    (Ipv4Addr::new(192, 0, 2, last), 9_092)
}

/// A connection.
struct Drawn {
    pair: usize,
    hosts: [usize; 2],
    views: [Ends; 2],
    path: Path,
    at: i64,
}

impl Drawn {
    fn add(&self, random: &mut Rng, recorded: &Recorded, ends: &mut Vec<End>) {
        let Pair { client, broker } = &recorded.pairs[self.pair];
        let mut names = Names::default();
        for (is_broker, templates) in [(false, client), (true, broker)] {
            if self.path == Path::Proxied {
                names = Names::default();
            }
            let host = self.hosts[usize::from(is_broker)];
            let (client, broker) = self.views[usize::from(is_broker)];
            // A host remembers so many connections, and a device may take a packet away.
            let knows_flow = random.u32(..16) > 0;
            let knows_sequence = random.u32(..20) > 0;
            for (index, template) in templates.iter().enumerate() {
                ends.push(End {
                    at: self.at + template.after_ns + random.i64(20_000..2_000_000),
                    host,
                    template: (self.pair, is_broker, index),
                    client,
                    broker,
                    flow: names.flow(random, template).filter(|_| knows_flow),
                    sequence: names.sequence(random, template).filter(|_| knows_sequence),
                    other: None,
                });
            }
        }
    }
}

/// Names of the drawn connection for those of the recorded one.
#[derive(Default)]
struct Names {
    flows: HashMap<String, u64>,
    base: Option<u32>,
}

impl Names {
    fn flow(&mut self, random: &mut Rng, template: &Template) -> Option<u64> {
        let flow = template.flow.as_ref()?;
        let name = self.flows.entry(flow.clone());
        Some(*name.or_insert_with(|| random.u64(..)))
    }

    fn sequence(&mut self, random: &mut Rng, template: &Template) -> Option<u32> {
        let sequence = template.sequence?;
        if sequence == 0 {
            return Some(0);
        }
        let base = *self.base.get_or_insert_with(|| random.u32(..));
        Some(sequence.wrapping_add(base))
    }
}
