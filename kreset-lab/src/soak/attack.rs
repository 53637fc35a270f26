//! An attacker on another network, who knows the addresses and ports of every connection and can
//! send whatever he likes, in anybody's name; and slow sockets at the tracers' metrics.
//!
//! What he does must change no verdict that is true, cost no event, and leave health alone. Resets
//! that he causes are resets: each one has to be reported like any other.

use std::{
    fmt,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use nix::{libc, sys::socket::setsockopt, sys::socket::sockopt::Linger};

use super::faults::pause;
use crate::{
    Lab, PORT, Side, Stop,
    error::{Context as _, Result},
    net::{
        BROKER_V4, CLIENT_V4, Namespace,
        forge::{self, Segment},
        packet::Flags,
        raw::RawSockets,
    },
    trace::{follow::Follower, wire::Sighting},
    util::lock::lock,
};

/// An address of the broker's host at which nobody listens.
const CLOSED: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 250);
/// SYNs of one flood: more than a broker's backlog.
const FLOOD: u32 = 300;
/// Packets of one burst each of which draws a RST.
const BURST: u32 = 20;
/// Sockets that are held open at once at each tracer's metrics: more than it serves.
const SLOW: usize = 40;
/// How long an answer about health may take, and how long one exchange may last.
const HEALTHY: Duration = Duration::from_secs(2);
/// The TTL of what he sends.
const TTL: u8 = 51;
/// What he says where bytes are expected.
const JUNK: &[u8] = b"\x00\xff\xff\xffGET / HTTP/1.0\r\n\x16\x03\x01\x02";
/// Distances from the right number that are in no window.
const FAR: [u32; 3] = [0x4000_0000, 0x8000_0000, 0xc000_0000];

/// What was done.
#[derive(Debug, Default)]
pub struct Tally {
    /// SYNs whose answers nobody answered.
    pub floods: AtomicU64,
    /// Packets to sockets that are not there, of either host.
    pub strays: AtomicU64,
    /// Segments in the name of the ends of live connections that no kernel accepts.
    pub forged: AtomicU64,
    /// RSTs at the number that ends a live connection.
    pub exact: AtomicU64,
    /// Connections to the broker that sent junk and were aborted.
    pub junk: AtomicU64,
    /// Slow sockets at the metrics that were ended by the tracer.
    pub slow: AtomicU64,
    /// Answers about health in time.
    pub healthy: AtomicU64,
    /// The slowest of them, ms.
    pub slowest: AtomicU64,
    /// Times that a tracer which watched gave none in time.
    pub unhealthy: AtomicU64,
}

impl Tally {
    fn add(figure: &AtomicU64, more: u64) {
        figure.fetch_add(more, Ordering::Relaxed);
    }

    /// What went wrong, and what did not happen at all.
    pub fn complaints(&self) -> Vec<String> {
        let mut all = Vec::new();
        if value(&self.unhealthy) > 0 {
            all.push(format!(
                "a tracer that watched said nothing about its health within {} s, {} times",
                HEALTHY.as_secs(),
                value(&self.unhealthy)
            ));
        }
        for (figure, what) in [
            (&self.floods, "no SYN flood"),
            (&self.strays, "no stray packet"),
            (&self.forged, "no forged segment"),
            (&self.slow, "no slow socket that a tracer ended"),
            (&self.healthy, "no answer about health"),
        ] {
            if value(figure) == 0 {
                all.push(format!("the attack had {what}"));
            }
        }
        all
    }
}

fn value(figure: &AtomicU64) -> u64 {
    figure.load(Ordering::Relaxed)
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "attack: SYNs {}, stray packets {}, forged segments {}, RSTs at the right number {}, \
             connections with junk {}",
            value(&self.floods),
            value(&self.strays),
            value(&self.forged),
            value(&self.exact),
            value(&self.junk),
        )?;
        writeln!(
            f,
            "  slow sockets at the metrics that were ended {}; answers about health {}, the \
             slowest after {} ms, missing {}",
            value(&self.slow),
            value(&self.healthy),
            value(&self.slowest),
            value(&self.unhealthy),
        )
    }
}

/// Where one host's tracers serve metrics and health.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// `/metrics`.
    pub metrics: SocketAddr,
    /// `/healthz`.
    pub health: SocketAddr,
}

impl Pages {
    /// Two addresses that are free.
    pub fn new() -> Result<Self> {
        let free = || {
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.local_addr())
                .context(|| "find a free port".to_owned())
        };
        Ok(Self {
            metrics: free()?,
            health: free()?,
        })
    }
}

/// Whoever attacks a lab.
#[derive(Debug)]
pub struct Attacker {
    namespace: Namespace,
    sockets: RawSockets,
    /// So that no two of his packets are of one connection.
    number: AtomicU64,
}

impl Attacker {
    /// One on a network of his own, beside those of client and broker.
    pub fn new(lab: &Lab) -> Result<Self> {
        let network = lab.network();
        let namespace = network.add_attacker()?;
        network.add_broker_address(CLOSED)?;
        let open = || RawSockets::open().context(|| "open a raw socket".to_owned());
        let sockets = namespace.enter(open)?;
        Ok(Self {
            namespace,
            sockets,
            number: AtomicU64::new(0),
        })
    }

    /// Attacks until `stop`.
    pub fn run(
        &self,
        lab: &Lab,
        rng: &mut Rng,
        follower: &Mutex<Follower>,
        tally: &Tally,
        stop: &Stop,
    ) -> Result<()> {
        while stop.sleep(pause(rng, 0..3)).is_ok() {
            match rng.u8(0..8) {
                0 => self.flood(tally)?,
                1 => self.stray(tally)?,
                2 => self.unasked(tally)?,
                3 => self.junk(rng, tally, stop)?,
                4 => self.exact(lab, rng, follower, tally)?,
                _ => self.forge(lab, rng, follower, tally)?,
            }
        }
        Ok(())
    }

    /// An end that was not used before, on a network from which nothing ever answers.
    fn unused_end(&self) -> SocketAddr {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let [.., high, low] = (number % 65_000).to_be_bytes();
        let port = 61_000 + u16::try_from(number / 65_000 % 4_000).unwrap_or_default();
        SocketAddr::new(Ipv4Addr::new(10, 99, high, low).into(), port)
    }

    fn send(&self, segment: &Segment, from: SocketAddr, to: SocketAddr) -> Result<()> {
        let Some(packet) = segment.packet(from, to, TTL) else {
            return Ok(());
        };
        let sent = self.sockets.send(&packet, to.ip());
        sent.context(|| format!("send a packet to {to}"))
    }

    /// SYNs from everywhere at the broker's listener, or where it will be again.
    fn flood(&self, tally: &Tally) -> Result<()> {
        for number in 0..FLOOD {
            let syn = Segment {
                sequence: number.wrapping_mul(0x9e37_79b9),
                flags: forge::SYN,
                ..Segment::default()
            };
            self.send(&syn, self.unused_end(), end(BROKER_V4))?;
        }
        Tally::add(&tally.floods, FLOOD.into());
        Ok(())
    }

    /// Every kind of segment at an address where nobody listens.
    fn stray(&self, tally: &Tally) -> Result<()> {
        let kinds = [
            forge::SYN,
            forge::ACK,
            forge::FIN | forge::ACK,
            forge::PSH | forge::ACK,
        ];
        for (number, flags) in (0..BURST).zip(kinds.into_iter().cycle()) {
            let stray = Segment {
                sequence: number.wrapping_mul(0x9e37_79b9),
                acknowledgement: number.wrapping_mul(0x85eb_ca6b),
                flags,
                payload: match flags & forge::PSH {
                    0 => Vec::new(),
                    _ => JUNK.to_vec(),
                },
                ..Segment::default()
            };
            self.send(&stray, self.unused_end(), end(CLOSED))?;
        }
        Tally::add(&tally.strays, BURST.into());
        Ok(())
    }

    /// SYN,ACKs of the broker's that the client did not ask for.
    fn unasked(&self, tally: &Tally) -> Result<()> {
        for number in 0..BURST {
            let answer = Segment {
                sequence: number,
                acknowledgement: number.wrapping_mul(0x9e37_79b9),
                flags: forge::SYN | forge::ACK,
                ..Segment::default()
            };
            let port = self.unused_end().port();
            let spread = u16::try_from(self.number.load(Ordering::Relaxed) % 4_000);
            let to = SocketAddr::new(CLIENT_V4.into(), port.saturating_add(spread.unwrap_or(0)));
            self.send(&answer, end(BROKER_V4), to)?;
        }
        Tally::add(&tally.strays, BURST.into());
        Ok(())
    }

    /// A connection of his own: junk, a while, and an abort.
    fn junk(&self, rng: &mut Rng, tally: &Tally, stop: &Stop) -> Result<()> {
        let connected = self.namespace.enter(|| {
            Ok(TcpStream::connect_timeout(
                &end(BROKER_V4),
                Duration::from_secs(1),
            ))
        })?;
        // The broker is down, or its queue full.
        let Ok(mut stream) = connected else {
            return Ok(());
        };
        let _refused = stream.write_all(JUNK);
        let _slept = stop.sleep(pause(rng, 0..2));
        let abort = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        let _ended = setsockopt(&stream, Linger, &abort);
        drop(stream);
        Tally::add(&tally.junk, 1);
        Ok(())
    }

    /// Segments in the name of either end that no kernel accepts.
    fn forge(
        &self,
        lab: &Lab,
        rng: &mut Rng,
        follower: &Mutex<Follower>,
        tally: &Tally,
    ) -> Result<()> {
        let Some(last) = last_of_one(lab, rng, follower) else {
            return Ok(());
        };
        let seen = &last.segment;
        let next = seen.next_sequence();
        let mut all = Vec::new();
        let segment = |ahead, flags, payload: &[u8]| Segment {
            sequence: next.wrapping_add(ahead),
            acknowledgement: seen.acknowledgement,
            flags,
            payload: payload.to_vec(),
            ..Segment::default()
        };
        for far in FAR {
            for (flags, payload) in [
                (forge::PSH | forge::ACK, JUNK),
                (forge::FIN | forge::ACK, &[]),
                (forge::RST, &[]),
                (forge::RST | forge::ACK, &[]),
            ] {
                all.push(Segment {
                    acknowledgement: seen.acknowledgement.wrapping_sub(far),
                    ..segment(far, flags, payload)
                });
            }
        }
        // In the window, but not at the number that counts: the kernel asks the peer (RFC 5961).
        for (ahead, flags) in [
            (100, forge::RST),
            (5_000, forge::RST | forge::ACK),
            (100, forge::SYN),
        ] {
            all.push(segment(ahead, flags, &[]));
        }
        // At the right numbers, with a wrong checksum.
        for (flags, payload) in [
            (forge::RST, &[][..]),
            (forge::FIN | forge::ACK, &[]),
            (forge::PSH | forge::ACK, JUNK),
        ] {
            all.push(Segment {
                corrupt: true,
                ..segment(0, flags, payload)
            });
        }
        for segment in &all {
            self.send(segment, seen.source, seen.destination)?;
        }
        Tally::add(&tally.forged, u64::try_from(all.len()).unwrap_or_default());
        Ok(())
    }

    /// A RST that ends one end of a connection, if nothing passes meanwhile.
    fn exact(
        &self,
        lab: &Lab,
        rng: &mut Rng,
        follower: &Mutex<Follower>,
        tally: &Tally,
    ) -> Result<()> {
        let Some(last) = last_of_one(lab, rng, follower) else {
            return Ok(());
        };
        let reset = Segment {
            sequence: last.segment.next_sequence(),
            flags: forge::RST,
            ..Segment::default()
        };
        self.send(&reset, last.segment.source, last.segment.destination)?;
        Tally::add(&tally.exact, 1);
        Ok(())
    }
}

/// The broker's end at an address.
const fn end(address: Ipv4Addr) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address), PORT)
}

/// What came last to one end, drawn, of an open connection to the broker, drawn.
fn last_of_one(lab: &Lab, rng: &mut Rng, follower: &Mutex<Follower>) -> Option<Sighting> {
    let victim = if rng.bool() {
        Side::Client
    } else {
        Side::Broker
    };
    let open = lock(follower).open(victim, end(BROKER_V4));
    let port = rng.choice(open)?;
    let seen = lab.wire().of_connection(port);
    let genuine = |it: &&Sighting| {
        it.leaving && it.leg == victim && !it.has(Flags::RST) && it.segment.forged.is_none()
    };
    seen.iter().rev().find(genuine).cloned()
}

/// Holds slow sockets open at one host's metrics, and asks about its health, until `stop`.
/// `watches` says whether a tracer watches, and has for a while.
pub fn at_the_metrics(pages: Pages, watches: &dyn Fn() -> bool, tally: &Tally, stop: &Stop) {
    let mut slow: Vec<TcpStream> = Vec::new();
    while stop.sleep(Duration::from_millis(250)).is_ok() {
        slow.retain_mut(|stream| {
            let open = still_open(stream);
            Tally::add(&tally.slow, u64::from(!open));
            open
        });
        while slow.len() < SLOW {
            let Ok(mut stream) = TcpStream::connect_timeout(&pages.metrics, HEALTHY) else {
                break;
            };
            let _refused = stream.set_nonblocking(true);
            let _refused = stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ");
            slow.push(stream);
        }
        let asked = Instant::now();
        let watched = watches();
        let healthy = answers(pages.health);
        let took = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
        if healthy {
            Tally::add(&tally.healthy, 1);
            tally.slowest.fetch_max(took, Ordering::Relaxed);
        } else if watched && watches() {
            Tally::add(&tally.unhealthy, 1);
        }
    }
}

/// Sends one byte more, if the other end is there.
fn still_open(stream: &mut TcpStream) -> bool {
    let waits = |error: std::io::Error| error.kind() == ErrorKind::WouldBlock;
    let reads = match stream.read(&mut [0; 64]) {
        Ok(read) => read > 0,
        Err(error) => waits(error),
    };
    reads && stream.write(b"y").map_or_else(waits, |_| true)
}

/// Whether `/healthz` answers in time: 503 while a sink's disk is full, and 200 otherwise.
fn answers(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, HEALTHY)?;
        stream.set_read_timeout(Some(HEALTHY))?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n")?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(answer.ends_with(b" 200") || answer.ends_with(b" 503"))
    };
    ask().unwrap_or(false)
}
