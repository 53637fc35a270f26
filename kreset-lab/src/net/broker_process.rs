//! A broker that is a process of its own, so that it can be killed.

use std::{
    io,
    net::IpAddr,
    path::Path,
    process::{Command, ExitStatus},
    thread,
    time::Duration,
};

use nix::sys::signal::{self, Signal};

use crate::{
    Stop,
    error::{Context as _, Error, Result},
    net::{
        Namespace,
        endpoint::{Connection, Family, Listener},
    },
    util::helper::{self, Helper},
};

/// The subcommand that makes the binary a broker.
pub const SUBCOMMAND: &str = "broker-process";

/// A broker process inside the broker's namespace; killed when dropped.
#[derive(Debug)]
pub struct BrokerProcess(Helper);

impl BrokerProcess {
    pub(crate) fn start(
        program: &Path,
        namespace: &Namespace,
        family: Family,
        answers: u32,
        address: Option<IpAddr>,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args([SUBCOMMAND, family.name(), &answers.to_string()])
            .args(address.map(|address| address.to_string()));
        namespace.enter(|| Helper::start(&mut command)).map(Self)
    }

    /// Stops it where it is: it accepts and answers nothing more, and can still be killed.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.0.freeze()
    }

    /// Kills it with SIGKILL, and waits until its sockets are closed.
    pub fn kill(&mut self) -> Result<()> {
        self.0.kill()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, which: Signal) -> Result<()> {
        self.0.signal(which)
    }

    /// Has it end by itself.
    pub fn order(&mut self, end: OwnEnd) -> Result<()> {
        match end {
            OwnEnd::Exit(code) => self.0.order(&format!("{EXIT} {code}")),
            OwnEnd::Crash => self.0.order(CRASH),
            OwnEnd::UseMemory => self.0.order(FILL),
        }
    }

    /// Waits until it has ended.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.0.wait(patience)
    }
}

/// How a broker process ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnEnd {
    /// It exits with a code.
    Exit(u8),
    /// It crashes, with a signal of its own.
    Crash,
    /// It uses memory until it is killed.
    UseMemory,
}

/// The orders on standard input.
const EXIT: &str = "exit";
const CRASH: &str = "crash";
const FILL: &str = "fill";

/// What the subcommand does: answers the first `answers` requests of each connection, and leaves
/// unread what comes after. Ends when standard input does.
///
/// It listens at `address`, or where [`Lab::listen`] does.
///
/// [`Lab::listen`]: crate::Lab::listen
pub fn serve(family: Family, answers: u32, address: Option<IpAddr>) -> Result<()> {
    let stop = Stop::default();
    let listener = match address {
        Some(address) => Listener::open_at(family, address, &stop)?,
        None => Listener::open(family, &stop)?,
    };
    helper::ready()?;
    thread::spawn(move || {
        loop {
            match listener.accept() {
                Ok(connection) => {
                    thread::spawn(move || answer(connection, answers));
                }
                Err(Error::Deadline { .. }) => {}
                Err(_) => return,
            }
        }
    });
    for order in io::stdin().lines() {
        obey(&order.context(|| "wait for the end of standard input".to_owned())?);
    }
    Ok(())
}

/// Does not return if the order is one.
fn obey(order: &str) {
    if let Some(code) = order.strip_prefix(EXIT) {
        exit(code.trim().parse().unwrap_or(1));
    }
    match order {
        CRASH => crash(),
        FILL => use_memory(),
        _ => {}
    }
}

#[expect(clippy::exit, reason = "how it ends is what it is for")]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}

fn crash() -> ! {
    loop {
        // The first one only takes the handler of the standard library away.
        let _raised = signal::raise(Signal::SIGSEGV);
    }
}

fn use_memory() -> ! {
    loop {
        // Not zero, so that the pages are there.
        vec![1_u8; 1 << 20].leak();
    }
}

fn answer(mut connection: Connection, answers: u32) {
    for _ in 0..answers {
        // A silent client runs into the read timeout; only the end of the process ends it.
        while connection.wait_for_data().is_err() {}
        if connection.answer().is_err() {
            return;
        }
    }
    // Kept open and unread, until the client gives it up or this process ends.
    while connection
        .wait_for_failure(Duration::from_hours(1))
        .is_err()
    {}
}
