//! Where cases are acted out: one network with all devices, and tracers that all of its cases
//! share.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    ops::Range,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    case::Room,
    device::{self, Device},
    draw::Draw,
    traffic::Shape,
    world::World,
};
use crate::{
    Connection, Conversation, Family, Lab, Listener, Side, Stop,
    device::Ttl,
    error::{Error, Result},
    net::broker_process::BrokerProcess,
};

/// Clients' ports, one after the other; below what the kernel chooses by itself.
const PORTS: Range<u16> = 10_000..32_000;

/// What all cases of a room share.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    pub(super) stop: Stop,
    next_port: AtomicU16,
    next_broker: Mutex<BTreeMap<Device, u16>>,
    held: Mutex<Vec<(Instant, Held)>>,
    gate: Gate,
    pub(super) room: Room,
    pub(super) world: World,
}

/// What has to stay open until the tracers have ended.
#[derive(Debug)]
#[expect(dead_code, reason = "held for its Drop")]
pub(super) enum Held {
    Connection(Connection),
    Listener(Listener),
    Process(BrokerProcess),
}

impl Stage {
    /// A network; `waiting` cases have to be ready before its tracers begin.
    pub(crate) fn new(stop: &Stop, room: Room, seed: u64, waiting: usize) -> Result<Self> {
        let lab = Lab::new(stop)?;
        let world = World::draw(seed, room);
        world.apply(lab.network())?;
        device::give_addresses(lab.network())?;
        device::install(lab.network(), &world)?;
        Ok(Self {
            lab,
            stop: stop.clone(),
            next_port: AtomicU16::new(0),
            next_broker: Mutex::default(),
            held: Mutex::default(),
            gate: Gate::new(waiting),
            room,
            world,
        })
    }

    pub(crate) const fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(super) fn hold(&self, held: Held) {
        lock(&self.held).push((Instant::now(), held));
    }

    /// Ends what was held for longer than `time`, for runs in which no tracer waits for it.
    pub(crate) fn let_go(&self, time: Duration) {
        let (old, young) = std::mem::take(&mut *lock(&self.held))
            .into_iter()
            .partition(|(since, _)| since.elapsed() >= time);
        let _ends_here: Vec<(Instant, Held)> = old;
        lock(&self.held).extend::<Vec<_>>(young);
    }
}

/// Opens once everybody who has to be ready is, and the tracers are attached.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug)]
struct GateState {
    waiting_for: usize,
    open: bool,
}

impl Gate {
    const fn new(waiting_for: usize) -> Self {
        Self {
            state: Mutex::new(GateState {
                waiting_for,
                open: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// One case less to wait for.
    fn arrive(&self) {
        let mut state = lock(&self.state);
        state.waiting_for = state.waiting_for.saturating_sub(1);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until all are ready.
    pub(super) fn wait_for_all(&self, stop: &Stop) -> Result<()> {
        self.wait(stop, |state| state.waiting_for == 0)
    }

    pub(crate) fn open(&self) {
        lock(&self.state).open = true;
        self.changed.notify_all();
    }

    fn wait(&self, stop: &Stop, until: impl Fn(&GateState) -> bool) -> Result<()> {
        let mut state = lock(&self.state);
        while !until(&state) {
            stop.check()?;
            state = self
                .changed
                .wait_timeout(state, Stop::GLANCE)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        drop(state);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a script acts with.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) stage: &'a Stage,
    pub(super) family: Family,
    pub(super) draw: Draw,
    /// Its packets have more before their TCP headers than most have.
    padded: bool,
    ready: AtomicBool,
    ports: Mutex<Vec<u16>>,
}

/// A connection of a case, and the port that tells it from all others.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) ends: Conversation,
    pub(super) port: u16,
}

/// A broker: an address that nobody else has.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) address: IpAddr,
    listener: Listener,
}

impl<'a> Scene<'a> {
    pub(super) fn new(stage: &'a Stage, family: Family, draw: Draw) -> Self {
        let padded = draw.chance(0.2);
        Self {
            stage,
            family,
            draw,
            padded,
            ready: AtomicBool::new(false),
            ports: Mutex::new(Vec::new()),
        }
    }

    /// The connections are there and in use: from here on the tracers must be attached.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub(super) fn attached(&self) -> Result<()> {
        self.ready();
        self.stage.gate.wait(&self.stage.stop, |state| state.open)
    }

    /// As [`Self::attached`], without waiting: for a case that failed before it came there.
    pub(super) fn ready(&self) {
        if !self.ready.swap(true, Ordering::Relaxed) {
            self.stage.gate.arrive();
        }
    }

    /// Whether the tracers begin after the connections.
    pub(super) fn came_late(&self) -> bool {
        self.stage.room == Room::Late
    }

    /// Whether the tracers see packets.
    pub(super) fn is_blind(&self) -> bool {
        self.stage.room == Room::Blind
    }

    /// Whether the tracers can know how far the other host is.
    pub(super) fn knows_distance(&self) -> bool {
        !self.came_late() && !self.is_blind()
    }

    /// A silence that outlasts a device's timer.
    pub(super) fn outlasting(&self, timer: usize) -> Duration {
        self.timer(timer) + self.draw.time(300, 2500)
    }

    /// A device's timer.
    pub(super) fn timer(&self, timer: usize) -> Duration {
        let seconds = self.stage.world.timers.get(timer).copied();
        Duration::from_secs(seconds.unwrap_or_default().into())
    }

    /// Loses what the broker sends to a client's port from here on, or no longer.
    pub(super) fn cut(&self, port: u16, lost: bool) -> Result<()> {
        device::cut(self.stage.lab.network(), port, lost)
    }

    pub(super) fn silence(&self, time: Duration) -> Result<()> {
        self.stage.lab.silence(time)
    }

    /// An address for a broker behind `device`.
    pub(super) fn address(&self, device: Device) -> IpAddr {
        let mut next = lock(&self.stage.next_broker);
        let number = next.entry(device).or_default();
        let address = device.broker(*number, self.family);
        *number = (*number + 1) % device.brokers();
        drop(next);
        address
    }

    /// A port for a client.
    pub(super) fn port(&self) -> u16 {
        let number = self.stage.next_port.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + number % (PORTS.end - PORTS.start);
        lock(&self.ports).push(port);
        port
    }

    /// The end of what was on the wire of this case's connections, to tell why it went wrong.
    pub(super) fn last_packets(&self) -> String {
        const TOLD: usize = 8;
        let mut text = String::new();
        for port in lock(&self.ports).iter() {
            let seen = self.stage.lab.wire().of_connection(*port);
            for seen in seen.iter().skip(seen.len().saturating_sub(TOLD)) {
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
    pub(super) fn site(&self, device: Device) -> Result<Site> {
        let address = self.address(device);
        let listener = self.listen(address)?;
        Ok(Site { address, listener })
    }

    pub(super) fn listen(&self, address: IpAddr) -> Result<Listener> {
        let host = self.stage.lab.network().host(Side::Broker);
        let (family, stop) = (self.family, &self.stage.stop);
        host.enter(|| Listener::open_at(family, address, stop))
    }

    /// Connects to a broker at an address.
    pub(super) fn connect(&self, address: IpAddr, port: u16) -> Result<Connection> {
        let host = self.stage.lab.network().host(Side::Client);
        let from = SocketAddr::new(device::client_of(address), port);
        Connection::open_between(self.family, host, Some(from), address, &self.stage.stop)
    }

    /// Tries to connect where that must fail.
    pub(super) fn be_refused(&self, address: IpAddr, port: u16) -> Result<()> {
        match self.connect(address, port) {
            Err(Error::Io { source, .. })
                if source.kind() == std::io::ErrorKind::ConnectionRefused =>
            {
                Ok(())
            }
            Err(other) => Err(other),
            Ok(_) => Err(Error::Staging("a connection was not refused".to_owned())),
        }
    }

    /// A connection to a broker of its own behind `device`, which goes on listening; nothing was
    /// said yet.
    pub(super) fn greet(&self, device: Device) -> Result<Talk> {
        let site = self.site(device)?;
        let talk = self.greet_at(&site)?;
        self.stage.hold(Held::Listener(site.listener));
        Ok(talk)
    }

    /// The same, to a broker that may have others.
    pub(super) fn greet_at(&self, site: &Site) -> Result<Talk> {
        let port = self.port();
        let client = self.connect(site.address, port)?;
        let broker = site.listener.accept()?;
        Ok(Talk {
            ends: Conversation { client, broker },
            port,
        })
    }

    /// A connection in use to a broker of its own, seen by tracers from here on.
    pub(super) fn converse(&self, device: Device, shape: Shape) -> Result<Talk> {
        let mut talk = self.greet(device)?;
        shape.use_it(&mut talk.ends, &self.draw)?;
        if self.padded {
            talk.ends.client.pad_headers(self.family)?;
            talk.ends.broker.pad_headers(self.family)?;
        }
        self.attached()?;
        Ok(talk)
    }

    /// Keeps both ends open until the tracers have ended.
    pub(super) fn keep(&self, talk: Talk) {
        let Conversation { client, broker } = talk.ends;
        self.keep_end(client);
        self.keep_end(broker);
    }

    pub(super) fn keep_end(&self, end: Connection) {
        self.stage.hold(Held::Connection(end));
    }

    pub(super) fn keep_site(&self, site: Site) {
        self.stage.hold(Held::Listener(site.listener));
    }

    /// Has the device lose what it knows of a connection.
    pub(super) fn forget(&self, port: u16) -> Result<()> {
        device::forget(self.stage.lab.network(), self.family, port)
    }

    /// Has a device reset both ends of a connection.
    ///
    /// The device takes its numbers from the tap, which may lag behind a busy connection: what was
    /// off the mark is sent again.
    pub(super) fn reset_both(&self, talk: &Talk, ttl: Ttl) -> Result<()> {
        const PATIENCE: Duration = Duration::from_millis(500);
        const ATTEMPTS: usize = 10;
        let ttls = Side::BOTH.map(|victim| self.stage.world.ttl(ttl, victim));
        let mut left = vec![&talk.ends.client, &talk.ends.broker];
        for _ in 0..ATTEMPTS {
            self.stage.lab.middlebox().reset_from(talk.port, ttls)?;
            let mut missed = Vec::new();
            for end in left {
                match end.wait_for_failure(PATIENCE) {
                    Ok(_) => {}
                    Err(Error::Deadline { .. }) => missed.push(end),
                    Err(error) => return Err(error),
                }
            }
            if missed.is_empty() {
                return Ok(());
            }
            left = missed;
        }
        Err(Error::Staging(
            "a device's resets did not end both ends".to_owned(),
        ))
    }

    /// A broker that is a process.
    pub(super) fn process(&self, address: IpAddr, answers: u32) -> Result<BrokerProcess> {
        self.stage
            .lab
            .start_broker_at(self.family, answers, Some(address))
    }
}
