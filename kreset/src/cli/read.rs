//! The arguments of `kreset-trace read`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::arguments::Arguments;
use crate::capture::viewpoint::Ends;

pub(super) const AFTER_HELP: &str = "\
Examples:
  kreset-trace read client.pcap -v
      Who reset the connections in a file of tcpdump, with the evidence.
  kreset-trace read client.pcap broker.pcap --format json
      Both ends: each file is a host of its own.
  ssh b3 tcpdump -i any -w - port 9092 | kreset-trace read -
      As the packets come.
  kreset-trace read trouble.records
      A recording of kreset-trace --record: the events of that run.";

/// Options of a run that mean nothing for a file.
pub(super) const LIVE_ONLY: [&str; 8] = [
    "duration",
    "netns",
    "max_connections",
    "packet_evidence",
    "require",
    "summary",
    "record",
    "drain",
];

#[derive(Debug, Args)]
pub(super) struct ReadArguments {
    /// Captures (pcap, pcapng) and recordings; `-` is standard input
    ///
    /// Each may be compressed (.gz, .zst). Files of one name that differ in the number
    /// that tcpdump or dumpcap gave them are one capture; others are hosts of their own.
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(super) run: Arguments,

    /// Where the captures were taken
    ///
    /// Found out from TTLs and the gaps of handshakes if not given, and printed.
    #[arg(long, value_enum, value_name = "END")]
    pub(super) seen_from: Option<SeenFrom>,

    /// A broker's server.log, or journalctl's output, as evidence
    ///
    /// Its times are those of this machine's time zone (TZ). May be given more than once.
    #[arg(long, value_name = "FILE")]
    pub(super) broker_log: Vec<PathBuf>,

    /// A client's log, as weak evidence
    ///
    /// Lines of Kafka's Java clients and of librdkafka about the end of a connection. Times
    /// without a zone are those of this machine's (TZ). May be given more than once.
    #[arg(long, value_name = "FILE")]
    pub(super) client_log: Vec<PathBuf>,
}

/// The values of `--seen-from`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum SeenFrom {
    /// On the host of the clients
    Client,
    /// On the host of the brokers
    Broker,
    /// On a router, a firewall or a mirror port
    Between,
}

impl From<SeenFrom> for Ends {
    fn from(choice: SeenFrom) -> Self {
        match choice {
            SeenFrom::Client => Self::Client,
            SeenFrom::Broker => Self::Broker,
            SeenFrom::Between => Self::Neither,
        }
    }
}
