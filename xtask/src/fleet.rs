//! `cargo xtask fleet-test`

use std::process::Command;

use anyhow::Result;

use crate::{
    exec,
    setup::{self, Program, receivers},
};

/// Receivers that Debian has; `cargo xtask test` delivers to them too.
pub(crate) const PACKAGES: [Program; 2] = [("rsyslogd", "rsyslog"), ("prometheus", "prometheus")];

/// The test that needs root, and those that take long.
const OWN_CONNECTIONS: &str = "own_connections";
const COLLECTOR: &str = "collector";
const OUTAGE: &str = "outage";

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
    let slow = [OWN_CONNECTIONS, COLLECTOR, OUTAGE].map(|name| format!("{name}::"));
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
