//! At which end of its connections a capture was taken.
//!
//! A packet that was captured at its sender has the TTL that its stack begins with; one
//! that passed a router has not. On one link the gaps of the handshake tell: an end
//! answers at once, and its peer after a round trip.

use std::{collections::HashMap, fmt, net::IpAddr};

use kreset_ebpf::segment::tcp_flag;

use super::segment::{ACK, Seen};

/// The ends of a connection that are at the point of the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The client's.
    Client,
    /// The broker's.
    Broker,
    /// Both: loopback, or two containers of one host.
    Both,
    /// None: a router, a firewall or a mirror port between.
    Neither,
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "at the client",
            Self::Broker => "at the broker",
            Self::Both => "at both ends",
            Self::Neither => "between client and broker",
        })
    }
}

/// The TTLs and hop limits that stacks begin with.
const INITIAL: [u8; 3] = [64, 128, 255];
/// Handshakes whose gaps are measured at once, at most.
const HANDSHAKES: usize = 4_096;
/// Gaps below this do not tell the ends apart, ns.
const LEAST_GAP_NS: u64 = 20_000;

#[derive(Clone, Copy, Debug, Default)]
struct Handshake {
    syn_ns: u64,
    synack_ns: Option<u64>,
}

/// What the packets of one pair of addresses show.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    client_initial: u64,
    client_packets: u64,
    broker_initial: u64,
    broker_packets: u64,
    /// Resets of the broker's: all there is of one where nothing listens.
    refused_initial: u64,
    refused: u64,
    /// Handshakes that the client, or the broker, answered much sooner than its peer.
    client_quick: u64,
    broker_quick: u64,
}

impl Shown {
    /// The ends, and why.
    fn ends(&self) -> Option<(Ends, &'static str)> {
        const TTL: &str = "its packets have the TTL that they were sent with";
        let whole = |initial: u64, all: u64| all > 0 && initial * 10 >= all * 9;
        let client = whole(self.client_initial, self.client_packets);
        let (broker_initial, broker_packets) = match self.broker_packets {
            0 => (self.refused_initial, self.refused),
            packets => (self.broker_initial, packets),
        };
        let broker = whole(broker_initial, broker_packets);
        if self.client_packets == 0 || broker_packets == 0 {
            return None;
        }
        match (client, broker) {
            (true, false) => return Some((Ends::Client, TTL)),
            (false, true) => return Some((Ends::Broker, TTL)),
            (false, false) => return Some((Ends::Neither, "packets of both ends passed routers")),
            (true, true) => {}
        }
        if self.client_quick > self.broker_quick * 2 {
            Some((Ends::Client, "it answers at once, and its peer later"))
        } else if self.broker_quick > self.client_quick * 2 {
            Some((Ends::Broker, "it answers at once, and its peer later"))
        } else {
            None
        }
    }
}

/// Learns the point of a capture from its first packets.
#[derive(Debug, Default)]
pub struct Viewpoint {
    pairs: HashMap<(IpAddr, IpAddr), Shown>,
    handshakes: HashMap<(IpAddr, u16, IpAddr, u16), Handshake>,
    forced: Option<Ends>,
    decided: HashMap<(IpAddr, IpAddr), Ends>,
    majority: Option<(Ends, &'static str)>,
}

impl Viewpoint {
    /// With the answer of the operator, if there is one.
    #[must_use]
    pub fn new(forced: Option<Ends>) -> Self {
        Self {
            forced,
            ..Self::default()
        }
    }

    /// Learns from a packet.
    pub fn learn(&mut self, seen: &Seen<'_>, from_client: bool, at_ns: u64) {
        let (client, broker) = if from_client {
            (seen.source, seen.destination)
        } else {
            (seen.destination, seen.source)
        };
        let shown = self
            .pairs
            .entry((client.address, broker.address))
            .or_default();
        let initial = u64::from(INITIAL.contains(&seen.segment.ttl));
        if seen.has(tcp_flag::RST) {
            // What others may have made up.
            if !from_client {
                shown.refused += 1;
                shown.refused_initial += initial;
            }
        } else if from_client {
            shown.client_packets += 1;
            shown.client_initial += initial;
        } else {
            shown.broker_packets += 1;
            shown.broker_initial += initial;
        }
        let key = (client.address, client.port, broker.address, broker.port);
        if seen.is_syn() && from_client {
            if self.handshakes.len() < HANDSHAKES {
                let syn = Handshake {
                    syn_ns: at_ns,
                    synack_ns: None,
                };
                self.handshakes.insert(key, syn);
            }
        } else if seen.is_synack() && !from_client {
            if let Some(handshake) = self.handshakes.get_mut(&key) {
                handshake.synack_ns.get_or_insert(at_ns);
            }
        } else if from_client
            && seen.has(ACK)
            && let Some(handshake) = self.handshakes.remove(&key)
            && let Some(synack_ns) = handshake.synack_ns
        {
            let broker_ns = synack_ns.saturating_sub(handshake.syn_ns);
            let client_ns = at_ns.saturating_sub(synack_ns);
            if broker_ns.max(client_ns) >= LEAST_GAP_NS {
                shown.client_quick += u64::from(client_ns < broker_ns / 2);
                shown.broker_quick += u64::from(broker_ns < client_ns / 2);
            }
        }
    }

    /// Decides from what was learned.
    pub fn decide(&mut self) {
        let mut votes: HashMap<&'static str, (u64, Ends, &'static str)> = HashMap::new();
        for (pair, shown) in &self.pairs {
            let Some((ends, why)) = shown.ends() else {
                continue;
            };
            self.decided.insert(*pair, ends);
            let name = match ends {
                Ends::Client => "client",
                Ends::Broker => "broker",
                Ends::Both => "both",
                Ends::Neither => "neither",
            };
            let packets = shown.client_packets + shown.broker_packets;
            votes.entry(name).or_insert((0, ends, why)).0 += packets;
        }
        self.majority = votes
            .into_values()
            .max_by_key(|(packets, ..)| *packets)
            .map(|(_, ends, why)| (ends, why));
        self.handshakes = HashMap::new();
        self.pairs = HashMap::new();
    }

    /// The ends of a connection that are at the point of the capture.
    #[must_use]
    pub fn ends(&self, client: IpAddr, broker: IpAddr) -> Ends {
        if let Some(forced) = self.forced {
            return forced;
        }
        if client.is_loopback() || client == broker {
            return Ends::Both;
        }
        let decided = self.decided.get(&(client, broker)).copied();
        decided
            .or_else(|| self.majority.map(|(ends, _)| ends))
            .unwrap_or(Ends::Client)
    }

    /// The point of most connections, and why, for people.
    #[must_use]
    pub const fn summary(&self) -> (Ends, &'static str) {
        match (self.forced, self.majority) {
            (Some(ends), _) => (ends, "as --seen-from says"),
            (None, Some(majority)) => majority,
            (None, None) => (
                Ends::Client,
                "assumed: nothing shows it, --seen-from overrides",
            ),
        }
    }
}
