//! A program that runs on one of the hosts, and is listened to line by line.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    process::{ChildStdin, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    Lab, Stop,
    error::{Context as _, Error, Result},
    net::Namespace,
    util::{
        child::Child,
        journal::{Line, Log, Patience},
    },
};

/// A running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Its end is how the program learns that the lab is gone, however that died.
    stdin: Option<ChildStdin>,
    log: Log,
    stop: Stop,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `command` in `namespace`, with what it writes going to the log called `name`.
    pub(crate) fn start(
        lab: &Lab,
        namespace: &Namespace,
        name: &str,
        command: &mut Command,
    ) -> Result<Self> {
        let (log, stop) = (lab.journal().open(name), lab.stop().clone());
        namespace.enter(|| Self::spawn(command, log, stop))
    }

    /// Starts `command` where this is called, with what it writes going to `log`.
    pub(crate) fn spawn(command: &mut Command, log: Log, stop: Stop) -> Result<Self> {
        // Shows whose it is, should it ever outlive the lab.
        command.env("KRESET_LAB", std::process::id().to_string());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = Child::spawn(command)?;
        let mut readers = Vec::new();
        readers.extend(child.0.stdout.take().map(|out| read(out, &log)));
        readers.extend(child.0.stderr.take().map(|out| read(out, &log)));
        Ok(Self {
            stdin: child.0.stdin.take(),
            child,
            log,
            stop,
            readers,
        })
    }

    /// What it wrote.
    pub(crate) const fn log(&self) -> &Log {
        &self.log
    }

    /// Waits for a line, from line `from` on, that fits.
    pub(crate) fn wait_for(
        &mut self,
        what: &str,
        from: usize,
        patience: impl Into<Patience>,
        fits: impl Fn(&str) -> bool,
    ) -> Result<Line> {
        let (log, stop) = (self.log.clone(), self.stop.clone());
        log.wait_for(what, from, patience, &stop, fits, || self.lives())
    }

    /// Makes sure that more may come from it.
    pub(crate) fn lives(&mut self) -> Result<()> {
        match self.child.ended()? {
            // Its last words may still be on their way to the log.
            Some(status) if self.readers.iter().all(JoinHandle::is_finished) => Err(Error::Ended {
                program: self.log.name().to_owned(),
                status,
                last: last_words(&self.log),
            }),
            _ => Ok(()),
        }
    }

    /// Writes a line to its standard input.
    pub(crate) fn order(&mut self, line: &str) -> Result<()> {
        let Some(stdin) = &mut self.stdin else {
            return Ok(());
        };
        let written = writeln!(stdin, "{line}");
        if written.is_err() {
            // How it ended says more.
            self.lives()?;
        }
        written.context(|| format!("order {} to {line}", self.log.name()))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, which: Signal) -> Result<()> {
        self.child.signal(which)
    }

    /// Stops it where it is: its sockets stay open, and it does nothing more.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Waits until it has ended.
    pub(crate) fn wait_for_end(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.child.wait_unless(&self.stop, patience)
    }
}

fn read(out: impl Read + Send + 'static, log: &Log) -> JoinHandle<()> {
    let log = log.clone();
    thread::spawn(move || {
        let mut out = BufReader::new(out);
        let mut bytes = Vec::new();
        // Not `lines`: what a program writes need not be UTF-8.
        while matches!(out.read_until(b'\n', &mut bytes), Ok(1..)) {
            log.write(String::from_utf8_lossy(&bytes).trim_end());
            bytes.clear();
        }
    })
}

/// The end of a log, short enough for an error.
fn last_words(log: &Log) -> String {
    let lines = log.lines();
    let last = lines.iter().rev().filter(|line| !line.text.is_empty());
    let mut last: Vec<_> = last.take(3).map(|line| line.text.as_str()).collect();
    last.reverse();
    last.join(" | ")
}
