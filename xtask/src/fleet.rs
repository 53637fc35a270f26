//! `cargo xtask fleet-test`

use std::process::Command;

use anyhow::Result;

use crate::{
    exec,
    setup::{self, receivers},
};

/// Receivers that Debian has: program and package.
const PACKAGES: [(&str, &str); 2] = [("rsyslogd", "rsyslog"), ("prometheus", "prometheus")];

/// The test that needs root, and those that take long.
const OWN_CONNECTIONS: &str = "own_connections";
const COLLECTOR: &str = "collector";
const OUTAGE: &str = "outage";

/// Which receivers.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Test with an OpenTelemetry Collector alone, which is built for minutes the first time
    #[arg(long)]
    collector: bool,
    /// Hold receivers down for ten minutes, and watch the agent's memory
    #[arg(long)]
    outage: bool,
    /// How many seconds an outage is
    #[arg(long, value_name = "S", default_value_t = 600, requires = "outage")]
    seconds: u32,
}

/// Tests delivery against real receivers.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::run(setup::Purpose::Kafka)?;
    setup::programs(&PACKAGES)?;
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

/// Tests delivery against the receivers that cost little to install.
pub(crate) fn light() -> Result<()> {
    setup::programs(&PACKAGES)?;
    exec::run(
        exec::cargo()
            .args(["test", "--locked", "--package", "kreset"])
            .args(["--features", "receivers", "--test", "fleet"]),
    )
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
