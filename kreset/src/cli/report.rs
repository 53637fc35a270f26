//! The arguments of `kreset-trace report`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::read::SeenFrom;
use crate::{
    capture::viewpoint::Ends,
    report::{Format, Options},
    run::options::Options as RunOptions,
    util::{duration, ports::PortSet},
};

pub(super) const AFTER_HELP: &str = "\
Examples:
  kreset-trace report /var/log/kreset.json --output report.html
      A page for browsers, from the events of an agent.
  kreset-trace report *.json *.pcap --format markdown
      Of several hosts, for a ticket.
  kreset-trace report client.pcap
      What a capture shows, on the terminal.";

#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    /// Events of --format json, recordings and captures; `-` is standard input
    ///
    /// Each may be compressed (.gz, .zst).
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Write to this file instead of standard output
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,

    /// Format of the report
    ///
    /// By default that of the output's name: .html, .md or .txt; `text` on standard
    /// output.
    #[arg(long, value_enum)]
    format: Option<FormatChoice>,

    /// Ports of the brokers in captures, such as 9092,9094-9096
    #[arg(long, value_name = "LIST", default_value = "9092", value_parser = str::parse::<PortSet>)]
    port: Vec<PortSet>,

    /// The brokers' connections.max.idle.ms, for captures and recordings
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    broker_max_idle: Duration,

    /// Where the captures were taken
    ///
    /// Found out from TTLs and the gaps of handshakes if not given, and printed.
    #[arg(long, value_enum, value_name = "END")]
    seen_from: Option<SeenFrom>,

    /// A broker's server.log, or journalctl's output, as evidence for captures and recordings
    ///
    /// Its times are those of this machine's time zone (TZ). May be given more than once.
    #[arg(long, value_name = "FILE")]
    broker_log: Vec<PathBuf>,

    /// A client's log, as weak evidence, for captures and recordings
    ///
    /// Lines of Kafka's Java clients and of librdkafka about the end of a connection. Times
    /// without a zone are those of this machine's (TZ). May be given more than once.
    #[arg(long, value_name = "FILE")]
    client_log: Vec<PathBuf>,
}

/// The values of `--format`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatChoice {
    /// For terminals
    Text,
    /// For tickets
    Markdown,
    /// One page for browsers
    Html,
}

impl ReportArguments {
    pub(super) fn options(self) -> Options {
        let mut ports = PortSet::empty();
        for list in &self.port {
            ports.extend(list);
        }
        let output = self.output.filter(|path| path.as_os_str() != "-");
        let format = match self.format {
            Some(FormatChoice::Text) => Format::Text,
            Some(FormatChoice::Markdown) => Format::Markdown,
            Some(FormatChoice::Html) => Format::Html,
            None => {
                let extension = output.as_deref().map(|path| {
                    path.extension()
                        .and_then(|extension| extension.to_str())
                        .unwrap_or_default()
                        .to_owned()
                });
                match extension.as_deref() {
                    None | Some("txt") => Format::Text,
                    Some("md") => Format::Markdown,
                    Some(_) => Format::Html,
                }
            }
        };
        Options {
            files: self.files,
            output,
            format,
            run: RunOptions {
                broker_logs: self.broker_log,
                client_logs: self.client_log,
                ..RunOptions::of_files(ports, self.broker_max_idle)
            },
            seen_from: self.seen_from.map(Ends::from),
        }
    }
}
