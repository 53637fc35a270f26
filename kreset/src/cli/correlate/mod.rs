//! `kreset-trace correlate`.

mod source;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use std::os::fd::AsFd as _;
use thiserror::Error;

use self::source::Source;
pub use self::source::SourceError;
use crate::{
    capture::{
        input::InputError,
        logs::{Logs, client::About},
    },
    correlate::{Correlator, Settings},
    delivery::{Encoder, SinkError},
    event::{Event, Message, PairFinding, Role, Time},
    run::read::logs,
    sink::{Format, View},
    util::{duration, exit::Exit, stderr::log},
};

/// Shown under `correlate --help`.
pub(super) const AFTER_HELP: &str = "\
Examples:
  kreset-trace correlate client.jsonl broker.jsonl
      Say of each connection what both hosts together prove.
  zstdcat events/*.zst | kreset-trace correlate --format json -
      The same of a fleet, for other programs.
  kreset-trace correlate --follow /var/log/fleet/*.json
      As events come.

Exit codes:
  0  all files were read; lines that could not be used are counted
  1  a file could not be read, or the output not written
  2  the command line is wrong";

/// Lines read of one file before the others are looked at again.
const BATCH: usize = 256;
/// Bytes of findings that are written at once, while more of them are made.
const MUCH: usize = 1 << 16;
/// How often growing files are looked at.
const LOOK_MS: u8 = 250;
/// Lines that could not be used and are named one by one.
const NAMED: u64 = 10;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Events as lines of JSON, of any number of hosts; `-` is standard input
    ///
    /// May be compressed with gzip or zstd. Each file has to be in order but
    /// for `--window`; the files are merged by time.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Show what either host reported under each finding
    #[arg(short, long)]
    verbose: bool,

    /// Show routine closes and the ends of connections of `kreset-trace probe`, too
    ///
    /// The probe ends connections on purpose. Give the file with its event as well:
    /// it lists them.
    #[arg(long)]
    all: bool,

    /// How far out of order events may come
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    window: Duration,

    /// Leave out what ended before, such as 2026-11-23T14:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,

    /// Leave out what ended from then on
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,

    /// Wait for more lines at the end of the files, until a signal
    #[arg(long)]
    follow: bool,

    /// A broker's server.log, or journalctl's output: shown with the findings that it is about
    ///
    /// Its times are those of this machine's time zone (TZ). May be given more than once.
    #[arg(long, value_name = "FILE")]
    broker_log: Vec<PathBuf>,

    /// A client's log, likewise
    ///
    /// Lines of Kafka's Java clients and of librdkafka about the end of a connection. Times
    /// without a zone are those of this machine's (TZ). May be given more than once.
    #[arg(long, value_name = "FILE")]
    client_log: Vec<PathBuf>,
}

impl Arguments {
    pub(super) fn into_wanted(self) -> Correlate {
        Correlate {
            files: self.files,
            format: self.format,
            verbose: self.verbose,
            broker_logs: self.broker_log,
            client_logs: self.client_log,
            settings: Settings {
                window: self.window,
                since: self.since,
                until: self.until,
                follow: self.follow,
                all: self.all,
            },
        }
    }
}

/// What is to be correlated, and how it is to be shown.
#[derive(Clone, Debug)]
pub struct Correlate {
    /// The files; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Form of the output.
    pub format: Format,
    /// Whether to show what either host reported.
    pub verbose: bool,
    /// Logs of brokers.
    pub broker_logs: Vec<PathBuf>,
    /// Logs of clients.
    pub client_logs: Vec<PathBuf>,
    /// How events are joined.
    pub settings: Settings,
}

/// Why correlation ended early.
#[derive(Debug, Error)]
pub enum CorrelateError {
    /// A file cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A log cannot be read.
    #[error(transparent)]
    Log(#[from] InputError),
    /// The output cannot be encoded.
    #[error(transparent)]
    Encode(#[from] SinkError),
    /// The output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl CorrelateError {
    /// The exit code: a reader that has enough ends the run as requested.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            _ => Exit::Failed,
        }
    }
}

/// Correlates, until all is read or a signal comes.
///
/// # Errors
///
/// If a file cannot be read, or the output not written. A line that cannot be used is named
/// and counted instead.
pub fn run(wanted: &Correlate) -> Result<(), CorrelateError> {
    let mut sources = wanted
        .files
        .iter()
        .map(|path| Source::open(path, wanted.settings.follow))
        .collect::<Result<Vec<_>, _>>()?;
    let mut output = Output {
        encoder: wanted.format.encoder_of_stdout(View {
            verbosity: u8::from(wanted.verbose),
            every_event: true,
            ..View::default()
        }),
        lines: Vec::new(),
        messages: Vec::new(),
        logs: logs::open(&wanted.broker_logs, &wanted.client_logs)?,
    };
    let mut correlator = Correlator::new(wanted.settings);
    let mut unusable = Unusable::default();
    let signals = if wanted.settings.follow {
        Some(signals()?)
    } else {
        None
    };
    loop {
        // The file whose events are the oldest so far.
        let open = sources.iter_mut().filter(|source| !source.is_ended());
        match open.min_by_key(|source| source.latest_ns()) {
            Some(source) => read(source, &mut correlator, &mut unusable)?,
            None => match &signals {
                Some(signals) if !has_come(signals)? => {
                    sources.iter_mut().for_each(Source::look_again);
                }
                _ => break,
            },
        }
        let open = sources.iter().filter(|source| !source.is_ended());
        let read_until = if wanted.settings.follow {
            sources.iter().map(Source::latest_ns).max()
        } else {
            open.map(Source::latest_ns).min()
        };
        if let Some(until_ns) = read_until {
            while correlator.advance_some(until_ns, &mut output.messages) {
                output.encode()?;
            }
            output.encode()?;
            output.write()?;
        }
    }
    while correlator.finish_some(&mut output.messages) {
        output.encode()?;
    }
    output.write()?;
    let tally = correlator.tally();
    if wanted.format == Format::Text {
        io::stdout().write_all(format!("\n{tally}").as_bytes())?;
    } else {
        for line in tally.to_string().lines() {
            log(format_args!("{line}"));
        }
    }
    unusable.conclude();
    Ok(())
}

fn read(
    source: &mut Source,
    correlator: &mut Correlator,
    unusable: &mut Unusable,
) -> Result<(), CorrelateError> {
    for _ in 0..BATCH {
        let Some(line) = source.next_line()? else {
            return Ok(());
        };
        if line.trim_ascii().is_empty() {
            continue;
        }
        match correlator.read(line) {
            Ok(Some(at_ns)) => source.passed(at_ns),
            Ok(None) => {}
            Err(error) => unusable.add(source, &error),
        }
    }
    Ok(())
}

/// Writes findings to standard output.
struct Output {
    encoder: Box<dyn Encoder>,
    lines: Vec<u8>,
    messages: Vec<Message>,
    /// What applications wrote.
    logs: Logs,
}

impl Output {
    /// Encodes what was found, and writes it once it is much.
    fn encode(&mut self) -> Result<(), CorrelateError> {
        for mut message in self.messages.drain(..) {
            if let Event::Finding(finding) = &mut message.event {
                add_what_was_written(finding, &self.logs);
            }
            self.encoder.encode(&message, &mut self.lines)?;
        }
        if self.lines.len() < MUCH {
            return Ok(());
        }
        self.write()
    }

    /// Writes what was encoded.
    fn write(&mut self) -> Result<(), CorrelateError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(&self.lines)?;
        stdout.flush()?;
        self.lines.clear();
        Ok(())
    }
}

/// Puts the lines of logs that are about a finding beside what the hosts saw of it.
fn add_what_was_written(finding: &mut PairFinding, logs: &Logs) {
    let (client, broker, time) = (finding.client, finding.broker, finding.time);
    let nanoseconds = |time: Time| i64::try_from(time.0.as_nanosecond()).ok();
    if let Some(host) = &mut finding.broker_host
        && let Some(at_ns) = nanoseconds(host.time.unwrap_or(time))
    {
        let ends = (host.client.unwrap_or(client), host.broker.unwrap_or(broker));
        let line = logs.brokers.about(ends.0, ends.1, at_ns);
        host.wrote = line.map(|it| it.text.clone());
    }
    if let Some(host) = &mut finding.client_host
        && let Some(at_ns) = nanoseconds(host.time.unwrap_or(time))
    {
        let line = logs.clients.about(About {
            role: Role::Client,
            broker: host.broker.unwrap_or(broker),
            client: None,
            at_ns,
        });
        host.wrote = line.map(|it| it.text.clone());
    }
}

/// Lines that could not be used.
#[derive(Debug, Default)]
struct Unusable {
    count: u64,
}

impl Unusable {
    fn add(&mut self, source: &Source, error: &dyn std::error::Error) {
        self.count += 1;
        if self.count <= NAMED {
            let place = source.place();
            log(format_args!("{place}: {error}; the line is left out"));
        }
    }

    fn conclude(&self) {
        if self.count > 0 {
            log(format_args!("{} lines could not be used", self.count));
        }
    }
}

/// The signals that end a run.
fn signals() -> Result<SignalFd, CorrelateError> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.thread_block().map_err(io::Error::from)?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    Ok(SignalFd::with_flags(&set, flags).map_err(io::Error::from)?)
}

/// Waits until it is time to look at the files again, or a signal came.
fn has_come(signals: &SignalFd) -> Result<bool, CorrelateError> {
    let mut polled = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut polled, PollTimeout::from(LOOK_MS)).map_err(io::Error::from)? > 0)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::event::samples;

    #[test]
    fn a_line_of_the_brokers_log_is_shown_with_its_finding() {
        let mut finding = samples::pair();
        let host = finding.broker_host.as_mut().unwrap();
        let (client, broker) = (host.client.unwrap(), host.broker.unwrap());
        let time = host.time.unwrap().0.strftime("%Y-%m-%d %H:%M:%S,%3f");
        let line = format!(
            "[{time}] INFO [SocketServer] Failed authentication with /{} (channelId={}:{}-{}:{}-0-0) \
             (SSL handshake failed) (org.apache.kafka.common.network.Selector)",
            client.address, broker.address, broker.port, client.address, client.port
        );
        let mut logs = Logs::default();
        assert!(logs.brokers.add(line.as_bytes(), &TimeZone::UTC).unwrap());
        add_what_was_written(&mut finding, &logs);
        let wrote = finding.broker_host.unwrap().wrote.unwrap();
        assert!(wrote.contains("SSL handshake failed"), "{wrote}");
        assert_eq!(finding.client_host.unwrap().wrote, None);
    }
}
