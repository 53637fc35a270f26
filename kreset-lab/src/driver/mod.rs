//! Running `kreset-trace` on one host and listening to what it says.

pub(crate) mod pair;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    ops::Range,
    path::{Path, PathBuf},
    process::{ChildStdout, Command, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    PORT, Side, Stop,
    error::{Error, Result},
    event::Event,
    net::Namespace,
    util::{child::Child, feed::Feed},
};

/// How long a tracer may take to attach: many at once share the processors.
const ATTACH: Duration = Duration::from_mins(1);

/// How long a tracer may take to end in order.
const END: Duration = Duration::from_mins(1);

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
    /// What an operator gets to see, without noise.
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

    /// Passes the brokers' `connections.max.idle.ms` to the tracer; whole seconds count.
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
    pub const fn shows_all(&self) -> bool {
        !self.without_noise
    }

    /// What is asked of the tracer, and of its `read` alike.
    pub(crate) fn of_any_source(&self) -> Vec<String> {
        let ports = self.ports.as_ref().map_or_else(
            || PORT.to_string(),
            |ports| format!("{}-{}", ports.start, ports.end - 1),
        );
        let mut arguments = vec!["--port".to_owned(), ports];
        arguments.extend(["--format", "json"].map(str::to_owned));
        if self.shows_all() {
            arguments.push("--all".to_owned());
        }
        if let Some(idle) = self.broker_max_idle {
            arguments.extend(["--broker-max-idle".to_owned(), in_seconds(idle)]);
        }
        arguments
    }

    fn command(&self, program: &Path, namespace: &Namespace) -> Command {
        let mut command = Command::new(program);
        command
            .args(["--netns", namespace.name()])
            .args(self.of_any_source())
            .args(["--duration", &in_seconds(LEASE + self.longer)]);
        if self.without_packets {
            command.args(["--packet-evidence", "off"]);
        }
        if let Some(file) = &self.record {
            command.arg("--record").arg(file);
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
    /// Lines that are not events of the contract, with what is wrong with them.
    pub garbage: Vec<String>,
    /// What it wrote to standard error, trimmed.
    pub stderr: String,
}

impl Said {
    /// The events about connections.
    pub fn about_connections(&self) -> impl Iterator<Item = &Event> {
        let events = self.events.iter();
        events.filter(|event| event.is_about_a_connection())
    }
}

/// A running tracer; killed when dropped.
#[derive(Debug)]
pub struct Tracer {
    name: String,
    child: Child,
    lines: Feed<Event>,
    stop: Stop,
    /// Yields what was not an event.
    stdout: Option<JoinHandle<Vec<String>>>,
    /// Yields what was written to standard error.
    stderr: Option<JoinHandle<String>>,
}

impl Tracer {
    /// Starts the tracer at `program`, which sees the sockets of `namespace` only, and waits until
    /// it has attached everything: from then on it misses nothing.
    ///
    /// The tracer itself runs in it too: it reads the addresses of namespaces that have a process.
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
        let mut command = options.command(program, namespace);
        command.stderr(Stdio::piped());
        namespace.enter(|| Self::spawn(format!("the {host} host"), command, ATTACH, stop))
    }

    /// Starts `command`, which writes JSON to standard output, and waits up to `patience` until it
    /// is attached. `host` names what it watches.
    pub fn spawn(
        host: impl Into<String>,
        mut command: Command,
        patience: Duration,
        stop: &Stop,
    ) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = Child::spawn(&mut command)?;
        let lines = Feed::default();
        let stdout = child.0.stdout.take();
        let stderr = child.0.stderr.take();
        let mut tracer = Self {
            name: host.into(),
            child,
            stdout: stdout.map(|out| listen(out, lines.clone())),
            lines,
            stop: stop.clone(),
            stderr: stderr.map(|mut stderr| {
                thread::spawn(move || {
                    let mut text = Vec::new();
                    // As much as could be read is what there is.
                    let _read = stderr.read_to_end(&mut text);
                    String::from_utf8_lossy(&text).trim().to_owned()
                })
            }),
        };
        match tracer.wait_for("its start", patience, |event| event.kind == "start") {
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
        let found = self.lines.wait_until(what, patience, &self.stop, |said| {
            let found = said.kept.iter().find(|event| fits(event)).cloned();
            (found.is_some() || said.ended).then_some(found)
        });
        found?.ok_or_else(|| Error::Tracer {
            host: self.name.clone(),
            what: format!("ended before it reported {what}"),
            status: None,
            stderr: String::new(),
        })
    }

    /// Takes what it has said since this was last called: it is not said again.
    pub fn take(&self) -> Vec<Event> {
        let mut said = self.lines.lock();
        let count = said.kept.len();
        said.forget(count)
    }

    /// Its process.
    pub const fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its process id.
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
    pub fn finish(self) -> Result<Said> {
        self.finish_within(END)
    }

    /// The same, on a machine where that takes up to `patience`.
    pub fn finish_within(mut self, patience: Duration) -> Result<Said> {
        self.child.signal(Signal::SIGTERM)?;
        match self.child.wait(patience) {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(self.failed(format!("ended with {status}"))),
            Err(_) => return Err(self.failed(format!("ignored SIGTERM for {patience:?}"))),
        }
        let mut said = self.rest();
        #[cfg(feature = "full")]
        for event in &said.events {
            if let Err(refusal) = crate::event::contract::check(&event.line) {
                said.garbage.push(format!("{refusal}: {}", event.line));
            }
        }
        said.stderr = self.complaints();
        Ok(said)
    }

    /// What one that has ended has said, and was not taken.
    pub fn rest(&mut self) -> Said {
        let garbage = self.stdout.take().and_then(|reader| reader.join().ok());
        let mut events = self.take();
        Event::correct(&mut events);
        Said {
            events,
            garbage: garbage.unwrap_or_default(),
            stderr: String::new(),
        }
    }

    /// Ends it the hard way, if it has not ended, and puts what it wrote to standard error into
    /// the error.
    fn failed(&mut self, what: String) -> Error {
        // Nothing came after its output ended: it is about to end by itself, if it has not.
        let ended = self.lines.lock().ended;
        let patience = if ended { END } else { Duration::ZERO };
        let status = match self.child.wait(patience) {
            Ok(status) => Ok(status),
            Err(_) => self.child.kill(),
        };
        Error::Tracer {
            host: self.name.clone(),
            what,
            status: status.ok(),
            stderr: self.complaints(),
        }
    }

    /// What it wrote to standard error until it ended.
    fn complaints(&mut self) -> String {
        let reader = self.stderr.take();
        let text = reader.and_then(|reader| reader.join().ok());
        text.unwrap_or_default()
    }
}

/// Listens to the end, and returns the lines that are not events, with what is wrong with them.
fn listen(out: ChildStdout, lines: Feed<Event>) -> JoinHandle<Vec<String>> {
    thread::spawn(move || {
        let (mut out, mut bytes) = (BufReader::new(out), Vec::new());
        let mut garbage = Vec::new();
        while matches!(out.read_until(b'\n', &mut bytes), Ok(1..)) {
            let text = String::from_utf8_lossy(&bytes);
            match text
                .strip_suffix('\n')
                .map(|line| (line, Event::parse(line)))
            {
                Some((_, Ok(event))) => lines.push(event),
                Some((line, Err(error))) => garbage.push(format!("{error}: {line}")),
                None => garbage.push(format!("{TORN}: {text}")),
            }
            bytes.clear();
        }
        lines.end();
        garbage
    })
}

/// What is wrong with a last line that has no end: a tracer that was killed may leave one.
pub const TORN: &str = "the line is cut off";

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Tracer> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stderr(Stdio::piped());
        Tracer::spawn("the client host", command, ATTACH, &Stop::default())
    }

    #[test]
    fn a_tracer_is_heard_to_its_last_line() {
        let events = concat!(env!("CARGO_MANIFEST_DIR"), "/../kreset/golden/events.jsonl");
        let tracer = shell(&format!(
            r#"trap 'grep -m 1 type.:.summary {events}; exit 0' TERM
               sed -n 1p {events}; echo nonsense; sed -n 2p {events}; echo '{{"type":"reset"}}'
               while :; do sleep 0.01; done"#,
        ))
        .expect("it starts");
        let reset = tracer
            .wait_for("a reset", END, |event| event.kind == "reset")
            .expect("it is reported");
        assert_eq!(reset.verdict.as_deref(), Some("middlebox_idle_reset"));
        tracer
            .wait_for("another", END, |event| event.schema.is_empty())
            .expect("it is reported");
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
