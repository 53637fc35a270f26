//! A broker that is a process of its own, so that it can be killed.
//!
//! It is this crate's own binary, started with a subcommand that is not for people.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::IpAddr,
    path::Path,
    process::{Child, Command, Stdio},
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
};

/// The subcommand that makes the binary a broker.
pub const SUBCOMMAND: &str = "broker-process";

/// What the process says once it listens.
const READY: &str = "ready";

/// A broker process inside the broker's namespace; killed when dropped.
#[derive(Debug)]
pub struct BrokerProcess(Child);

impl BrokerProcess {
    pub(crate) fn start(
        program: &Path,
        namespace: &Namespace,
        family: Family,
        answers: u32,
        address: Option<IpAddr>,
    ) -> Result<Self> {
        let mut child = namespace.enter(|| {
            Command::new(program)
                .args([SUBCOMMAND, family.name(), &answers.to_string()])
                .args(address.map(|address| address.to_string()))
                // Its end is how the process learns that the lab is gone, however that died.
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context(|| format!("start {} as a broker", program.display()))
        })?;
        let stdout = child.stdout.take();
        let process = Self(child);
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout)
                .read_line(&mut line)
                .context(|| "hear from the broker process".to_owned())?;
        }
        if line.trim() == READY {
            Ok(process)
        } else {
            Err(Error::Staging(format!(
                "the broker process did not get ready, it said {line:?}"
            )))
        }
    }

    /// Kills it with SIGKILL, and waits until its sockets are closed.
    pub fn kill(&mut self) -> Result<()> {
        self.0
            .kill()
            .and_then(|()| self.0.wait())
            .context(|| "kill the broker process".to_owned())?;
        Ok(())
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        // It may be dead already, which is as good.
        let _signalled = self.0.kill();
        let _ended = self.0.wait();
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
    writeln!(io::stdout(), "{READY}").context(|| "say that it listens".to_owned())?;
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
