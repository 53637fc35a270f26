//! Very many connections at once: what a tracer needs for them, and whether it still tells right
//! of those that are reset.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    iter,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::Duration,
};

use socket2::SockRef;

use crate::{
    Lab, Side, Stop,
    error::{Doing as _, Error, Result},
    event::Endpoint,
    kafka::{self, Request},
    limits, net,
    tracer::{self, Tracer},
};

/// Ports of the brokers: one address and port has fewer than 65,536 clients of one address.
const PORTS: std::ops::Range<u16> = 9092..9096;
/// Connections that wait to be accepted at once; the standard library listens with room for 128.
const BATCH: usize = 100;
/// How long an end waits for the other, and for an event.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Connections that were there before the tracer, and that it found.
    pub older: usize,
    /// How many it says that it found.
    pub seeded: u64,
    /// How long it took to start, these included, ms.
    pub attach_ms: f64,
    /// Connections that began under its eyes.
    pub younger: usize,
    /// Its resident memory with the older ones, KiB.
    pub resident_before: u64,
    /// Its resident memory with all, KiB.
    pub resident_with_all: u64,
    /// The most that it ever was, KiB.
    pub resident_peak: u64,
    /// Connections that were reset.
    pub resets: usize,
    /// What was said of them that is not right.
    pub wrong: Vec<String>,
    /// Records lost, by what the tracer says.
    pub lost: u64,
}

impl Figures {
    /// Everything was found, and every reset named.
    #[must_use]
    pub const fn is_right(&self) -> bool {
        self.wrong.is_empty() && self.lost == 0 && self.seeded == self.older as u64
    }
}

/// Both ends of one connection.
struct Pair {
    client: TcpStream,
    broker: TcpStream,
}

/// Opens `connections`, half of them before the tracer at `program` starts, and resets `resets` of
/// them.
///
/// # Errors
/// What the system refuses, and [`Error::Tracer`].
pub fn run(program: &Path, connections: usize, resets: usize, stop: &Stop) -> Result<Figures> {
    limits::allow_open_files(2 * connections as u64 + 1_024)?;
    let lab = Lab::new(stop)?;
    lab.network()
        .host(Side::Client)
        .sysctl(&[("ipv4/ip_local_port_range", "1024 65535")])?;
    let listeners = lab.network().host(Side::Broker).enter(|| {
        PORTS
            .map(|port| {
                TcpListener::bind((net::address(Side::Broker, false), port))
                    .doing(|| format!("listen on port {port}"))
            })
            .collect::<Result<Vec<_>>>()
    })?;
    let mut figures = Figures {
        older: connections / 2,
        younger: connections - connections / 2,
        ..Figures::default()
    };
    let mut pairs = open(&lab, &listeners, figures.older, stop)?;
    let options = tracer::Options::default()
        .ports(PORTS)
        .longer_by(Duration::from_mins(20));
    let tracer = lab.trace(Side::Client, program, &options)?;
    let start = tracer.wait_for("its start", PATIENCE, |event| event.kind == "start")?;
    figures.attach_ms = start.attach_ms.unwrap_or(0.0);
    figures.seeded = start.seeded.unwrap_or(0);
    figures.resident_before = memory(&tracer, "VmRSS")?;
    pairs.extend(open(&lab, &listeners, figures.younger, stop)?);
    figures.resident_with_all = memory(&tracer, "VmRSS")?;

    // Spread over all of them, the older and the younger ones.
    let every = (pairs.len() / resets.max(1)).max(1);
    let chosen: Vec<Pair> = pairs
        .extract_if(.., {
            let mut at = 0;
            move |_| {
                at += 1;
                at % every == 0
            }
        })
        .take(resets)
        .collect();
    figures.resets = chosen.len();
    for mut pair in chosen {
        stop.check()?;
        let ports = abort(&mut pair).doing(|| "use and abort a connection".to_owned())?;
        if let Some(wrong) = judge(&tracer, ports)? {
            figures.wrong.push(wrong);
        }
    }
    figures.resident_peak = memory(&tracer, "VmHWM")?;
    let said = tracer.finish()?;
    figures.lost = said
        .events
        .iter()
        .find(|event| event.kind == "summary")
        .and_then(|summary| summary.lost)
        .unwrap_or(0);
    // Closing them is no reset: nobody is told.
    drop(pairs);
    Ok(figures)
}

fn open(lab: &Lab, listeners: &[TcpListener], count: usize, stop: &Stop) -> Result<Vec<Pair>> {
    let mut pairs = Vec::with_capacity(count);
    let mut turn = listeners.iter().cycle();
    while pairs.len() < count {
        stop.check()?;
        let Some(listener) = turn.next() else {
            break;
        };
        let broker = listener
            .local_addr()
            .doing(|| "read a socket's address".to_owned())?;
        let batch = BATCH.min(count - pairs.len());
        let clients = lab.network().host(Side::Client).enter(|| {
            iter::repeat_with(|| TcpStream::connect(broker))
                .take(batch)
                .collect::<io::Result<Vec<_>>>()
                .doing(|| format!("connect to {broker}"))
        })?;
        for client in clients {
            let (accepted, _) = listener
                .accept()
                .doing(|| "accept a connection".to_owned())?;
            pairs.push(Pair {
                client,
                broker: accepted,
            });
        }
    }
    matched(pairs)
}

/// Puts the ends of one connection together, whatever the order was in which they were accepted.
fn matched(pairs: Vec<Pair>) -> Result<Vec<Pair>> {
    let key = |near: io::Result<SocketAddr>, far: io::Result<SocketAddr>| {
        near.and_then(|near| far.map(|far| (near.port(), far.port())))
            .doing(|| "read a socket's address".to_owned())
    };
    let (mut clients, mut brokers) = (Vec::new(), Vec::new());
    for Pair { client, broker } in pairs {
        clients.push((key(client.local_addr(), client.peer_addr())?, client));
        brokers.push((key(broker.peer_addr(), broker.local_addr())?, broker));
    }
    clients.sort_unstable_by_key(|(key, _)| *key);
    brokers.sort_unstable_by_key(|(key, _)| *key);
    Ok(clients
        .into_iter()
        .zip(brokers)
        .map(|((_, client), (_, broker))| Pair { client, broker })
        .collect())
}

/// Uses a connection, and aborts it at the broker; the client's and the broker's port.
fn abort(pair: &mut Pair) -> io::Result<(u16, u16)> {
    for stream in [&pair.client, &pair.broker] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
    }
    for (request, number) in [(Request::ApiVersions, 1), (Request::Metadata, 2)] {
        pair.client.write_all(&kafka::request(request, number))?;
        let message = receive(&mut pair.broker)?;
        let answer = kafka::answer(&message).ok_or(io::ErrorKind::InvalidData)?;
        pair.broker.write_all(&answer)?;
        receive(&mut pair.client)?;
    }
    let ports = (
        pair.client.local_addr()?.port(),
        pair.client.peer_addr()?.port(),
    );
    SockRef::from(&pair.broker).set_linger(Some(Duration::ZERO))?;
    // One that is not connected takes its place, so that it is closed.
    pair.broker = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?.into();
    Ok(ports)
}

fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut message = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// What is wrong with what the tracer says of one reset.
fn judge(tracer: &Tracer, (client, broker): (u16, u16)) -> Result<Option<String>> {
    // Many of one broker within a second: it ends as a whole.
    const RIGHT: [&str; 2] = ["broker_originated/aborted", "broker_originated/shutdown"];
    let event = tracer.wait_for("a reset", PATIENCE, |event| {
        let port = |end: &Option<Endpoint>| end.as_ref()?.port;
        event.is_about_a_connection()
            && port(&event.client) == Some(client)
            && port(&event.broker) == Some(broker)
    });
    Ok(match event {
        Ok(event) if RIGHT.contains(&event.answer().as_str()) => None,
        Ok(event) => Some(event.line),
        Err(Error::Deadline { .. }) => Some(format!("nothing of client port {client}")),
        Err(error) => return Err(error),
    })
}

/// A field of `/proc/PID/status`, KiB.
fn memory(tracer: &Tracer, field: &str) -> Result<u64> {
    let path = format!("/proc/{}/status", tracer.id());
    let status = fs::read_to_string(&path).doing(|| format!("read {path}"))?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok());
    value.ok_or_else(|| Error::Staging(format!("{path} has no {field}")))
}
