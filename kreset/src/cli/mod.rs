//! The command line of kreset-trace.
//!
//! `Arguments` is what may be written, [`Options`] what it means: only the
//! latter leaves this module.

mod arguments;
pub mod check;
pub mod completions;
pub mod correlate;
pub mod explain;
mod file;
pub mod probe;
mod read;
mod report;
pub mod sample;
pub mod show;
pub mod top;

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, error::ErrorKind};
use thiserror::Error;

use self::arguments::Arguments;
use crate::{
    capture::viewpoint::Ends,
    config::ConfigError,
    run::options::Options,
    sink::{Format, View},
};

/// Shown under `--help`, not under `-h`.
const AFTER_HELP: &str = "\
Examples:
  kreset-trace
      Show who resets connections to port 9092, as seen from this host.
  kreset-trace --port 9092,9094-9096 -v
      More ports, with the evidence under each event.
  kreset-trace --format json --output /var/log/kreset.json --summary 1m
      One JSON object per line, for a log shipper.
  kreset-trace --duration 10m --count 1
      Wait up to ten minutes for the first event.
  kreset-trace --config /etc/kreset/kreset.toml
      Run as an agent: several sinks, each remote one with a spool for when its
      receiver is down.
  kreset-trace check --config /etc/kreset/kreset.toml
      Check that file, and what this host supports.
  kreset-trace read client.pcap
      The same for a packet capture, without privileges.
  kreset-trace probe broker-3:9092
      Find the idle timer on the path to a broker, and the device that has it.
  kreset-trace show --since 1h /var/log/kreset.json
      Show the stored events of the last hour.
  kreset-trace top --port 9092
      Watch resets on a screen.
  kreset-trace explain reset_on_send
      Explain a cause, and how to check it.
  kreset-trace correlate client.jsonl broker.jsonl
      Say what the events of two hosts together prove.

Exit codes:
  0  ended as requested: by a signal, --duration or --count, or because the
     reader closed the output
  1  failed while running, such as a full disk under --output
  2  invalid command line or configuration; nothing was started
  3  cannot start on this host: a privilege or a kernel feature is missing
  4  probe found something with an idle timer";

/// Show who reset a Kafka connection, and why
///
/// Traces resets of TCP connections on Kafka's ports in the kernel, on a
/// broker's host or a client's. Reports for each reset who sent it, how old
/// and how idle the connection was, the cause with its confidence, and what
/// to change.
#[derive(Debug, Parser)]
#[command(
    name = "kreset-trace",
    bin_name = "kreset-trace",
    version, after_long_help = AFTER_HELP, max_term_width = 100,
    args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct CommandLine {
    #[command(flatten)]
    run: Arguments,
    #[command(subcommand)]
    subcommand: Option<Subcommand>,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    /// Check a configuration and what this host supports
    ///
    /// Checks every option and key as a run would, and lists each feature
    /// with whether this kernel and these privileges support it, or why not.
    /// Attaches nothing and connects to nothing.
    Check(Arguments),
    /// Send sample events through the sinks
    ///
    /// Use it to test delivery to a SIEM. The events have addresses reserved
    /// for documentation. --count sets their number (100 by default). Needs
    /// no privileges.
    #[command(mut_arg("count", |count| count
        .help("Send this many events; 100 by default")
        .long_help(None)))]
    Sample(SampleArguments),
    /// Measure after which silence a device resets connections, and find it
    ///
    /// Keeps connections to a broker silent for rising times and then uses
    /// each once, so that a device with an idle timer shows itself, its timer
    /// and its hop. Needs no privileges.
    #[command(after_long_help = probe::AFTER_HELP)]
    Probe(probe::Arguments),
    /// Show stored events as they would be shown live
    ///
    /// Reads the JSON lines that --format json writes. Needs no privileges.
    Show(show::Arguments),
    /// Explain a verdict, a cause, a piece of evidence or an exit code
    ///
    /// With the commands to check it with; with --event those of a stored finding, filled
    /// with its values. Needs no privileges.
    Explain(explain::Arguments),
    /// Watch what happens now, on a screen
    ///
    /// One row for each culprit, client, broker and cause, with its count, rate, median
    /// silence and confidence. Takes the options of a run.
    Top(top::Arguments),
    /// Print a completion script for a shell
    ///
    /// Such as: kreset-trace completions bash > /etc/bash_completion.d/kreset-trace
    Completions(completions::Arguments),
    /// Judge a packet capture or a recording
    ///
    /// Reads files of tcpdump and Wireshark, and those of --record, and writes events as
    /// a run does. Needs no privileges.
    #[command(after_long_help = read::AFTER_HELP, mut_args(hide_live))]
    Read(Box<read::ReadArguments>),
    /// Make a report of events, recordings and captures
    ///
    /// One page with plots for browsers, Markdown, or text: what is going on, where,
    /// and what to change. Needs no privileges.
    #[command(after_long_help = report::AFTER_HELP)]
    Report(report::ReportArguments),
    /// Say what the events of several hosts together prove
    ///
    /// Joins what the client's host and the broker's host reported of the
    /// same connection, even through NAT. If neither sent the RST and both
    /// were watching, something between them did. Needs no privileges.
    #[command(after_long_help = correlate::AFTER_HELP)]
    Correlate(correlate::Arguments),
}

/// Hides what means nothing for a file.
fn hide_live(argument: clap::Arg) -> clap::Arg {
    let hidden = read::LIVE_ONLY.contains(&argument.get_id().as_str());
    argument.hide(hidden)
}

#[derive(Debug, Args)]
struct SampleArguments {
    #[command(flatten)]
    run: Arguments,

    /// Number of the first event
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: u64,

    /// Events per second; 0 for as many as the sinks accept
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    rate: u64,

    /// Print each event that was accepted, as "kept N", on standard output
    #[arg(long)]
    progress: bool,
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Trace.
    Run(Box<Options>),
    /// Check the configuration and this host.
    Check(Box<Options>),
    /// Send sample events.
    Sample(Box<Sample>),
    /// Measure on purpose.
    Probe(Box<Probe>),
    /// Show what happens now on a screen.
    Top(Box<top::Top>),
    /// Explain a name or an event.
    Explain(Box<explain::Explain>),
    /// Show stored events.
    Show(Box<show::Show>),
    /// Judge files.
    Read(Box<Read>),
    /// Make a report.
    Report(Box<crate::report::Options>),
    /// Join the events of several hosts.
    Correlate(Box<correlate::Correlate>),
    /// Print this and end: the help or the version.
    Print(String),
}

/// Which files are to be judged, and how.
#[derive(Clone, Debug)]
pub struct Read {
    /// The ports, the filter, the sinks, and everything else of a run.
    pub options: Options,
    /// The files; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Where captures were taken, if the operator says so.
    pub seen_from: Option<Ends>,
}

/// What is to be measured, and how it is to be shown.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The measurement.
    pub options: crate::probe::options::Options,
    /// Form of the output.
    pub format: Format,
    /// What text shows.
    pub view: View,
}

/// Which sample events are to be sent.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The sinks, and everything else of a run.
    pub options: Options,
    /// Number of the first event.
    pub first: u64,
    /// Events per second; 0 for as many as possible.
    pub rate: u64,
    /// Whether to print which events were accepted.
    pub progress: bool,
}

/// Why a command line was refused: one sentence for standard error. Exit with [`Exit::Usage`](crate::util::exit::Exit::Usage).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{sentence}")]
pub struct UsageError {
    sentence: String,
}

impl UsageError {
    /// An error that was found after parsing.
    #[must_use]
    pub fn new(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
        }
    }
}

/// The command line as clap knows it, for manuals and completions.
#[must_use]
pub fn command() -> clap::Command {
    CommandLine::command()
}

/// Reads the command line of this process again, with its file as it is now.
///
/// # Errors
/// When something in the file is unknown, missing or out of range.
pub fn read_again() -> Result<Options, String> {
    match parse(std::env::args_os()) {
        Ok(Command::Run(options)) => Ok(*options),
        Ok(_) => Err("the command line is not that of a run".to_owned()),
        Err(error) => Err(error.to_string()),
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
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    match interpret(arguments) {
        Ok(command) => Ok(command),
        Err(Refused::Clap(error)) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Command::Print(error.to_string()))
            }
            _ => Err(UsageError::new(format!(
                "{} (see kreset-trace --help)",
                sentence(&error)
            ))),
        },
        Err(Refused::File(error)) => Err(UsageError::new(error.to_string())),
    }
}

/// Why a command line or its file was refused.
enum Refused {
    Clap(Box<clap::Error>),
    File(ConfigError),
}

impl From<clap::Error> for Refused {
    fn from(error: clap::Error) -> Self {
        Self::Clap(Box::new(error))
    }
}

impl From<ConfigError> for Refused {
    fn from(error: ConfigError) -> Self {
        Self::File(error)
    }
}

fn interpret(arguments: Vec<OsString>) -> Result<Command, Refused> {
    let matches = CommandLine::command().try_get_matches_from(&arguments)?;
    let (arguments, file) = match file::of(&matches)? {
        Some(mut file) => (file.prepend(arguments, &matches)?, Some(file)),
        None => (arguments, None),
    };
    let matches = CommandLine::command().try_get_matches_from(arguments)?;
    let line = CommandLine::from_arg_matches(&matches)?;
    let options = |run: Arguments| run.into_options(file.map(file::File::into_sinks));
    Ok(match line.subcommand {
        None => Command::Run(Box::new(options(line.run))),
        Some(Subcommand::Check(run)) => Command::Check(Box::new(options(run))),
        Some(Subcommand::Correlate(correlate)) => {
            Command::Correlate(Box::new(correlate.into_wanted()))
        }
        Some(Subcommand::Probe(probe)) => Command::Probe(Box::new(Probe {
            format: probe.format,
            view: probe.view(),
            options: probe.options(),
        })),
        Some(Subcommand::Show(show)) => Command::Show(Box::new(show.into_show())),
        Some(Subcommand::Explain(wanted)) => Command::Explain(Box::new(wanted.into_explain())),
        Some(Subcommand::Top(wanted)) => Command::Top(Box::new(wanted.into_top())),
        Some(Subcommand::Completions(wanted)) => Command::Print(wanted.script()),
        Some(Subcommand::Report(report)) => Command::Report(Box::new(report.options())),
        Some(Subcommand::Read(read)) => Command::Read(Box::new(Read {
            options: Options {
                broker_logs: read.broker_log,
                client_logs: read.client_log,
                ..options(read.run)
            },
            files: read.files,
            seen_from: read.seen_from.map(Ends::from),
        })),
        Some(Subcommand::Sample(sample)) => Command::Sample(Box::new(Sample {
            options: options(sample.run),
            first: sample.first,
            rate: sample.rate,
            progress: sample.progress,
        })),
    })
}

/// Clap's report as one sentence, without the usage block.
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
