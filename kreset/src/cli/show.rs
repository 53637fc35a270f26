//! `kreset-trace show`: stored events, shown as live ones.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use jiff::{Timestamp, civil, tz::TimeZone};
use thiserror::Error;

use super::arguments::{EndArguments, ViewArguments};
use crate::{
    delivery::{Encoder as _, SinkError},
    event::{Event, Message, ReadError, filter::Filter},
    sink::{Ecs, Format, Json, Text, View},
    util::{duration, exit::Exit, stderr::log},
};

/// Arguments of `show`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The files; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Show only events since then: 1h ago, or a time such as 2026-11-23T14:00
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,

    /// Also show routine closes: health checks, late data
    #[arg(long)]
    all: bool,

    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    #[command(flatten)]
    ends: EndArguments,

    #[command(flatten)]
    view: ViewArguments,
}

impl Arguments {
    pub(super) fn into_show(self) -> Show {
        Show {
            files: self.files,
            since: self.since,
            filter: Filter {
                all: self.all,
                ..self.ends.into_filter()
            },
            format: self.format,
            view: self.view.into_view(),
        }
    }
}

/// Since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(Duration),
    /// A point in time.
    At(Timestamp),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Since::At(at));
    }
    if let Ok(local) = text.parse::<civil::DateTime>() {
        return TimeZone::system()
            .to_timestamp(local)
            .map(Since::At)
            .map_err(|error| error.to_string());
    }
    duration::parse(text)
        .map(Since::Ago)
        .map_err(|error| format!("{error}, or a time such as 2026-11-23T14:00"))
}

impl Since {
    fn timestamp(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }
}

/// Which stored events to show, and how.
#[derive(Clone, Debug)]
pub struct Show {
    files: Vec<PathBuf>,
    since: Option<Since>,
    filter: Filter,
    format: Format,
    view: View,
}

/// Why stored events cannot be shown.
#[derive(Debug, Error)]
pub enum ShowError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// Nothing in it is an event.
    #[error("{}: line 1: {error}; expected what --format json writes", path.display())]
    NoEvents {
        /// The file.
        path: PathBuf,
        /// Why its first line is none.
        error: ReadError,
    },
    /// Standard output failed.
    #[error(transparent)]
    Output(#[from] SinkError),
}

impl ShowError {
    /// The exit code: a reader that has closed the pipe is no failure.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Output(error) if error.is_closed() => Exit::Done,
            _ => Exit::Failed,
        }
    }
}

/// Shows the events of the files.
///
/// # Errors
/// When a file cannot be read or has no events, or the output fails.
pub fn run(show: &Show) -> Result<(), ShowError> {
    let mut out = io::stdout().lock();
    let since = show.since.map(|since| since.timestamp(Timestamp::now()));
    let mut printer = Printer::new(show.format, show.view);
    for path in &show.files {
        read(path, |message| {
            let is_recent = since.is_none_or(|since| message.event.time().0 >= since);
            if !is_recent || !is_wanted(&show.filter, &message.event) {
                return Ok(());
            }
            printer.add(&message)?;
            printer.flush_to(&mut out, false)
        })?;
    }
    printer.finish();
    Ok(printer.flush_to(&mut out, true)?)
}

/// Of stored events, those about the run are shown where nothing was filtered.
fn is_wanted(filter: &Filter, event: &Event) -> bool {
    let is_filtered =
        !(filter.verdicts.is_empty() && filter.clients.is_empty() && filter.brokers.is_empty());
    match event {
        Event::Start(_) | Event::Summary(_) => !is_filtered,
        _ => filter.wants(event),
    }
}

/// Calls `take` with each event of a file. A line that is none is logged once; a file whose
/// first line is none is refused.
pub(super) fn read(
    path: &PathBuf,
    mut take: impl FnMut(Message) -> Result<(), SinkError>,
) -> Result<(), ShowError> {
    let failed = |source| ShowError::Read {
        path: path.clone(),
        source,
    };
    let mut reader: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(path).map_err(failed)?))
    };
    let (mut line, mut number, mut unread) = (Vec::new(), 0_u64, 0_u64);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        number += 1;
        let text = String::from_utf8_lossy(&line);
        if text.trim().is_empty() {
            continue;
        }
        match Message::read(text.trim()) {
            Ok(message) => take(message)?,
            Err(error) if number == 1 => {
                return Err(ShowError::NoEvents {
                    path: path.clone(),
                    error,
                });
            }
            Err(error) => {
                if unread == 0 {
                    log(format_args!("{}: line {number}: {error}", path.display()));
                }
                unread += 1;
            }
        }
    }
    if unread > 1 {
        log(format_args!(
            "{}: {unread} lines are not events",
            path.display()
        ));
    }
    Ok(())
}

/// Encodes events, and writes them in large pieces.
struct Printer {
    format: Format,
    text: Text,
    out: Vec<u8>,
}

impl Printer {
    fn new(format: Format, view: View) -> Self {
        Self {
            format,
            text: view.stored(),
            out: Vec::new(),
        }
    }

    fn add(&mut self, message: &Message) -> Result<(), SinkError> {
        match self.format {
            Format::Text => self.text.encode(message, &mut self.out),
            Format::Json => Json.encode(message, &mut self.out),
            Format::Ecs => Ecs.encode(message, &mut self.out),
        }
    }

    fn finish(&mut self) {
        if self.format == Format::Text {
            self.text.finish(&mut self.out);
        }
    }

    fn flush_to(&mut self, to: &mut impl Write, all: bool) -> Result<(), SinkError> {
        const ENOUGH: usize = 64 * 1024;
        if !all && self.out.len() < ENOUGH {
            return Ok(());
        }
        let written = to.write_all(&self.out).and_then(|()| to.flush());
        self.out.clear();
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => SinkError::Closed,
            _ => SinkError::write("standard output", error),
        })
    }
}
