//! A network with a middlebox in it, and what is run in it.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Connection, Conversation, Family, Listener, Side, Status, Stop,
    device::Middlebox,
    driver::{self, Tracer},
    error::{Context as _, Error, Result},
    net::{Network, broker_process::BrokerProcess},
    trace::wire::{Tap, Wire},
    util::{journal::Journal, program},
};

/// Client - router - broker, with a tap in the router.
#[derive(Debug)]
pub struct Lab {
    // Dropped in this order: the tap's thread ends before its interfaces go.
    tap: Tap,
    network: Network,
    stop: Stop,
    own_binary: Option<PathBuf>,
    journal: Journal,
    status: Status,
}

impl Lab {
    /// Builds the network. Any number of labs may exist at once.
    ///
    /// # Errors
    /// One for which [`Error::cannot_run_here`] if the machine is the reason.
    pub fn new(stop: &Stop) -> Result<Self> {
        check()?;
        let network = Network::new()?;
        let tap = Tap::new(&network, stop)?;
        Ok(Self {
            tap,
            network,
            stop: stop.clone(),
            own_binary: None,
            journal: Journal::default(),
            status: Status::default(),
        })
    }

    /// Says where the binary `kreset-lab` is, which [`Self::start_broker`] needs when called from
    /// another program, such as a test.
    #[must_use]
    pub fn with_own_binary(mut self, path: &Path) -> Self {
        self.own_binary = Some(path.to_owned());
        self
    }

    /// Shows its current activity in `status`.
    #[must_use]
    pub fn with_status(mut self, status: &Status) -> Self {
        self.status = status.clone();
        self
    }

    /// What is being done in it.
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// The namespaces.
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// What crossed the router so far.
    pub const fn wire(&self) -> &Wire {
        self.tap.wire()
    }

    /// What real programs in this lab wrote so far.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) const fn stop(&self) -> &Stop {
        &self.stop
    }

    /// The router, as a middlebox.
    pub const fn middlebox(&self) -> Middlebox<'_> {
        Middlebox::new(&self.network, self.wire())
    }

    /// Listens on the broker.
    pub fn listen(&self, family: Family) -> Result<Listener> {
        self.network
            .host(Side::Broker)
            .enter(|| Listener::open(family, &self.stop))
    }

    /// Connects from the client to the broker.
    pub fn connect(&self, family: Family) -> Result<Connection> {
        Connection::open(family, self.network.host(Side::Client), &self.stop)
    }

    /// Connects, accepts, and exchanges what Kafka's clients exchange first: the connection is in
    /// use.
    pub fn converse(&self, listener: &Listener, family: Family) -> Result<Conversation> {
        let mut conversation = self.greet(listener, family)?;
        conversation.introduce()?;
        Ok(conversation)
    }

    /// Connects and accepts; nothing was said yet.
    pub fn greet(&self, listener: &Listener, family: Family) -> Result<Conversation> {
        Ok(Conversation {
            client: self.connect(family)?,
            broker: listener.accept()?,
        })
    }

    /// Starts a broker that is a process of its own and answers the first `answers` requests of
    /// each connection, and leaves unread what comes after.
    pub fn start_broker(&self, family: Family, answers: u32) -> Result<BrokerProcess> {
        self.start_broker_at(family, answers, None)
    }

    /// The same, listening at one of the broker's addresses.
    pub fn start_broker_at(
        &self,
        family: Family,
        answers: u32,
        address: Option<IpAddr>,
    ) -> Result<BrokerProcess> {
        let program = match &self.own_binary {
            Some(path) => path.clone(),
            None => {
                std::env::current_exe().context(|| "find this program's own file".to_owned())?
            }
        };
        let host = self.network.host(Side::Broker);
        BrokerProcess::start(&program, host, family, answers, address)
    }

    /// Starts the tracer at `program`, which sees one host only, and waits until it is attached.
    pub fn trace(&self, side: Side, program: &Path, options: &driver::Options) -> Result<Tracer> {
        Tracer::start(side, self.network.host(side), program, options, &self.stop)
    }

    /// Does nothing for a while.
    pub fn silence(&self, time: Duration) -> Result<()> {
        self.status
            .set(format!("{:.1} s of silence", time.as_secs_f64()));
        self.pause(time)
    }

    /// The same without a word: what is going on goes on.
    pub(crate) fn pause(&self, time: Duration) -> Result<()> {
        self.stop.sleep(time)
    }
}

/// Looks whether labs can be built here at all, before anything is.
///
/// # Errors
/// One for which [`Error::cannot_run_here`].
pub fn check() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    program::check_programs()
}
