//! A process of this repository's own binary, started with a subcommand that is not for people.
//!
//! It says that it is ready, may take orders line by line, and ends with its standard input, so
//! that none is left behind however its starter died.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;

use super::child::Child;
use crate::error::{Context as _, Error, Result};

/// What the process says once it is ready.
const READY: &str = "ready";

/// Such a process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Helper {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
}

impl Helper {
    /// Starts `command`, and waits until it is ready.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Child::spawn(command)?;
        let mut helper = Self {
            input: child.0.stdin.take(),
            output: child.0.stdout.take().map(BufReader::new),
            child,
        };
        match helper.hear()?.as_str() {
            READY => Ok(helper),
            other => Err(Error::Staging(format!(
                "a process of the lab did not get ready, it said {other:?}"
            ))),
        }
    }

    /// Gives it an order, and returns what it answers.
    pub(crate) fn ask(&mut self, order: &str) -> Result<String> {
        self.order(order)?;
        self.hear()
    }

    /// Gives it an order that it does not answer.
    pub(crate) fn order(&mut self, order: &str) -> Result<()> {
        if let Some(input) = &mut self.input {
            writeln!(input, "{order}").context(|| format!("order a process to {order}"))?;
        }
        Ok(())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, which: Signal) -> Result<()> {
        self.child.signal(which)
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.child.wait(patience)
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        if let Some(output) = &mut self.output {
            output
                .read_line(&mut line)
                .context(|| "hear from a process of the lab".to_owned())?;
        }
        Ok(line.trim().to_owned())
    }

    /// Stops it where it is: it does nothing more, and can still be killed.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.child.signal(Signal::SIGSTOP)
    }

    /// Kills it with SIGKILL, and waits until its sockets are closed.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().map(drop)
    }
}

/// What such a process answers to its starter.
pub(crate) fn answer(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").context(|| "answer the lab".to_owned())
}

/// Says that this process is ready.
pub(crate) fn ready() -> Result<()> {
    answer(READY)
}
