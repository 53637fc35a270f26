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
    correlate::{Correlator, Settings},
    delivery::{Encoder, SinkError},
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
}

impl Arguments {
    pub(super) fn into_wanted(self) -> Correlate {
        Correlate {
            files: self.files,
            format: self.format,
            verbose: self.verbose,
            settings: Settings {
                window: self.window,
                since: self.since,
                until: self.until,
                follow: self.follow,
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
    /// How events are joined.
    pub settings: Settings,
}

/// Why correlation ended early.
#[derive(Debug, Error)]
pub enum CorrelateError {
    /// A file cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
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
            correlator.advance(until_ns, &mut output.messages);
            output.write()?;
        }
    }
    correlator.finish(&mut output.messages);
    output.write()?;
    let tally = correlator.tally();
    if wanted.format == Format::Text {
        io::stdout().write_all(format!("\n{tally}").as_bytes())?;
    } else {
        log(format_args!("{}", tally.to_string().trim_end()));
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
    messages: Vec<crate::event::Message>,
}

impl Output {
    fn write(&mut self) -> Result<(), CorrelateError> {
        if self.messages.is_empty() {
            return Ok(());
        }
        for message in self.messages.drain(..) {
            self.encoder.encode(&message, &mut self.lines)?;
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(&self.lines)?;
        stdout.flush()?;
        self.lines.clear();
        Ok(())
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
