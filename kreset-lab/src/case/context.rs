//! What an act is played with.

use std::{
    fmt::Write as _,
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    device::{self, Device},
    draw::Draw,
    environment::Environment,
    pair::ConnectionPair,
    parameters::Parameters,
    testbed::{Held, Testbed},
};
use crate::{
    Connection, Family, Listener, Side,
    error::{Error, Result},
    net::{broker_process::BrokerProcess, message::Request},
    util::lock::lock,
};

/// The testbed, and the parameters of one case.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) testbed: &'a Testbed<'a>,
    pub(super) family: Family,
    pub(crate) draw: Draw,
    /// What the catalogue's row says.
    pub(crate) with: Parameters,
    /// Its packets have more before their TCP headers than most have.
    padded: bool,
    ready: AtomicBool,
    ports: Mutex<Vec<u16>>,
}

/// A broker: an address of its own, where it listens.
#[derive(Debug)]
pub(crate) struct Site {
    address: IpAddr,
    listener: Listener,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        testbed: &'a Testbed<'a>,
        family: Family,
        with: Parameters,
        draw: Draw,
    ) -> Self {
        let padded = draw.chance(0.2);
        Self {
            testbed,
            family,
            draw,
            with,
            padded,
            ready: AtomicBool::new(false),
            ports: Mutex::new(Vec::new()),
        }
    }

    /// The connections are there and in use: from here on the tracers must be attached.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub(crate) fn attached(&self) -> Result<()> {
        self.ready();
        let stop = self.testbed.lab.stop();
        self.testbed.attachment.wait_for_tracers(stop)
    }

    /// As [`Self::attached`], without waiting: for a case that failed before it came there.
    pub(super) fn ready(&self) {
        if !self.ready.swap(true, Ordering::Relaxed) {
            self.testbed.attachment.case_is_ready();
        }
    }

    /// Where it is played.
    pub(crate) const fn environment(&self) -> Environment {
        self.testbed.environment
    }

    /// Whether the tracers know how far the other host is.
    pub(crate) const fn knows_distance(&self) -> bool {
        !matches!(
            self.environment(),
            Environment::LateTracers | Environment::NoPackets
        )
    }

    /// Whether a reset came so soon that without packets it may have been in the handshake.
    pub(crate) fn may_be_handshake(&self) -> bool {
        self.environment() == Environment::NoPackets && self.with.silence.is_busy()
    }

    /// The idle timer of the case's device.
    pub(crate) fn timer(&self) -> Duration {
        let seconds = self.testbed.distances.timers.get(self.with.timer).copied();
        Duration::from_secs(seconds.unwrap_or_default().into())
    }

    /// A silence that outlasts that timer.
    pub(crate) fn outlasting(&self) -> Duration {
        self.timer() + self.draw.time(300, 2500)
    }

    /// The device of the case that resets what comes after its timer ran out.
    pub(crate) const fn resetting(&self) -> Device {
        Device::Resets {
            timer: self.with.timer,
            copied: false,
        }
    }

    /// Nothing is said until the device's timer has run out.
    pub(crate) fn outlast(&self) -> Result<()> {
        self.silence(self.outlasting())
    }

    /// The case's silence.
    pub(crate) fn pause(&self) -> Result<()> {
        self.silence(self.with.silence.draw(&self.draw))
    }

    /// Nothing is said for a while.
    pub(crate) fn silence(&self, time: Duration) -> Result<()> {
        self.testbed.lab.silence(time)
    }

    /// Loses what the broker sends to a client's port from here on, or no longer.
    pub(crate) fn cut(&self, port: u16, lost: bool) -> Result<()> {
        device::cut(self.testbed.lab.network(), port, lost)
    }

    /// Has the device lose what it knows of a connection.
    pub(crate) fn lose_state(&self, port: u16) -> Result<()> {
        device::forget(self.testbed.lab.network(), self.family, port)
    }

    /// An address for a broker behind `device`.
    pub(crate) fn address(&self, device: Device) -> IpAddr {
        let mut next = lock(&self.testbed.next_broker);
        let number = next.entry(device).or_default();
        let address = device.broker(*number, self.family);
        *number = (*number + 1) % device.brokers();
        drop(next);
        address
    }

    /// A port for a client.
    pub(crate) fn port(&self) -> u16 {
        let port = self.testbed.port();
        lock(&self.ports).push(port);
        port
    }

    /// The end of what was on the wire of this case's connections, to explain why it went wrong.
    pub(super) fn last_packets(&self) -> String {
        const SHOWN: usize = 8;
        let mut text = String::new();
        for port in lock(&self.ports).iter() {
            let seen = self.testbed.lab.wire().of_connection(*port);
            for seen in seen.iter().skip(seen.len().saturating_sub(SHOWN)) {
                let way = if seen.leaving { "to" } else { "from" };
                let segment = &seen.segment;
                // Writing to a string cannot fail.
                let _written = write!(
                    text,
                    "; {port} {way} the {}: {} seq {} ack {} length {}",
                    seen.leg,
                    segment.flags,
                    segment.sequence,
                    segment.acknowledgement,
                    segment.payload
                );
            }
        }
        text
    }

    /// A broker behind `device`.
    pub(crate) fn site(&self, device: Device) -> Result<Site> {
        self.site_at(self.address(device))
    }

    /// A broker at an address.
    pub(crate) fn site_at(&self, address: IpAddr) -> Result<Site> {
        let lab = self.testbed.lab;
        let (host, family) = (lab.network().host(Side::Broker), self.family);
        let listener = host.enter(|| Listener::open_at(family, address, lab.stop()))?;
        Ok(Site { address, listener })
    }

    /// Has a broker listen until the tracers have ended.
    pub(crate) fn keep(&self, site: Site) {
        self.testbed.hold(Held::Listener(site.listener));
    }

    /// Connects to a broker at an address.
    fn connect(&self, address: IpAddr, port: u16) -> Result<Connection> {
        let lab = self.testbed.lab;
        let host = lab.network().host(Side::Client);
        let from = SocketAddr::new(device::client_of(address), port);
        Connection::open_between(self.family, host, Some(from), address, lab.stop())
    }

    /// Tries to connect where that must fail, and returns the port.
    pub(crate) fn be_refused(&self, address: IpAddr) -> Result<u16> {
        let port = self.port();
        match self.connect(address, port) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::ConnectionRefused => {
                Ok(port)
            }
            Err(other) => Err(other),
            Ok(_) => Err(Error::Staging("a connection was not refused".to_owned())),
        }
    }

    /// A connection to a broker of its own behind `device`, which goes on listening; nothing was
    /// said yet, and tracers see it from its SYN on.
    pub(crate) fn fresh(&'a self, device: Device) -> Result<ConnectionPair<'a>> {
        self.attached()?;
        self.connected(device)
    }

    fn connected(&'a self, device: Device) -> Result<ConnectionPair<'a>> {
        let site = self.site(device)?;
        let pair = self.connected_to(&site)?;
        self.keep(site);
        Ok(pair)
    }

    /// A connection to a broker that may have others; nothing was said yet.
    pub(crate) fn connected_to(&'a self, site: &Site) -> Result<ConnectionPair<'a>> {
        let port = self.port();
        let client = self.connect(site.address, port)?;
        let broker = site.listener.accept()?;
        Ok(self.pair(port, client, Some(broker)))
    }

    const fn pair(
        &'a self,
        port: u16,
        client: Connection,
        broker: Option<Connection>,
    ) -> ConnectionPair<'a> {
        let shape = self.with.shape;
        ConnectionPair::new(self.testbed, &self.draw, shape, port, client, broker)
    }

    /// A connection in use to a broker of its own, seen by tracers from here on at the latest.
    pub(crate) fn in_use(&'a self, device: Device) -> Result<ConnectionPair<'a>> {
        let mut pair = self.connected(device)?;
        pair.begin()?;
        if self.padded {
            for side in Side::BOTH {
                pair.end_of(side)?.pad_headers(self.family)?;
            }
        }
        self.attached()?;
        Ok(pair)
    }

    /// A connection in use to a broker that is a process; its other end is there.
    pub(crate) fn in_use_with_process(&'a self, address: IpAddr) -> Result<ConnectionPair<'a>> {
        let port = self.port();
        let mut pair = self.pair(port, self.connect(address, port)?, None);
        for request in [Request::ApiVersions, Request::Metadata] {
            pair.request(request)?;
            pair.end_of(Side::Client)?.receive()?;
        }
        Ok(pair)
    }

    /// A broker that is a process, which answers the first two requests of each connection, and
    /// leaves unread what comes after.
    pub(crate) fn process(&self, address: IpAddr) -> Result<BrokerProcess> {
        self.testbed
            .lab
            .start_broker_at(self.family, 2, Some(address))
    }

    /// Has a broker process live until the tracers have ended.
    pub(crate) fn keep_process(&self, process: BrokerProcess) {
        self.testbed.hold(Held::Process(process));
    }
}
