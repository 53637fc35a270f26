//! The commands that developers and CI run on this repository, as `cargo xtask COMMAND`.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "these commands report on a terminal"
)]

mod accuracy;
mod arch;
mod arrows;
mod bench;
mod build;
mod containers;
mod dist;
mod ebpf;
mod exec;
mod files;
mod fleet;
mod fuzz;
mod kernels;
mod lab;
mod lint;
mod phases;
mod setup;
mod simulate;
mod soak;
mod test;
mod wait;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  cargo xtask setup                  install what building and testing need
  cargo xtask build                  make target/release/kreset-trace
  cargo xtask lab                    reset connections in a lab and see each explained
  cargo xtask lab --kafka            the same with real brokers and clients
  cargo xtask soak --minutes 30      random faults, and each reset accounted for at the end
  cargo xtask fuzz record            fuzz one parser of untrusted bytes
  cargo xtask test                   run all checks and tests, as CI does
  sudo target/release/kreset-trace --port 9092";

/// Builds, tests and tries out kreset.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the missing tools of the build and of the lab
    Setup {
        /// And the lab's real brokers and clients: Apache Kafka, librdkafka, kafkajs, proxies
        #[arg(long)]
        kafka: bool,
    },
    /// Build target/release/kreset-trace
    Build,
    /// Build the BPF object that is shipped in kreset/bpf, after a change of the kernel side
    BuildEbpf,
    /// Run the lints, the unit tests, and as root the privileged tests
    Test(test::Arguments),
    /// Run the lab as root
    Lab(lab::Arguments),
    /// Judge the tracer on a labelled matrix of resets, as root
    Accuracy(accuracy::Arguments),
    /// Measure what the tracer costs, as root, beside nothing and beside other tools
    Bench(bench::Arguments),
    /// Test delivery against real receivers: rsyslog, Prometheus, OTLP, OpenSearch, Kafka
    FleetTest(fleet::Arguments),
    /// Write events of a simulated fleet, drawn from recorded ones
    Simulate(simulate::Arguments),
    /// Inject random faults for a while and account for each reset, as root
    Soak(soak::Arguments),
    /// Fuzz the parsers of untrusted bytes
    Fuzz(fuzz::Arguments),
    /// Check formatting, lints and documentation
    Lint,
    /// Make packages, an image and a manifest in target/dist
    Dist(dist::Arguments),
    /// Run the image in containerd as the manifest states, and with each part of it taken away
    Containers(containers::Arguments),
    /// Boot Debian kernels and run the tracer in each
    Kernels(kernels::Arguments),
    /// Write the types of kernels that the unit tests read
    BtfExtract(kernels::types::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `main() -> Result`: that prints a backtrace if RUST_BACKTRACE is set.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Setup { kafka: false } => setup::run(setup::Purpose::Run),
        Command::Setup { kafka: true } => setup::run(setup::Purpose::Kafka),
        Command::Build => build::run(),
        Command::BuildEbpf => ebpf::run(),
        Command::Test(arguments) => test::run(&arguments),
        Command::FleetTest(arguments) => fleet::run(&arguments),
        Command::Lab(arguments) => lab::run(&arguments),
        Command::Accuracy(arguments) => accuracy::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Lint => lint::run(),
        Command::Dist(arguments) => dist::run(&arguments),
        Command::Containers(arguments) => containers::run(&arguments),
        Command::Kernels(arguments) => kernels::run(&arguments),
        Command::BtfExtract(arguments) => kernels::types::run(&arguments),
    }
}
