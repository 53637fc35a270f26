//! Where cases are played: one network with all devices, and tracers that all of its cases share.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    device::{self, Device},
    distances::Distances,
    environment::Environment,
};
use crate::{
    Connection, Lab, Listener, Side, Stop, error::Result, net::broker_process::BrokerProcess,
    util::lock::lock,
};

/// Clients' ports, one after the other; below what the kernel chooses by itself.
const PORTS: Range<u16> = 10_000..32_000;

/// What all cases of an environment share.
#[derive(Debug)]
pub(crate) struct Testbed<'a> {
    pub(crate) lab: &'a Lab,
    pub(super) environment: Environment,
    pub(crate) distances: Distances,
    next_port: AtomicU16,
    pub(super) next_broker: Mutex<BTreeMap<Device, u16>>,
    held: Mutex<Vec<(Instant, Held)>>,
    pub(crate) attachment: Attachment,
}

/// What has to stay open until the tracers have ended.
#[derive(Debug)]
#[expect(dead_code, reason = "held for its Drop")]
pub(super) enum Held {
    Connection(Connection),
    Listener(Listener),
    Process(BrokerProcess),
}

impl<'a> Testbed<'a> {
    /// Makes a lab's network one; `waiting` cases have to be ready before its tracers begin.
    pub(crate) fn new(
        lab: &'a Lab,
        environment: Environment,
        distances: Distances,
        waiting: usize,
    ) -> Result<Self> {
        let network = lab.network();
        distances.apply(network)?;
        device::give_addresses(network)?;
        device::install(network, &distances)?;
        environment.apply(network)?;
        // A handshake whose last ACK is not taken is given up after 3 s, not after a minute.
        network
            .host(Side::Broker)
            .sysctl(&[("ipv4/tcp_synack_retries", "1")])?;
        Ok(Self {
            lab,
            environment,
            distances,
            next_port: AtomicU16::new(0),
            next_broker: Mutex::default(),
            held: Mutex::default(),
            attachment: Attachment::new(waiting),
        })
    }

    /// A port for a client.
    pub(super) fn port(&self) -> u16 {
        let number = self.next_port.fetch_add(1, Ordering::Relaxed);
        PORTS.start + number % (PORTS.end - PORTS.start)
    }

    pub(super) fn hold(&self, held: Held) {
        lock(&self.held).push((Instant::now(), held));
    }

    /// Ends what was held for longer than `time`, for runs in which no tracer waits for it.
    pub(crate) fn release(&self, time: Duration) {
        let (old, young) = std::mem::take(&mut *lock(&self.held))
            .into_iter()
            .partition(|(since, _)| since.elapsed() >= time);
        let _ends_here: Vec<(Instant, Held)> = old;
        lock(&self.held).extend::<Vec<_>>(young);
    }
}

/// Lets cases wait for the tracers, and late tracers for the cases.
#[derive(Debug)]
pub(crate) struct Attachment {
    /// How many cases are not ready yet, and whether the tracers are attached.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Attachment {
    const fn new(waiting_for: usize) -> Self {
        Self {
            state: Mutex::new((waiting_for, false)),
            changed: Condvar::new(),
        }
    }

    /// One case less to wait for.
    pub(super) fn case_is_ready(&self) {
        let mut state = lock(&self.state);
        state.0 = state.0.saturating_sub(1);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until all cases are ready.
    pub(super) fn wait_for_cases(&self, stop: &Stop) -> Result<()> {
        self.wait(stop, |(waiting_for, _)| waiting_for == 0)
    }

    /// The tracers are attached.
    pub(crate) fn complete(&self) {
        lock(&self.state).1 = true;
        self.changed.notify_all();
    }

    /// Waits until the tracers are attached.
    pub(super) fn wait_for_tracers(&self, stop: &Stop) -> Result<()> {
        self.wait(stop, |(_, attached)| attached)
    }

    fn wait(&self, stop: &Stop, until: impl Fn((usize, bool)) -> bool) -> Result<()> {
        let mut state = lock(&self.state);
        while !until(*state) {
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
