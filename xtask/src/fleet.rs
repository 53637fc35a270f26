//! `cargo xtask fleet-test`

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{
    exec,
    setup::{self, Program, receivers},
    simulate,
};

/// Receivers that Debian has; `cargo xtask test` delivers to them too.
pub(crate) const PACKAGES: [Program; 2] = [("rsyslogd", "rsyslog"), ("prometheus", "prometheus")];

/// The test that needs root, and those that take long.
const OWN_CONNECTIONS: &str = "own_connections";
const COLLECTOR: &str = "collector";
const OUTAGE: &str = "outage";
const CORRELATE: &str = "correlate";

/// Which receivers.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Test only with an OpenTelemetry Collector, whose first build takes minutes
    #[arg(long)]
    collector: bool,
    /// Keep receivers down for ten minutes, and measure the agent's memory
    #[arg(long)]
    outage: bool,
    /// How many seconds an outage lasts
    #[arg(long, value_name = "S", default_value_t = 600, requires = "outage")]
    seconds: u32,
    /// Let `ClickHouse` and Flink correlate a simulated fleet, and compare with `kreset-trace
    /// correlate`; their first installation takes minutes
    #[arg(long)]
    correlate: bool,
    /// With 1,000 hosts and a million events
    #[arg(long, requires = "correlate")]
    million: bool,
    /// What the simulated fleet is drawn from
    #[arg(long, value_name = "N", default_value_t = 1, requires = "correlate")]
    seed: u64,
}

/// Tests delivery against real receivers.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    // OpenSSL, for librdkafka, is configured by Perl.
    let programs = [&PACKAGES[..], &setup::LIBRDKAFKA, &[("perl", "perl")]].concat();
    setup::run_with(setup::Purpose::Kafka, &programs)?;
    if arguments.collector {
        let collector = receivers::collector()?;
        return exec::run(
            tests(&["--nocapture", &format!("{COLLECTOR}::")]).env("KRESET_COLLECTOR", collector),
        );
    }
    if arguments.outage {
        return exec::run(
            tests(&["--nocapture", &format!("{OUTAGE}::")])
                .env("KRESET_OUTAGE", arguments.seconds.to_string()),
        );
    }
    let libs = exec::target_directory()?.join("kafka/libs");
    if arguments.correlate {
        let input = simulated(arguments)?;
        return exec::run(
            tests(&[
                "--nocapture",
                "--test-threads",
                "1",
                &format!("{CORRELATE}::"),
            ])
            .env("KRESET_KAFKA_LIBS", &libs)
            .env("KRESET_CORRELATE_HOME", receivers::engines()?)
            .env("KRESET_CORRELATE_INPUT", input),
        );
    }
    let slow = [OWN_CONNECTIONS, COLLECTOR, OUTAGE, CORRELATE].map(|name| format!("{name}::"));
    let mut words = vec!["--nocapture", "--test-threads", "1"];
    words.extend(slow.iter().flat_map(|name| ["--skip", name]));
    exec::run(
        tests(&words)
            .env("KRESET_KAFKA_LIBS", &libs)
            .env("KRESET_OPENSEARCH_LIBS", receivers::opensearch()?),
    )?;
    let runner = exec::as_root(&[("KRESET_KAFKA_LIBS", libs.as_os_str())])?;
    let mut command = exec::cargo();
    command.arg("--config").arg(exec::runner(&runner)?);
    exec::run(with_tests(
        &mut command,
        &["--nocapture", &format!("{OWN_CONNECTIONS}::")],
    ))
}

/// The events of a simulated fleet, in a file.
fn simulated(arguments: &Arguments) -> Result<PathBuf> {
    let output = exec::target_directory()?.join("simulated.jsonl");
    let (hosts, events, seconds) = if arguments.million {
        (1_000, 1_000_000, 1_800)
    } else {
        (200, 60_000, 600)
    };
    simulate::run(&simulate::Arguments {
        seed: arguments.seed,
        hosts,
        events,
        seconds,
        output: output.clone(),
    })?;
    Ok(output)
}

/// The tests with all receivers, with `words` for the test program.
fn tests(words: &[&str]) -> Command {
    let mut command = exec::cargo();
    with_tests(&mut command, words);
    command
}

fn with_tests<'a>(command: &'a mut Command, words: &[&str]) -> &'a mut Command {
    command
        .args(["test", "--locked", "--package", "kreset"])
        .args(["--features", "all-receivers", "--test", "fleet", "--"])
        .args(words)
}
