//! Runs `kreset-trace` and listens to it.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use kreset_lab::event::Event;
use rustix::process::{Pid, Signal, kill_process};

/// The program, in the guest.
pub(crate) const PROGRAM: &str = "/kreset-trace";
/// The ports of the brokers.
pub(crate) const PORTS: &str = "9092-9119";
/// How long it may take to attach: the guest's processor is emulated.
const ATTACH: Duration = Duration::from_mins(1);

/// The command that every run begins with.
pub(crate) fn command() -> Command {
    command_of(PROGRAM)
}

/// The same, of another copy of the program.
pub(crate) fn command_of(program: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["--port", PORTS, "--format", "json", "--all"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A tracer that did not start.
pub(crate) struct Refused {
    pub(crate) status: Option<i32>,
    pub(crate) complaint: String,
}

/// Whether it refused to start as it should: exit 3 with one sentence.
pub(crate) fn is_orderly(status: Option<i32>, complaint: &str) -> bool {
    status == Some(3) && complaint.lines().count() == 1 && complaint.contains(": ")
}

/// A running tracer.
pub(crate) struct Tracer {
    child: Child,
    heard: Arc<Mutex<Vec<Event>>>,
    ended: Arc<AtomicBool>,
}

impl Tracer {
    /// Starts it with `--packet-evidence source` and waits until it is attached.
    pub(crate) fn start(source: &str) -> Result<Result<Self, Refused>> {
        let mut command = command();
        command.args(["--packet-evidence", source]);
        Self::spawn(command)
    }

    /// Starts `command` and waits until it is attached.
    pub(crate) fn spawn(mut command: Command) -> Result<Result<Self, Refused>> {
        let mut child = command.spawn()?;
        let Some(stdout) = child.stdout.take() else {
            bail!("no pipe")
        };
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let (hears, ends) = (Arc::clone(&heard), Arc::clone(&ended));
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(event) = Event::parse(&line) {
                    hears
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(event);
                }
            }
            ends.store(true, Ordering::Release);
        });
        let mut tracer = Self {
            child,
            heard,
            ended,
        };
        let until = Instant::now() + ATTACH;
        while tracer.find(|event| event.kind == "start").is_none() {
            if tracer.ended.load(Ordering::Acquire) || Instant::now() > until {
                let _gone = tracer.child.kill();
                let status = tracer.child.wait()?;
                let complaint = tracer.complaint();
                return Ok(Err(Refused {
                    status: status.code(),
                    complaint,
                }));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Ok(tracer))
    }

    /// What it wrote to standard error, once it has ended.
    fn complaint(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _cut_off = stderr.read_to_string(&mut text);
        }
        text.trim().to_owned()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first event heard so far that `wanted` likes.
    pub(crate) fn find(&self, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().find(|event| wanted(event)).cloned()
    }

    /// Waits for such an event.
    pub(crate) fn wait_for(
        &self,
        patience: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Option<Event> {
        let until = Instant::now() + patience;
        loop {
            let found = self.find(&wanted);
            if found.is_some() || Instant::now() > until {
                return found;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets it end in order; its last word.
    pub(crate) fn end(mut self) -> Result<Event> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the tracer ended with {status}: {}", self.complaint());
        }
        let summary = self.wait_for(ATTACH, |event| event.kind == "summary");
        summary.context("no summary")
    }
}
