//! How each connection ended that one host has had on its wire: who reset or closed it, and after
//! what silence.

use std::{net::SocketAddr, time::Duration};

use crate::{
    Side,
    net::packet::Flags,
    trace::{
        follow::{Flow, Follower},
        wire::{Sighting, Silence, Wire, silence},
    },
};

/// Segments this close to a reset are what drew it.
const CLUSTER: Duration = Duration::from_millis(100);

/// The end of one connection, as one host had it on its wire.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The host.
    pub host: Side,
    /// What ended it there.
    pub what: What,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The broker's address and port.
    pub broker: SocketAddr,
    /// All that passed between this host and the router, in order.
    pub packets: Vec<Sighting>,
    /// Where in [`Self::packets`] it ended.
    pub(crate) at: usize,
}

/// What ended a connection on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A reset came in.
    Received,
    /// A reset went out.
    Sent,
    /// The other end closed in order, and no reset followed.
    Closed,
    /// This host's own application closed in order before the other end did, and no reset followed.
    Left,
    /// What it sent was never answered, however often it was sent again.
    TimedOut,
}

impl Ending {
    /// The ends of all connections that ended on `host`.
    pub fn all(wire: &Wire, host: Side) -> Vec<Self> {
        let mut follower = Follower::keeping_packets();
        for seen in wire.sightings().iter().filter(|seen| seen.leg == host) {
            follower.learn(seen);
        }
        let mut connections = follower.drain();
        connections.sort_by_key(|connection| connection.began);
        let endings = connections.into_iter();
        endings
            .filter_map(|it| Self::of(it.flow, it.packets))
            .collect()
    }

    pub(crate) fn of(flow: Flow, packets: Vec<Sighting>) -> Option<Self> {
        let is_reset = |seen: &Sighting| seen.has(Flags::RST);
        let comes = |seen: &Sighting| seen.leaving;
        let first = |fits: &dyn Fn(&Sighting) -> bool| packets.iter().position(fits);
        // A reset that comes in is what the host's application notices, whatever else there was.
        let (what, at) = first(&|seen| is_reset(seen) && comes(seen))
            .map(|at| (What::Received, at))
            .or_else(|| first(&|seen| is_reset(seen) && !comes(seen)).map(|at| (What::Sent, at)))
            .or_else(|| {
                first(&|seen| seen.has(Flags::FIN)).map(|at| {
                    if comes(&packets[at]) {
                        (What::Closed, at)
                    } else {
                        (What::Left, at)
                    }
                })
            })
            .or_else(|| unanswered(&packets).map(|at| (What::TimedOut, at)))?;
        Some(Self {
            host: flow.host,
            what,
            client: flow.client,
            broker: flow.broker,
            packets,
            at,
        })
    }

    /// The segment that ended it.
    pub fn last(&self) -> &Sighting {
        &self.packets[self.at]
    }

    /// The segments before it.
    pub fn before(&self) -> &[Sighting] {
        &self.packets[..self.at]
    }

    /// Whether the reset was made up by the router: the hosts are one hop further away.
    pub fn is_forged(&self) -> bool {
        self.what == What::Received && self.last().segment.ttl == 64
    }

    /// Whether it never was a connection: a SYN was answered with a reset.
    pub fn is_refusal(&self) -> bool {
        !self
            .before()
            .iter()
            .any(|seen| seen.has(Flags::SYN) && seen.has(Flags::ACK))
    }

    /// Whether `side` had closed in order before.
    pub fn was_closed_by(&self, side: Side) -> bool {
        self.before()
            .iter()
            .any(|seen| self.sender(seen) == side && seen.has(Flags::FIN))
    }

    /// How many bytes `side` had sent before, those sent again counted again.
    pub fn bytes_from(&self, side: Side) -> u32 {
        self.before()
            .iter()
            .filter(|seen| self.sender(seen) == side)
            .map(|seen| seen.segment.payload)
            .sum()
    }

    /// Which end a segment came from, or was made up in the name of.
    pub(crate) const fn sender(&self, seen: &Sighting) -> Side {
        if seen.leaving {
            self.host.other()
        } else {
            self.host
        }
    }

    /// How many resets the host had on its wire, in either direction.
    pub(crate) fn resets(&self) -> usize {
        let resets = self.packets.iter();
        resets.filter(|seen| seen.has(Flags::RST)).count()
    }

    /// Whether the host's socket sent a reset, and something that met no socket drew another. Each
    /// may be reported: a closing socket sends its own before the kernel reports it (`__tcp_close`,
    /// 6.18), so that it may be reported last.
    pub(crate) fn sent_both(&self) -> bool {
        let sent = |answers| {
            self.packets.iter().any(|seen| {
                !seen.leaving && seen.has(Flags::RST) && seen.segment.answers() == answers
            })
        };
        self.what == What::Sent && sent(true) && sent(false)
    }

    /// The silence before what drew the reset.
    pub(crate) fn silence(&self) -> Option<Silence> {
        let end = self.last().at;
        let before = self.before();
        let trigger = if self.what == What::TimedOut {
            self.at
        } else {
            let drew =
                |seen: &Sighting| self.sender(seen) == self.host && end.since(seen.at) < CLUSTER;
            before.iter().position(drew).unwrap_or(self.at)
        };
        self.silence_before(trigger)
    }

    /// The silence before one of the packets. `None` if it had not begun.
    pub(crate) fn silence_before(&self, trigger: usize) -> Option<Silence> {
        silence(&self.packets[..trigger].iter(), self.packets[trigger].at)
    }
}

/// The first of the segments that the host sent again and again to its end.
pub(crate) fn unanswered(packets: &[Sighting]) -> Option<usize> {
    /// At least as many tries as the lab's hosts make before they give up.
    const TRIES: usize = 3;
    let last = packets.last().filter(|seen| !seen.leaving)?;
    let same = |seen: &Sighting| {
        !seen.leaving && seen.segment.sequence == last.segment.sequence && seen.segment.payload > 0
    };
    let first = packets.iter().position(same)?;
    let since = packets.get(first..)?;
    let lonely = since.iter().all(|seen| !seen.leaving);
    (lonely && since.iter().filter(|seen| same(seen)).count() >= TRIES).then_some(first)
}
