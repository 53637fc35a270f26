//! Running `kreset-trace` on one host and listening to what it says.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    PORT, Side, Stop,
    error::{Context as _, Error, Result},
    event::{Event, contract},
    net::Namespace,
};

/// How long a tracer may take to attach: many at once share the processors.
const ATTACH: Duration = Duration::from_secs(20);

/// How long a tracer may take to end in order.
const END: Duration = Duration::from_secs(10);

/// The tracer ends by itself after this, should the lab die without ending it.
const LEASE: Duration = Duration::from_mins(2);

/// What a tracer is asked to show. By default everything, with the defaults of the tracer.
#[derive(Clone, Debug, Default)]
pub struct Options {
    without_noise: bool,
    without_packets: bool,
    broker_max_idle: Option<Duration>,
    longer: Duration,
    record: Option<PathBuf>,
    /// Other ports than [`PORT`].
    ports: Option<Range<u16>>,
}

impl Options {
    /// What an operator gets to see, without everyday noise.
    #[must_use]
    pub const fn without_noise(mut self) -> Self {
        self.without_noise = true;
        self
    }

    /// Without packet evidence: what sockets know is all there is.
    #[must_use]
    pub const fn without_packets(mut self) -> Self {
        self.without_packets = true;
        self
    }

    /// Tells the tracer the brokers' `connections.max.idle.ms`; whole seconds count.
    #[must_use]
    pub const fn broker_max_idle(mut self, idle: Duration) -> Self {
        self.broker_max_idle = Some(idle);
        self
    }

    /// Lets the tracer live for longer than the two minutes that are plenty for most, for silences
    /// that take `time` altogether; what is asked for repeatedly adds up.
    #[must_use]
    pub const fn longer_by(mut self, time: Duration) -> Self {
        self.longer = self.longer.saturating_add(time);
        self
    }

    /// Has it watch these ports.
    #[must_use]
    pub const fn ports(mut self, ports: Range<u16>) -> Self {
        self.ports = Some(ports);
        self
    }

    /// Has it keep the kernel's records in a file as well.
    #[must_use]
    pub fn record(mut self, file: &Path) -> Self {
        self.record = Some(file.to_owned());
        self
    }

    /// Whether every reset is shown.
    #[must_use]
    pub const fn shows_all(&self) -> bool {
        !self.without_noise
    }

    fn command(&self, program: &Path, namespace: &Namespace) -> Command {
        let mut command = Command::new(program);
        let ports = self.ports.as_ref().map_or_else(
            || PORT.to_string(),
            |ports| format!("{}-{}", ports.start, ports.end - 1),
        );
        command
            .args(["--netns", namespace.name()])
            .args(["--port", &ports])
            .args(["--format", "json"])
            .args(["--duration", &in_seconds(LEASE + self.longer)]);
        if self.shows_all() {
            command.arg("--all");
        }
        if self.without_packets {
            command.args(["--packet-evidence", "off"]);
        }
        if let Some(file) = &self.record {
            command.arg("--record").arg(file);
        }
        if let Some(idle) = self.broker_max_idle {
            command.args(["--broker-max-idle", &in_seconds(idle)]);
        }
        command
    }
}

/// As the tracer reads times.
fn in_seconds(time: Duration) -> String {
    format!("{}s", time.as_secs())
}

/// Everything that a tracer said, from start to end.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Its events in order.
    pub events: Vec<Event>,
    /// Lines that are no events of the contract, with what is wrong with them.
    pub garbage: Vec<String>,
    /// What it wrote to standard error, trimmed.
    pub stderr: String,
}

/// A running tracer; killed when dropped.
#[derive(Debug)]
pub struct Tracer {
    host: Side,
    child: Child,
    heard: Arc<Heard>,
    stop: Stop,
    /// Yields what was written to standard error.
    stderr: Option<JoinHandle<String>>,
}

#[derive(Debug, Default)]
struct Heard {
    so_far: Mutex<SoFar>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct SoFar {
    said: Said,
    ended: bool,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, line: &str) {
        let heard = Event::parse(line);
        let mut so_far = self.lock();
        match heard {
            Ok(event) => so_far.said.events.push(event),
            Err(error) => so_far.said.garbage.push(format!("{error}: {line}")),
        }
        drop(so_far);
        self.more.notify_all();
    }
}

impl Tracer {
    /// Starts the tracer at `program`, which sees the sockets of `namespace` only, and waits until it has attached
    /// everything: from then on it misses nothing.
    ///
    /// The tracer itself runs where the lab runs, outside the namespace.
    ///
    /// # Errors
    /// [`Error::MissingTracer`], [`Error::Tracer`] if it ends or takes too long, and
    /// [`Error::Stopped`].
    pub fn start(
        host: Side,
        namespace: &Namespace,
        program: &Path,
        options: &Options,
        stop: &Stop,
    ) -> Result<Self> {
        if !program.exists() {
            return Err(Error::MissingTracer(program.to_owned()));
        }
        Self::spawn(host, options.command(program, namespace), stop)
    }

    fn spawn(host: Side, mut command: Command, stop: &Stop) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context(|| format!("run {}", command.get_program().display()))?;
        let heard = Arc::new(Heard::default());
        if let Some(stdout) = child.stdout.take() {
            let heard = Arc::clone(&heard);
            thread::spawn(move || {
                for line in BufReader::new(stdout)
                    .lines()
                    .map_while(std::result::Result::ok)
                {
                    heard.hear(&line);
                }
                heard.lock().ended = true;
                heard.more.notify_all();
            });
        }
        let stderr = child.stderr.take().map(|mut stderr| {
            thread::spawn(move || {
                let mut text = Vec::new();
                // As much as could be read is what there is to tell.
                let _read = stderr.read_to_end(&mut text);
                String::from_utf8_lossy(&text).trim().to_owned()
            })
        });
        let mut tracer = Self {
            host,
            child,
            heard,
            stop: stop.clone(),
            stderr,
        };
        match tracer.wait_for("its start", ATTACH, |event| event.kind == "start") {
            Ok(_) => Ok(tracer),
            Err(Error::Deadline { waited, .. }) => {
                Err(tracer.failed(format!("was not attached after {waited:?}")))
            }
            Err(Error::Tracer { what, .. }) => Err(tracer.failed(what)),
            Err(error) => Err(error),
        }
    }

    /// Waits until it has said something that fits, and returns the first such event.
    ///
    /// # Errors
    /// [`Error::Deadline`] after `patience`, naming `what`; [`Error::Tracer`] if it ends before;
    /// [`Error::Stopped`].
    pub fn wait_for(
        &self,
        what: &str,
        patience: Duration,
        fits: impl Fn(&Event) -> bool,
    ) -> Result<Event> {
        let deadline = Instant::now() + patience;
        let mut so_far = self.heard.lock();
        loop {
            if let Some(found) = so_far.said.events.iter().find(|event| fits(event)) {
                return Ok(found.clone());
            }
            if so_far.ended {
                return Err(Error::Tracer {
                    host: self.host,
                    what: format!("ended before it told of {what}"),
                    stderr: String::new(),
                });
            }
            self.stop.check()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Deadline {
                    what: what.to_owned(),
                    waited: patience,
                });
            }
            so_far = self
                .heard
                .more
                .wait_timeout(so_far, left.min(Stop::GLANCE))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, waits until it has, and returns everything that it said.
    ///
    /// What happened before this is called is in the answer: the tracer drains what the kernel
    /// recorded before it ends.
    ///
    /// # Errors
    /// [`Error::Tracer`] if it does not end, or not with 0.
    pub fn finish(mut self) -> Result<Said> {
        // The pid is this child's until it is waited for.
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, Signal::SIGTERM).context(|| format!("end the tracer, process {pid}"))?;
        let deadline = Instant::now() + END;
        loop {
            if let Some(status) = self
                .child
                .try_wait()
                .context(|| "wait for the tracer".to_owned())?
                && self.heard.lock().ended
            {
                if !status.success() {
                    return Err(self.failed(format!("ended with {status}")));
                }
                let mut said = std::mem::take(&mut self.heard.lock().said);
                let invalid = said.events.iter().filter_map(|event| {
                    let refusal = contract::check(&event.line).err()?;
                    Some(format!("{refusal}: {}", event.line))
                });
                said.garbage.extend(invalid);
                said.stderr = self.complaints();
                return Ok(said);
            }
            if Instant::now() > deadline {
                return Err(self.failed(format!("ignored SIGTERM for {END:?}")));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it the hard way, if it has not ended, and puts what it wrote to standard error into
    /// the error.
    fn failed(&mut self, what: String) -> Error {
        let _signalled = self.child.kill();
        Error::Tracer {
            host: self.host,
            what,
            stderr: self.complaints(),
        }
    }

    /// What it wrote to standard error until it ended.
    fn complaints(&mut self) -> String {
        self.stderr
            .take()
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _signalled = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Tracer> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Tracer::spawn(Side::Client, command, &Stop::default())
    }

    #[test]
    fn a_tracer_is_heard_to_its_last_line() {
        let events = concat!(env!("CARGO_MANIFEST_DIR"), "/../kreset/golden/events.jsonl");
        let tracer = shell(&format!(
            r#"trap 'sed -n 9p {events}; exit 0' TERM
               sed -n 1p {events}; echo nonsense; sed -n 2p {events}; echo '{{"type":"reset"}}'
               while :; do sleep 0.01; done"#,
        ))
        .expect("it starts");
        let reset = tracer
            .wait_for("a reset", END, |event| event.kind == "reset")
            .expect("it is told");
        assert_eq!(reset.verdict.as_deref(), Some("middlebox_idle_reset"));
        tracer
            .wait_for("another", END, |event| event.schema.is_empty())
            .expect("it is told");
        let said = tracer.finish().expect("it ends in order");
        let kinds: Vec<_> = said.events.iter().map(|event| &event.kind).collect();
        assert_eq!(kinds, ["start", "reset", "reset", "summary"]);
        let garbage = said.garbage.join("\n");
        assert_eq!(said.garbage.len(), 2, "{garbage}");
        assert!(
            garbage.contains("nonsense") && garbage.contains("required"),
            "{garbage}"
        );
    }

    #[test]
    fn one_that_cannot_start_is_quoted() {
        let error =
            shell("echo 'kreset-trace must run as root' >&2; exit 3").expect_err("it fails");
        assert!(error.to_string().contains("must run as root"), "{error}");
    }

    #[test]
    fn a_bad_exit_code_is_an_error() {
        let tracer = shell(
            r#"trap 'echo "disk full" >&2; exit 1' TERM
               echo '{"type":"start"}'
               while :; do sleep 0.01; done"#,
        )
        .expect("it starts");
        let error = tracer.finish().expect_err("it fails");
        assert!(error.to_string().contains("disk full"), "{error}");
    }
}
