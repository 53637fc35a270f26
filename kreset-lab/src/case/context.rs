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

use socket2::Socket;

use super::{
    device::{self, Device},
    draw::Draw,
    environment::Environment,
    pair::ConnectionPair,
    parameters::{Parameters, Silence},
    table::{Hook, Table},
    testbed::{Held, Testbed},
};
use crate::{
    Connection, Family, Listener, Side,
    error::{Error, Result},
    net::{
        Namespace,
        broker_process::BrokerProcess,
        endpoint::{Listening, Transport},
        message::Request,
    },
    trace::wire::Sighting,
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

/// A broker: an address of its own, where it listens until the tracers have ended.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    pub(crate) address: IpAddr,
    transport: Transport,
    listener: Option<Listener>,
    testbed: &'a Testbed<'a>,
}

impl Site<'_> {
    fn accept(&self) -> Result<Connection> {
        let none = || Error::Staging("the broker no longer listens".to_owned());
        self.listener.as_ref().ok_or_else(none)?.accept()
    }

    /// Listens no longer.
    pub(crate) fn end(&mut self) {
        self.listener = None;
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.take() {
            self.testbed.hold(Held::Listener(listener));
        }
    }
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

    /// Whether a reset that nothing drew came after so long a silence that a device may have made
    /// it look like an abort: without timestamps only its flags and its window speak.
    pub(crate) fn may_be_timer(&self) -> bool {
        self.environment() == Environment::NoTimestamps && self.with.silence == Silence::Long
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
    pub(crate) fn site(&self, device: Device) -> Result<Site<'a>> {
        self.site_at(self.address(device))
    }

    /// A broker at an address.
    pub(crate) fn site_at(&self, address: IpAddr) -> Result<Site<'a>> {
        self.site_with(address, Listening::default())
    }

    /// The same, listening in another way than usual.
    pub(crate) fn site_with(&self, address: IpAddr, how: Listening) -> Result<Site<'a>> {
        let lab = self.testbed.lab;
        let (host, family) = (lab.network().host(Side::Broker), self.family);
        let listener = host.enter(|| Listener::open_with(family, address, how, lab.stop()))?;
        Ok(Site {
            address,
            transport: how.transport,
            listener: Some(listener),
            testbed: self.testbed,
        })
    }

    /// Connects to a broker at an address.
    fn connect(&self, address: IpAddr, port: u16) -> Result<Connection> {
        self.connect_over(Transport::Tcp, address, port)
    }

    fn connect_over(&self, transport: Transport, address: IpAddr, port: u16) -> Result<Connection> {
        let lab = self.testbed.lab;
        let host = lab.network().host(Side::Client);
        let from = Some(SocketAddr::new(device::client_of(address), port));
        Connection::open_between(self.family, transport, host, from, address, lab.stop())
    }

    /// Begins to connect to a broker at an address, until what is returned is dropped.
    pub(crate) fn attempt(&self, address: IpAddr, port: u16) -> Result<Socket> {
        let host = self.testbed.lab.network().host(Side::Client);
        let from = SocketAddr::new(device::client_of(address), port);
        Connection::attempt(self.family, host, from, address)
    }

    /// Adds rules for this case's packets in the router, until what is returned is dropped.
    pub(crate) fn on_router(&self, hook: Hook, rules: &str) -> Result<Table<'a>> {
        Table::add(self.testbed.lab.network().router(), hook, rules)
    }

    /// The same on one of the hosts.
    pub(crate) fn on_host(&self, side: Side, hook: Hook, rules: &str) -> Result<Table<'a>> {
        Table::add(self.host(side), hook, rules)
    }

    /// One of the hosts.
    pub(crate) const fn host(&self, side: Side) -> &'a Namespace {
        self.testbed.lab.network().host(side)
    }

    /// Waits until something that fits is on the wire.
    pub(crate) fn seen(&self, what: &str, fits: impl Fn(&Sighting) -> bool) -> Result<Sighting> {
        const PATIENCE: Duration = Duration::from_secs(10);
        self.testbed.lab.wire().wait_for(what, PATIENCE, fits)
    }

    /// Waits until a reset of the connection from `port` is on its way to `victim`.
    pub(crate) fn is_on_wire(&self, port: u16, victim: Side) -> Result<()> {
        let fits = |seen: &Sighting| seen.client_port() == port && seen.resets(victim);
        self.seen("a reset", fits).map(drop)
    }

    /// The word for the family on the wire, as nftables has it.
    pub(crate) const fn ip(&self) -> &'static str {
        match self.family {
            Family::Ipv6 => "ip6",
            Family::Ipv4 | Family::Mapped => "ip",
        }
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
        self.connected_to(&self.site(device)?)
    }

    /// A connection to a broker that may have others; nothing was said yet.
    pub(crate) fn connected_to(&'a self, site: &Site<'_>) -> Result<ConnectionPair<'a>> {
        let mut pair = self.unaccepted(site)?;
        pair.accepted(site.accept()?);
        Ok(pair)
    }

    /// A connection that the broker has not accepted yet.
    pub(crate) fn unaccepted(&'a self, site: &Site<'_>) -> Result<ConnectionPair<'a>> {
        self.unaccepted_from(site, self.port())
    }

    /// The same from a port that was taken before.
    pub(crate) fn unaccepted_from(
        &'a self,
        site: &Site<'_>,
        port: u16,
    ) -> Result<ConnectionPair<'a>> {
        let client = self.connect_over(site.transport, site.address, port)?;
        Ok(self.pair(port, client, None))
    }

    /// A connection from a port that was taken before, to an address from which the router sends it
    /// to the broker.
    pub(crate) fn connected_by(
        &'a self,
        site: &Site<'_>,
        address: IpAddr,
        port: u16,
    ) -> Result<ConnectionPair<'a>> {
        let client = self.connect(address, port)?;
        Ok(self.pair(port, client, Some(site.accept()?)))
    }

    /// The client's end of a connection that something else than this program accepts.
    pub(crate) fn connected_from(
        &'a self,
        address: IpAddr,
        port: u16,
    ) -> Result<ConnectionPair<'a>> {
        Ok(self.pair(port, self.connect(address, port)?, None))
    }

    /// Tries to connect where that must fail, whatever of.
    pub(crate) fn fail_to_connect(&self, address: IpAddr, port: u16) -> Result<()> {
        let host = self.testbed.lab.network().host(Side::Client);
        let from = SocketAddr::new(device::client_of(address), port);
        Connection::fail(self.family, host, from, address)
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
        self.in_use_at(&self.site(device)?)
    }

    /// The same to a broker that may have others.
    pub(crate) fn in_use_at(&'a self, site: &Site<'_>) -> Result<ConnectionPair<'a>> {
        let mut pair = self.connected_to(site)?;
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
        let mut pair = self.connected_from(address, self.port())?;
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
