//! A great many orderly connections, of which the tracers must report nothing.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Family, PORT, Side, Stop,
    case::{self, Device},
    driver::{Options, Tracer},
    error::{Context as _, Error, Result},
    event::Event,
    net::{
        Namespace, Network,
        message::{self, Request},
    },
    util::worker::join,
};

/// Brokers, each with a client of its own: enough ports for all, and both processors in use.
const PAIRS: u16 = 6;

/// More than any run takes.
const LONGEST: Duration = Duration::from_mins(8);

/// What came of it.
#[derive(Clone, Debug)]
pub struct Orderly {
    /// Connections opened, used and closed.
    pub connections: usize,
    /// How long that took.
    pub took: Duration,
    /// The lines that tracers wrote of them.
    pub events: Vec<String>,
    /// Events that the tracers lost.
    pub lost: u64,
}

/// Opens, uses and closes `connections` of them, half closed by the client and half by the broker.
pub fn run(tracer: &Path, connections: usize, stop: &Stop) -> Result<Orderly> {
    let network = Network::new()?;
    case::give_addresses(&network)?;
    let options = Options::default().longer_by(LONGEST);
    let mut tracers = Vec::new();
    for side in Side::BOTH {
        let host = network.host(side);
        tracers.push(Tracer::start(side, host, tracer, &options, stop)?);
    }
    let began = Instant::now();
    let each = connections.div_ceil(PAIRS.into());
    thread::scope(|scope| {
        let mut ends = Vec::new();
        for number in 0..PAIRS {
            let family = match number.checked_rem(3) {
                Some(0) => Family::Ipv4,
                Some(1) => Family::Ipv6,
                _ => Family::Mapped,
            };
            let address = match Device::None.broker(number, family) {
                IpAddr::V4(address) if family == Family::Mapped => address.to_ipv6_mapped().into(),
                address => address,
            };
            let address = SocketAddr::new(address, PORT);
            let client_first = number < PAIRS / 2;
            let listener = listen(network.host(Side::Broker), address)?;
            ends.push(scope.spawn(move || {
                serve(&listener, each, client_first).context(|| format!("serve at {address}"))
            }));
            let host = network.host(Side::Client);
            ends.push(scope.spawn(move || {
                host.enter(|| {
                    for _ in 0..each {
                        stop.check()?;
                        exchange(address, client_first)
                            .context(|| format!("exchange to {address}"))?;
                    }
                    Ok(())
                })
            }));
        }
        for end in ends {
            join(end)?;
        }
        Ok::<_, Error>(())
    })?;
    let took = began.elapsed();
    for side in Side::BOTH {
        let resets = resets_sent(network.host(side))?;
        if resets > 0 {
            return Err(Error::Staging(format!(
                "the {side}'s host sent {resets} resets where all should be orderly"
            )));
        }
    }
    let mut orderly = Orderly {
        connections: each * usize::from(PAIRS),
        took,
        events: Vec::new(),
        lost: 0,
    };
    for tracer in tracers {
        let said = tracer.finish()?;
        orderly.lost += crate::judge::lost(&said);
        let events = said.events.into_iter().filter(Event::is_about_a_connection);
        orderly.events.extend(events.map(|event| event.line));
    }
    Ok(orderly)
}

fn listen(host: &Namespace, address: SocketAddr) -> Result<TcpListener> {
    host.enter(|| TcpListener::bind(address).context(|| format!("listen at {address}")))
}

fn serve(listener: &TcpListener, connections: usize, client_first: bool) -> io::Result<()> {
    for _ in 0..connections {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        message::serve(&mut stream)?;
        if client_first {
            wait_for_end(&mut stream)?;
        }
    }
    Ok(())
}

fn exchange(address: SocketAddr, client_first: bool) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.write_all(&message::request(Request::Metadata, 1))?;
    message::receive(&mut stream)?;
    if client_first {
        return Ok(());
    }
    wait_for_end(&mut stream)
}

fn wait_for_end(stream: &mut TcpStream) -> io::Result<()> {
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("data where the end should be")),
    }
}

/// By the kernel's own count.
fn resets_sent(host: &Namespace) -> Result<u64> {
    let counters = host.enter(|| {
        let path = "/proc/thread-self/net/snmp";
        fs::read_to_string(path).context(|| format!("read {path}"))
    })?;
    out_rsts(&counters).ok_or_else(|| Error::Staging("the kernel does not count resets".to_owned()))
}

/// Names in one line, figures in the next.
fn out_rsts(counters: &str) -> Option<u64> {
    let mut lines = counters.lines().filter(|line| line.starts_with("Tcp:"));
    let names = lines.next()?.split_whitespace();
    let figures = lines.next()?.split_whitespace();
    let (_, figure) = names.zip(figures).find(|(name, _)| *name == "OutRsts")?;
    figure.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_by_its_name() {
        let counters = "Ip: Forwarding\nIp: 1\nTcp: RtoMin OutRsts InErrs\nTcp: 200 7 0\n";
        assert_eq!(out_rsts(counters), Some(7));
        assert_eq!(out_rsts("Tcp: RtoMin\nTcp: 200\n"), None);
    }
}
