//! What really crossed the wire: the lab's own memory of every TCP segment, from which all truth
//! about silences, ages and origins is computed.
//!
//! A tap in the router writes down the headers of each segment with the kernel's receive time. A
//! forwarded segment is seen twice, coming in on one leg and going out on the other; one that a
//! device drops only comes in, and one that the router makes up only goes out.

use std::{
    io::{self, IoSliceMut, Write},
    net::SocketAddr,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::{
    cmsg_space,
    errno::Errno,
    net::if_::if_nametoindex,
    sys::{
        socket::{
            self, AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol,
            SockType, sockopt,
        },
        time::{TimeSpec, TimeVal},
    },
};

pub use crate::Moment;
use crate::{
    PORT, Side, Stop,
    error::{Context as _, Result},
    net::{
        Network,
        packet::{Flags, Segment},
    },
    trace::{follow::Flow, packet_loss, pcap},
    util::{feed::Feed, worker::Worker},
};

/// Bytes kept of each packet: all headers, and enough payload to see what it is.
const SNAP: u16 = 192;

/// One sighting of one segment at one leg of the router.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// When the router's kernel handled it.
    pub at: Moment,
    /// The host at the other end of this leg.
    pub leg: Side,
    /// Whether it left the router here, rather than came in.
    pub leaving: bool,
    /// Its headers.
    pub segment: Segment,
    bytes: Vec<u8>,
    /// How many bytes it really had.
    length: usize,
}

impl Sighting {
    /// One that never was, `ms` after some beginning.
    #[cfg(test)]
    pub(crate) const fn made_up(ms: u64, leg: Side, leaving: bool, segment: Segment) -> Self {
        Self {
            at: Moment(ms * 1_000_000),
            leg,
            leaving,
            segment,
            bytes: Vec::new(),
            length: 0,
        }
    }

    /// Its payload, as much of it as was kept.
    pub fn payload(&self) -> &[u8] {
        Segment::payload_of(&self.bytes)
    }

    /// The end that sent it, or in whose name it was made up.
    pub const fn from(&self) -> Side {
        if self.segment.source.port() == PORT {
            Side::Broker
        } else {
            Side::Client
        }
    }

    /// Which connection it is of, at which host.
    pub const fn flow(&self) -> Flow {
        let Segment {
            source,
            destination,
            ..
        } = self.segment;
        let (client, broker) = match self.from() {
            Side::Client => (source, destination),
            Side::Broker => (destination, source),
        };
        Flow {
            host: self.leg,
            client,
            broker,
        }
    }

    /// The client's port: it identifies the connections of one lab.
    pub const fn client_port(&self) -> u16 {
        match self.from() {
            Side::Client => self.segment.source.port(),
            Side::Broker => self.segment.destination.port(),
        }
    }

    /// Whether it has all of `flags`.
    pub const fn has(&self, flags: Flags) -> bool {
        self.segment.has(flags)
    }

    /// Whether it is a reset that reaches `side`.
    pub fn resets(&self, side: Side) -> bool {
        self.leaving && self.leg == side && self.segment.has(Flags::RST)
    }

    /// Whether it comes into the router from `side` and has all of `flags`.
    pub fn comes_from(&self, side: Side, flags: Flags) -> bool {
        !self.leaving && self.leg == side && self.segment.has(flags)
    }

    /// Whether it comes into the router from `side` and carries payload.
    pub fn carries_data_from(&self, side: Side) -> bool {
        !self.leaving && self.leg == side && self.segment.payload > 0
    }
}

/// How long a connection was silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silence {
    /// Since the last data, or since the handshake if there was none: what a person calls idle.
    pub data: Duration,
    /// Since the last packet of any kind, a FIN or a keepalive probe: what a device calls idle.
    pub wire: Duration,
}

/// How long it was silent at `at`, after what came `before`. Resets are not activity.
pub(super) fn silence<'a, I: DoubleEndedIterator<Item = &'a Sighting> + Clone>(
    before: &I,
    at: Moment,
) -> Option<Silence> {
    let last = |counts: fn(&Segment) -> bool| {
        let last = before.clone().rev().find(|seen| counts(&seen.segment))?;
        Some(at.since(last.at))
    };
    Some(Silence {
        data: last(|segment| segment.payload > 0 || segment.has(Flags::SYN))?,
        wire: last(|segment| !segment.has(Flags::RST))?,
    })
}

/// The memory of the tap.
#[derive(Clone, Debug)]
pub struct Wire {
    feed: Feed<Sighting>,
    /// Segments that did not fit the socket's buffer.
    missed: Arc<AtomicU64>,
    stop: Stop,
}

impl Wire {
    /// Everything seen so far, in order.
    pub fn sightings(&self) -> Vec<Sighting> {
        self.feed.all()
    }

    /// Forgets what was seen before `moment`, for runs that last.
    pub(crate) fn forget_before(&self, moment: Moment) {
        let mut items = self.feed.lock();
        let old = items.kept.partition_point(|seen| seen.at < moment);
        drop(items.forget(old));
    }

    /// Segments that passed unobserved, because the tap could not keep up.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    fn count_missed(&self, socket: &OwnedFd) {
        let missed = packet_loss::since_last_asked(socket);
        self.missed.fetch_add(missed, Ordering::Relaxed);
    }

    /// What was seen so far of the connection from `client_port`, in order.
    pub fn of_connection(&self, client_port: u16) -> Vec<Sighting> {
        let memory = self.feed.lock();
        let of = |seen: &&Sighting| seen.client_port() == client_port;
        memory.kept.iter().filter(of).cloned().collect()
    }

    /// Waits until something that fits has been seen, and returns the first such sighting.
    ///
    /// # Errors
    /// [`Error::Deadline`](crate::Error::Deadline) after `patience`, naming `what`; [`Error::Stopped`](crate::Error::Stopped).
    pub fn wait_for(
        &self,
        what: &str,
        patience: Duration,
        fits: impl Fn(&Sighting) -> bool,
    ) -> Result<Sighting> {
        let mut looked_at = 0;
        self.feed.wait_until(what, patience, &self.stop, |items| {
            let found = items.from(looked_at).iter().find(|seen| fits(seen));
            looked_at = items.count();
            found.cloned()
        })
    }

    /// Waits until at least `count` sightings fit, and returns how many do.
    ///
    /// # Errors
    /// [`Error::Deadline`](crate::Error::Deadline) after `patience`, naming `what`; [`Error::Stopped`](crate::Error::Stopped).
    pub fn wait_for_count(
        &self,
        count: usize,
        what: &str,
        patience: Duration,
        fits: impl Fn(&Sighting) -> bool,
    ) -> Result<usize> {
        self.feed.wait_until(what, patience, &self.stop, |items| {
            let fitting = items.kept.iter().filter(|seen| fits(seen)).count();
            (fitting >= count).then_some(fitting)
        })
    }

    /// Waits up to `patience` for more than `seen` sightings, and returns those after `seen`.
    pub(crate) fn after(&self, seen: usize, patience: Duration) -> Vec<Sighting> {
        self.feed.after(seen, patience)
    }

    /// When the last segment was seen.
    pub fn last(&self) -> Option<Moment> {
        self.feed.lock().kept.last().map(|seen| seen.at)
    }

    /// How long the connection of `trigger` had been silent before it. `None` if it had not begun.
    ///
    /// Resets do not count as activity: where a device resets both ends, the second one is not
    /// preceded by the first.
    pub fn silence_before(&self, trigger: &Sighting) -> Option<Silence> {
        let port = trigger.client_port();
        let seen = self.feed.lock();
        let before = seen
            .kept
            .iter()
            .filter(|it| it.client_port() == port && it.at < trigger.at);
        let silence = silence(&before, trigger.at);
        drop(seen);
        silence
    }

    /// Writes what passed one leg as a pcap file (raw IP, ns), for tcpdump and Wireshark.
    pub fn write_pcap(&self, leg: Side, out: &mut impl Write) -> io::Result<()> {
        let mut file = pcap::File::new(out, SNAP)?;
        for seen in self.feed.lock().kept.iter().filter(|seen| seen.leg == leg) {
            file.write(&pcap::Packet {
                at: seen.at.0,
                bytes: &seen.bytes,
                length: seen.length,
            })?;
        }
        Ok(())
    }
}

/// The listener in the router that fills a [`Wire`]; ends when dropped.
#[derive(Debug)]
pub(crate) struct Tap {
    wire: Wire,
    #[expect(dead_code, reason = "held for its Drop")]
    listener: Worker,
}

impl Tap {
    /// Listens on both legs. Whatever is sent after this returns is seen.
    pub(crate) fn new(network: &Network, stop: &Stop) -> Result<Self> {
        let (socket, legs) = network.router().enter(|| {
            let socket = open().context(|| "listen on the router's interfaces".to_owned())?;
            let leg = |name: &str| {
                if_nametoindex(name)
                    .context(|| format!("find the router's interface to the {name}"))
            };
            Ok((socket, [leg("client")?, leg("broker")?]))
        })?;
        let wire = Wire {
            feed: Feed::default(),
            missed: Arc::default(),
            stop: stop.clone(),
        };
        let memory = wire.clone();
        let listener = Worker::start(move |ending| listen(&socket, legs, &memory, ending));
        Ok(Self { wire, listener })
    }

    pub(crate) const fn wire(&self) -> &Wire {
        &self.wire
    }
}

fn open() -> nix::Result<OwnedFd> {
    let socket = socket::socket(
        AddressFamily::Packet,
        // Without the Ethernet header.
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )?;
    socket::setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    // Enough for a burst of thousands of segments while the two cores are busy elsewhere.
    socket::setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20))?;
    let glance = TimeVal::new(0, Stop::GLANCE.subsec_micros().into());
    socket::setsockopt(&socket, sockopt::ReceiveTimeout, &glance)?;
    Ok(socket)
}

fn listen(socket: &OwnedFd, legs: [u32; 2], wire: &Wire, ending: &AtomicBool) {
    while !ending.load(Ordering::Relaxed) {
        match receive(socket, legs) {
            Ok(Some(sighting)) => wire.feed.push(sighting),
            Ok(None) => {}
            // Nothing came for a moment: time to ask.
            Err(Errno::EAGAIN | Errno::EINTR) => wire.count_missed(socket),
            // The interfaces are gone: so is everything that there was to see.
            Err(_) => return,
        }
    }
    wire.count_missed(socket);
}

/// The next packet, `None` if it is none of the lab's TCP.
fn receive(socket: &OwnedFd, [client_leg, broker_leg]: [u32; 2]) -> nix::Result<Option<Sighting>> {
    const OUTGOING: u8 = 4;
    let mut bytes = [0; SNAP as usize];
    let mut control = cmsg_space!(TimeSpec);
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let message = socket::recvmsg::<LinkAddr>(
        socket.as_raw_fd(),
        &mut buffers,
        Some(&mut control),
        // Report the true length of what does not fit.
        MsgFlags::MSG_TRUNC,
    )?;
    let length = message.bytes;
    let (Some(link), Some(at)) = (
        message.address,
        message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(at) => Some(Moment::from_epoch(at.into())),
            _ => None,
        }),
    ) else {
        return Ok(None);
    };
    let bytes = &bytes[..length.min(bytes.len())];
    let Some(segment) = Segment::parse(bytes) else {
        return Ok(None);
    };
    let ours = |address: SocketAddr| address.port() == PORT;
    if !ours(segment.source) && !ours(segment.destination) {
        return Ok(None);
    }
    let leg = match link.ifindex() {
        index if index == client_leg as usize => Side::Client,
        index if index == broker_leg as usize => Side::Broker,
        // An attacker's.
        _ => return Ok(None),
    };
    Ok(Some(Sighting {
        at,
        leg,
        leaving: link.pkttype() == OUTGOING,
        segment,
        bytes: bytes.to_vec(),
        length,
    }))
}
