//! Very many connections at once: what a tracer needs for them, and whether it still reports
//! correctly those that are reset.

use std::{net::SocketAddr, ops::Range, path::Path, time::Duration};

use crate::{
    Side, Stop,
    driver::{self, Tracer},
    error::{Error, Result},
    event::Endpoint,
    net::{
        self, Network,
        holder::{EACH, Holder, Task},
    },
    util::process::Observed,
};

/// Ports of the brokers: each process that holds connections has one.
const PORTS: Range<u16> = 9092..9124;
/// How long an event may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Connections that were there before the tracer, and that it found.
    pub older: u32,
    /// How many it says that it found.
    pub seeded: u64,
    /// How long it took to start, these included, ms.
    pub attach_ms: f64,
    /// Connections that began under its eyes.
    pub younger: u32,
    /// Its resident memory with the older ones, KiB.
    pub resident_before: u64,
    /// Its resident memory with all, KiB.
    pub resident_with_all: u64,
    /// The most that it ever was, KiB.
    pub resident_peak: u64,
    /// Connections that were reset.
    pub resets: u32,
    /// What was said of them that is not right.
    pub wrong: Vec<String>,
    /// Records lost, by what the tracer says.
    pub lost: u64,
}

impl Figures {
    /// Everything was found, and every reset named.
    pub const fn is_right(&self) -> bool {
        self.wrong.is_empty() && self.lost == 0 && self.seeded == self.older as u64
    }
}

/// Opens `connections`, half of them before the tracer at `program` starts, and resets `resets` of
/// them. `own` is the binary `kreset-lab`, processes of which hold them.
pub fn run(
    program: &Path,
    own: &Path,
    connections: u32,
    resets: u32,
    stop: &Stop,
) -> Result<Figures> {
    // Without a tap in the router: who looks at the packets of so many remembers too much.
    let network = Network::new()?;
    network
        .host(Side::Client)
        // None of the brokers' ports is a client's.
        .sysctl(&[("ipv4/ip_local_port_range", "9124 65535")])?;
    let mut figures = Figures {
        older: connections / 2,
        younger: connections - connections / 2,
        ..Figures::default()
    };
    let mut ports = PORTS;
    let mut holders = open(&network, own, figures.older, &mut ports, stop)?;
    let options = driver::Options::default()
        .ports(PORTS)
        .longer_by(Duration::from_mins(20));
    let host = network.host(Side::Client);
    let tracer = Tracer::start(Side::Client, host, program, &options, stop)?;
    let observed = Observed::new(tracer.id());
    let start = tracer.wait_for("its start", PATIENCE, |event| event.kind == "start")?;
    figures.attach_ms = start.attach_ms.unwrap_or(0.0);
    figures.seeded = start.seeded.unwrap_or(0);
    figures.resident_before = observed.status("VmRSS:")?;
    holders.extend(open(&network, own, figures.younger, &mut ports, stop)?);
    figures.resident_with_all = observed.status("VmRSS:")?;

    // Spread over all of them, the older and the younger ones.
    let every = connections / resets.clamp(1, connections);
    let mut before = 0;
    for (holder, broker) in &mut holders {
        for number in (0..holder.count()).filter(|number| (before + number) % every == 0) {
            stop.check()?;
            if figures.resets < resets {
                let client = holder.abort(number)?;
                figures.wrong.extend(judge(&tracer, client, *broker)?);
                figures.resets += 1;
            }
        }
        before += holder.count();
    }
    figures.resident_peak = observed.status("VmHWM:")?;
    let said = tracer.finish()?;
    figures.lost = said
        .events
        .iter()
        .find(|event| event.kind == "summary")
        .and_then(|summary| summary.lost)
        .unwrap_or(0);
    Ok(figures)
}

/// Processes that hold `count` connections, each with its broker.
fn open(
    network: &Network,
    own: &Path,
    count: u32,
    ports: &mut Range<u16>,
    stop: &Stop,
) -> Result<Vec<(Holder, SocketAddr)>> {
    let (mut holders, mut left) = (Vec::new(), count);
    while left > 0 {
        stop.check()?;
        let port = ports.next();
        let port = port.ok_or_else(|| Error::Staging("too many connections".to_owned()))?;
        let task = Task {
            broker: SocketAddr::new(net::address(Side::Broker, false), port),
            count: left.min(EACH),
            clients: Some(network.host(Side::Client).path()),
            busy: false,
        };
        let host = network.host(Side::Broker);
        holders.push((host.enter(|| Holder::start(own, &task))?, task.broker));
        left -= task.count;
    }
    Ok(holders)
}

/// What is wrong with what the tracer says of one reset.
fn judge(tracer: &Tracer, client: SocketAddr, broker: SocketAddr) -> Result<Option<String>> {
    // Many of one broker within a second: it ends as a whole.
    const RIGHT: [&str; 2] = ["broker_originated/aborted", "broker_originated/shutdown"];
    let event = tracer.wait_for("a reset", PATIENCE, |event| {
        let port = |end: &Option<Endpoint>| end.as_ref()?.port;
        event.is_about_a_connection()
            && port(&event.client) == Some(client.port())
            && port(&event.broker) == Some(broker.port())
    });
    Ok(match event {
        Ok(event) if RIGHT.contains(&event.answer().as_str()) => None,
        Ok(event) => Some(event.line),
        Err(Error::Deadline { .. }) => Some(format!("nothing of the client at {client}")),
        Err(error) => return Err(error),
    })
}
