//! The devices that may stand between a client and a broker.
//!
//! Those that act on a packet are the kernel's own: nftables over conntrack, with conntrack's
//! timer for established connections set to the device's idle timeout and mid-stream pickup off.
//! Linux has none that acts at the timer, so that one ([`Timer`]) is written here: it follows
//! sequence numbers by the router's tap and sends exact resets from a raw socket.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::{
    Moment, Side, Stop,
    error::{Context as _, Error, Result},
    net::{
        Network, forge,
        packet::{self, Flags},
        raw::RawSockets,
    },
    trace::wire::{Sighting, Wire},
    util::{program::CONNTRACK, worker::Worker},
};

/// The TTL or hop limit of a reset that a device makes up, as it leaves the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// That of the device's own stack, 64: the hosts are one hop further apart, so it gives the
    /// forger away.
    Own,
    /// What a packet of the other host would have here, 63: nothing gives it away.
    Copied,
}

impl Ttl {
    /// The value when the reset leaves the device, which is what the receiver sees.
    pub const fn value(self) -> u8 {
        match self {
            Self::Own => 64,
            Self::Copied => 63,
        }
    }
}

/// How long a packet that was sent may take to show up at the tap.
const SEEN: Duration = Duration::from_secs(5);

/// The router as a middlebox. Without a device installed it forwards everything.
///
/// Each of the devices replaces the one before, and what conntrack knew is kept.
#[derive(Clone, Copy, Debug)]
pub struct Middlebox<'lab> {
    network: &'lab Network,
    wire: &'lab Wire,
}

impl<'lab> Middlebox<'lab> {
    pub(crate) const fn new(network: &'lab Network, wire: &'lab Wire) -> Self {
        Self { network, wire }
    }

    /// Forgets a connection that was silent for `idle`, says nothing, and answers whoever sends
    /// next with a reset (AWS NLB and NAT gateway, Azure NAT gateway).
    ///
    /// # Errors
    /// [`Error::IdleTimeout`] unless `idle` is whole seconds; what the kernel or `nft` refuse.
    pub fn reset_on_send(&self, idle: Duration, ttl: Ttl) -> Result<()> {
        self.stateful(idle, "reject with tcp reset")?;
        self.own_ttl(ttl)
    }

    /// Forgets a connection that was silent for `idle`, and drops what is sent afterwards (Azure
    /// load balancer, Google Cloud, most firewalls).
    pub fn drop_silently(&self, idle: Duration) -> Result<()> {
        self.stateful(idle, "drop")
    }

    /// Resets both ends of a connection as soon as it was silent for `idle` (F5 BIG-IP; Azure load
    /// balancer with TCP reset). Works until the returned device is dropped.
    pub fn reset_on_timer(&self, idle: Duration, ttl: Ttl) -> Result<Timer> {
        let (forger, wire) = (Forger::new(self.network)?, self.wire.clone());
        Ok(Timer(Worker::start(move |ending| {
            // If it failed, no reset came, and the scenario says so in its own words.
            let _ended = watch(idle, ttl, &forger, &wire, ending);
        })))
    }

    /// Answers every connection attempt with a reset.
    pub fn refuse(&self, ttl: Ttl) -> Result<()> {
        self.rules("tcp flags & (syn|ack) == syn reject with tcp reset")?;
        self.own_ttl(ttl)
    }

    /// Answers every packet that is no connection attempt with a reset, known connection or not.
    pub fn reset_on_sight(&self, ttl: Ttl) -> Result<()> {
        self.rules("tcp flags & (syn|ack) != syn reject with tcp reset")?;
        self.own_ttl(ttl)
    }

    /// Refuses everything with an ICMP message (port unreachable), known connection or not.
    pub fn say_unreachable(&self) -> Result<()> {
        self.rules("meta l4proto tcp reject")
    }

    /// Drops every FIN on its way to `side`, and nothing else.
    pub fn drop_fins_to(&self, side: Side) -> Result<()> {
        self.rules(&format!("oifname \"{side}\" tcp flags & fin == fin drop"))
    }

    /// Forwards everything again.
    pub fn forward_everything(&self) -> Result<()> {
        self.rules("accept")
    }

    /// Drops everything.
    pub fn drop_everything(&self) -> Result<()> {
        self.rules("meta l4proto tcp drop")
    }

    /// Loses the state of all connections, as in a failover to a device that shares none. Means
    /// something while [`Self::reset_on_send`] or [`Self::drop_silently`] is installed.
    pub fn lose_state(&self) -> Result<()> {
        self.network
            .router()
            .run(CONNTRACK, &["-F"], "")
            .map(|_| ())
    }

    /// Resets both ends of the connection from `client_port` at once, for no reason of its own.
    ///
    /// # Errors
    /// [`Error::Staging`] if no such connection has been seen; what the raw socket refuses.
    pub fn reset_now(&self, client_port: u16, ttl: Ttl) -> Result<()> {
        self.reset_from(client_port, [ttl.value(); 2])
    }

    /// The same, with the TTLs that the resets to the client and to the broker have.
    pub(crate) fn reset_from(&self, client_port: u16, ttls: [u8; 2]) -> Result<()> {
        Forger::new(self.network)?.reset(&self.flow(client_port)?, ttls)
    }

    /// Resets one end alone.
    pub(crate) fn reset_one(&self, client_port: u16, victim: Side, ttl: u8) -> Result<()> {
        let mut flow = self.flow(client_port)?;
        match victim {
            Side::Client => flow.broker_expects = None,
            Side::Broker => flow.client_expects = None,
        }
        Forger::new(self.network)?.reset(&flow, [ttl; 2])
    }

    /// Sends a packet without payload, made up in the name of `source`.
    pub(crate) fn forge_bare(
        &self,
        source: SocketAddr,
        destination: SocketAddr,
        flags: Flags,
        sequence: u32,
        ttl: u8,
    ) -> Result<()> {
        Forger::new(self.network)?.send(source, destination, flags, sequence, ttl)
    }

    fn flow(&self, client_port: u16) -> Result<Flow> {
        let mut flows = Flows::default();
        for sighting in self.wire.of_connection(client_port) {
            flows.learn(&sighting);
        }
        flows
            .0
            .remove(&client_port)
            .ok_or_else(|| Error::Staging(format!("no connection from port {client_port}")))
    }

    /// Sends `victim` segments in the name of the other end of the connection from
    /// `client_port`. What they are is made from the last segment that came from there.
    ///
    /// # Errors
    /// [`Error::Staging`] if no such segment has been seen; what the raw socket refuses.
    pub(crate) fn forge(
        &self,
        client_port: u16,
        victim: Side,
        ttl: u8,
        made_from: impl FnOnce(&packet::Segment) -> Vec<forge::Segment>,
    ) -> Result<()> {
        let is_from_there = |it: &Sighting| {
            let reset = it.has(Flags::RST);
            it.client_port() == client_port && it.leaving && it.leg == victim && !reset
        };
        // The tap may lag behind.
        self.wire
            .wait_for_count(1, "a segment to make others from", SEEN, is_from_there)?;
        let seen = self.wire.of_connection(client_port);
        let mut genuine = seen.iter().filter(|it| is_from_there(it));
        let last = genuine.next_back().ok_or_else(|| {
            Error::Staging(format!(
                "nothing came to the {victim} of port {client_port}"
            ))
        })?;
        let (from, to) = (last.segment.source, last.segment.destination);
        let forger = Forger::new(self.network)?;
        made_from(&last.segment)
            .iter()
            .try_for_each(|it| forger.send_packet(it.packet(from, to, ttl), to))
    }

    fn stateful(&self, idle: Duration, what_then: &str) -> Result<()> {
        if idle.subsec_nanos() != 0 || idle.is_zero() {
            return Err(Error::IdleTimeout(idle));
        }
        // The table comes first: without it conntrack may not be there to be configured.
        self.rules(&format!(
            "ct state established,related accept\n\
             tcp flags & (syn|ack) == syn ct state new accept\n\
             meta l4proto tcp ct state invalid,new counter {what_then}"
        ))?;
        let idle = idle.as_secs().to_string();
        self.network.router().sysctl(&[
            ("netfilter/nf_conntrack_tcp_timeout_established", &idle),
            ("netfilter/nf_conntrack_tcp_loose", "0"),
        ])
    }

    fn rules(&self, rules: &str) -> Result<()> {
        let ruleset = format!(
            "flush ruleset\n\
             table inet middlebox {{\n\
             chain forwarded {{\n\
             type filter hook forward priority 0; policy accept;\n\
             {rules}\n\
             }}\n\
             }}\n"
        );
        self.network.router().nft(&ruleset)
    }

    /// nftables takes the TTL of its resets from the router's own settings.
    fn own_ttl(&self, ttl: Ttl) -> Result<()> {
        let value = ttl.value().to_string();
        self.network.router().sysctl(&[
            ("ipv4/ip_default_ttl", &value),
            ("ipv6/conf/client/hop_limit", &value),
            ("ipv6/conf/broker/hop_limit", &value),
        ])
    }
}

/// What a device must know of a connection to end it: for each end, what its next packet from the
/// other one is numbered.
#[derive(Clone, Debug)]
struct Flow {
    client: SocketAddr,
    broker: SocketAddr,
    /// The broker's next sequence number, as far as the client acknowledged it.
    client_expects: Option<u32>,
    /// The client's next sequence number, as far as the broker acknowledged it.
    broker_expects: Option<u32>,
    last: Moment,
}

/// By client port.
#[derive(Debug, Default)]
struct Flows(BTreeMap<u16, Flow>);

impl Flows {
    fn learn(&mut self, sighting: &Sighting) {
        // Everything is seen twice: coming in is enough.
        if sighting.leaving {
            return;
        }
        let segment = &sighting.segment;
        let port = sighting.client_port();
        if segment.has(Flags::RST) {
            self.0.remove(&port);
            return;
        }
        let (client, broker) = match sighting.from() {
            Side::Client => (segment.source, segment.destination),
            Side::Broker => (segment.destination, segment.source),
        };
        let flow = self.0.entry(port).or_insert(Flow {
            client,
            broker,
            client_expects: None,
            broker_expects: None,
            last: sighting.at,
        });
        flow.last = sighting.at;
        if segment.has(Flags::ACK) {
            let acknowledged = Some(segment.acknowledgement);
            match sighting.from() {
                Side::Client => flow.client_expects = acknowledged,
                Side::Broker => flow.broker_expects = acknowledged,
            }
        }
    }
}

/// Raw sockets in the router.
#[derive(Debug)]
struct Forger(RawSockets);

impl Forger {
    fn new(network: &Network) -> Result<Self> {
        let open = || RawSockets::open().context(|| "open a raw socket".to_owned());
        network.router().enter(open).map(Self)
    }

    /// Sends a reset to each end that was ever heard from.
    fn reset(&self, flow: &Flow, [to_client, to_broker]: [u8; 2]) -> Result<()> {
        if let Some(sequence) = flow.client_expects {
            self.send(flow.broker, flow.client, Flags::RST, sequence, to_client)?;
        }
        if let Some(sequence) = flow.broker_expects {
            self.send(flow.client, flow.broker, Flags::RST, sequence, to_broker)?;
        }
        Ok(())
    }

    fn send(
        &self,
        source: SocketAddr,
        destination: SocketAddr,
        flags: Flags,
        sequence: u32,
        ttl: u8,
    ) -> Result<()> {
        self.send_packet(
            packet::bare(source, destination, flags, sequence, ttl),
            destination,
        )
    }

    /// Sends a packet, if there is one: its two ends may be of different families.
    fn send_packet(&self, packet: Option<Vec<u8>>, destination: SocketAddr) -> Result<()> {
        let Some(packet) = packet else {
            return Err(Error::Staging(format!(
                "a packet to {destination} cannot be made up"
            )));
        };
        self.0
            .send(&packet, destination.ip())
            .context(|| format!("send what was made up to {destination}"))
    }
}

/// A device that resets both ends of a connection when its idle timer runs out.
#[derive(Debug)]
#[expect(dead_code, reason = "held for its Drop")]
pub struct Timer(Worker);

fn watch(
    idle: Duration,
    ttl: Ttl,
    forger: &Forger,
    wire: &Wire,
    ending: &AtomicBool,
) -> Result<()> {
    let mut flows = Flows::default();
    let mut seen = 0;
    while !ending.load(Ordering::Relaxed) {
        let now = Moment::now();
        let due = flows
            .0
            .iter()
            .map(|(port, flow)| (idle.saturating_sub(now.since(flow.last)), *port))
            .min();
        let patience = match due {
            Some((Duration::ZERO, port)) => {
                if let Some(flow) = flows.0.remove(&port) {
                    forger.reset(&flow, [ttl.value(); 2])?;
                }
                continue;
            }
            Some((left, _)) => left.min(Stop::GLANCE),
            None => Stop::GLANCE,
        };
        for sighting in wire.after(seen, patience) {
            flows.learn(&sighting);
            seen += 1;
        }
    }
    Ok(())
}
