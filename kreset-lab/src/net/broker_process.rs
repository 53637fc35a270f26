//! A broker that is a process of its own, so that it can be killed.

use std::{
    io::{self, Read as _},
    net::IpAddr,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

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
}

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
    let mut end = Vec::new();
    io::stdin()
        .read_to_end(&mut end)
        .context(|| "wait for the end of standard input".to_owned())?;
    Ok(())
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
