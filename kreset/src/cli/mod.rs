//! The command line of kreset-trace.
//!
//! `Arguments` is what may be written, [`Options`] what it means: only the
//! latter leaves this module.

mod options;

use std::{ffi::OsString, num::NonZeroU64, path::PathBuf, time::Duration};

use clap::{ArgAction, Parser, error::ErrorKind};
pub use options::{Format, Options, Output};
use thiserror::Error;

use crate::{
    duration,
    event::Role,
    kernel::{feature::Feature, plan::PacketChoice},
    ports::PortSet,
};

/// Shown under `--help`, not under `-h`.
const AFTER_HELP: &str = "\
Examples:
  kreset-trace
      Say who resets connections to port 9092, as seen from this host.
  kreset-trace --port 9092,9094-9096 -v
      More ports; under each event what the verdict rests on.
  kreset-trace --format json --output /var/log/kreset.json --summary 1m
      One JSON object a line, for a log shipper.
  kreset-trace --duration 10m --count 1
      Wait up to ten minutes for the first event.

Exit codes:
  0  ended as asked: a signal, --duration or --count, or the reader went away
  1  failed while running, such as a full disk under --output
  2  the command line is wrong; nothing was started
  3  cannot start here: a privilege or something of the kernel is missing";

/// Says who reset a Kafka connection, and why.
///
/// Watches the kernel reset TCP connections on Kafka's ports, on a broker's
/// host or a client's, and says for each reset who sent it, how old and how
/// idle the connection was, why it happened, how sure that is, and what to
/// change.
#[derive(Debug, Parser)]
#[command(
    name = "kreset-trace",
    bin_name = "kreset-trace",
    version, after_long_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    /// Ports of the brokers, such as 9092,9094-9096
    ///
    /// The end of a connection that has one of these ports is the broker.
    /// May be given more than once.
    #[arg(long, value_name = "LIST", default_value = "9092", value_parser = str::parse::<PortSet>)]
    port: Vec<PortSet>,

    /// Form of the output
    ///
    /// `text` is for people and may change; `json` is one object a line and
    /// a stable contract.
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Append to this file instead of standard output
    ///
    /// `-` is standard output.
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,

    /// End after this time, such as 30s, 10m or 1h30m
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    duration: Option<Duration>,

    /// End after this many events
    ///
    /// Counts the resets, closes and timeouts that are shown.
    #[arg(long, value_name = "N", value_parser = count)]
    count: Option<NonZeroU64>,

    /// Show only connections in which this host is the client or the broker
    #[arg(long, value_enum, default_value_t)]
    role: RoleChoice,

    /// Trace only this network namespace, by name or path
    ///
    /// A name is one of `ip netns list`; a path is such as
    /// /proc/1234/ns/net. Without it, all namespaces are traced.
    #[arg(long, value_name = "NAME|PATH")]
    netns: Option<String>,

    /// The brokers' connections.max.idle.ms
    ///
    /// Tells a broker that closes idle connections from a device that
    /// forgets them.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    broker_max_idle: Duration,

    /// How to see packets: their TTLs and first bytes
    ///
    /// `auto` takes the cheapest way that this kernel allows. `off` costs
    /// least, and verdicts are less certain.
    #[arg(long, value_name = "SOURCE", default_value = "auto", value_parser = str::parse::<PacketChoice>)]
    packet_evidence: PacketChoice,

    /// Refuse to start without this feature
    ///
    /// A feature that this kernel does not allow is otherwise left out and
    /// named in the first event. May be given more than once.
    #[arg(long, value_name = "FEATURE", value_parser = str::parse::<Feature>)]
    require: Vec<Feature>,

    /// Also print the counts so far at this interval
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    summary: Option<Duration>,

    /// Also keep the kernel's records in this file, so that they can be judged
    /// again
    #[arg(long, value_name = "PATH")]
    record: Option<PathBuf>,

    /// Also show everyday teardown: health checks, late data
    #[arg(long)]
    all: bool,

    /// Show what each verdict rests on; twice: log the kernel side's decisions
    ///
    /// Under each event of text output; JSON always has all of it.
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
}

/// `--role`, where `any` is a choice too.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum RoleChoice {
    Client,
    Broker,
    #[default]
    Any,
}

impl From<RoleChoice> for Option<Role> {
    fn from(choice: RoleChoice) -> Self {
        match choice {
            RoleChoice::Client => Some(Role::Client),
            RoleChoice::Broker => Some(Role::Broker),
            RoleChoice::Any => None,
        }
    }
}

fn count(text: &str) -> Result<NonZeroU64, &'static str> {
    text.parse()
        .map_err(|_not_one| "a count is a whole number, 1 or more")
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Trace.
    Run(Box<Options>),
    /// Print this and end: the help or the version.
    Print(String),
}

/// A command line that was refused: one sentence for standard error, to end
/// with [`Exit::Usage`](crate::exit::Exit::Usage).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{sentence} (see kreset-trace --help)")]
pub struct UsageError {
    sentence: String,
}

impl UsageError {
    /// A refusal for a reason that only showed after parsing.
    #[must_use]
    pub fn new(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
        }
    }
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// When something in it is unknown, missing or out of range.
pub fn parse<I, T>(arguments: I) -> Result<Command, UsageError>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => Ok(Command::Run(Box::new(Options::from(arguments)))),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Command::Print(error.to_string()))
            }
            _ => Err(UsageError {
                sentence: sentence(&error),
            }),
        },
    }
}

/// Clap's report as one sentence: what is wrong and what would be right,
/// without the usage block.
fn sentence(error: &clap::Error) -> String {
    let report = error.to_string();
    let report = report.strip_prefix("error: ").unwrap_or(&report);
    let mut sentence = String::new();
    for line in report.lines().map(str::trim) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        if line.is_empty() {
            continue;
        }
        if let Some(tip) = line.strip_prefix("tip: ") {
            sentence.push_str("; ");
            sentence.push_str(tip);
        } else {
            if !sentence.is_empty() {
                sentence.push(' ');
            }
            sentence.push_str(line);
        }
    }
    sentence
}

#[cfg(test)]
mod tests;
