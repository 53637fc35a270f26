//! The engines of `contrib` find what `kreset-trace correlate` finds, row by row: ClickHouse (by
//! chdb, which is its engine as a library) and Flink SQL, of the events of a simulated fleet that
//! went through a real Kafka topic.
//!
//! `KRESET_CORRELATE_INPUT` names the events, `KRESET_CORRELATE_HOME` the directory of the
//! engines; `cargo xtask fleet-test --correlate` makes both.

mod finding;
mod topic;

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use self::{
    finding::{Finding, Findings},
    topic::Topic,
};
use crate::contrib;

/// Some hosts' clocks are two minutes wrong, and lines come seconds late.
const WINDOW_S: u64 = 300;

fn variable(name: &str) -> PathBuf {
    let value = env::var_os(name);
    PathBuf::from(value.unwrap_or_else(|| panic!("cargo xtask fleet-test --correlate sets {name}")))
}

/// What an engine's driver says of its run.
struct Run {
    seconds: f64,
    peak_mb: f64,
}

/// Runs the driver of an engine, with its own Python; the last line of its output is a JSON object.
fn drive(engine: &str, arguments: &[&Path], options: &[&str]) -> (Run, Value) {
    let python = variable("KRESET_CORRELATE_HOME")
        .join(engine)
        .join("bin/python");
    let driver = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fleet/correlate")
        .join(format!("{engine}.py"));
    let output = Command::new(&python)
        .arg(driver)
        .args(arguments)
        .args(options)
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{engine}: {text}");
    let said: Value = serde_json::from_str(text.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{engine}: {error}: {text}"));
    let run = Run {
        seconds: said["seconds"].as_f64().unwrap(),
        peak_mb: said["peak_kb"].as_f64().unwrap() / 1e3,
    };
    (run, said)
}

/// What `kreset-trace correlate` finds in the input, in a file.
fn expected(input: &Path, found: &Path) -> Findings {
    let output = Command::new(env!("CARGO_BIN_EXE_kreset-trace"))
        .args(["correlate", "--format", "json", "--all", "--window"])
        .arg(format!("{WINDOW_S}s"))
        .arg(input)
        .stdout(File::create(found).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    // A simulated event that is none tests nothing.
    assert!(!said.contains("could not be used"), "{said}");
    Findings::new(found, Finding::of_event)
}

/// Compares, prints what differs and what was measured, and fails if anything differs.
fn conclude(engine: &str, run: &Run, events: usize, expected: &Findings, found: &Findings) {
    let different = expected.differences(found);
    for line in different.iter().take(20) {
        println!("{engine}: {line}");
    }
    println!(
        "{engine}: {events} events, {} findings, {} different; {:.1} s, {:.0} events/s, {:.0} MB at most",
        found.len(),
        different.len(),
        run.seconds,
        f64::from(u32::try_from(events).unwrap()) / run.seconds,
        run.peak_mb
    );
    assert!(different.is_empty(), "{engine} finds something else");
}

fn read(path: &Path) -> Findings {
    Findings::new(path, Finding::of_engine)
}

#[test]
fn the_engines_find_the_same() {
    let input = variable("KRESET_CORRELATE_INPUT");
    let directory = TempDir::new().unwrap();
    let expected = expected(&input, &directory.path().join("correlate.jsonl"));
    let topic = Topic::filled(&input);

    let found = directory.path().join("clickhouse.jsonl");
    let (run, said) = drive(
        "clickhouse",
        &[
            &contrib::path("clickhouse"),
            &contrib::path("grafana/kreset-fleet.json"),
        ],
        &[
            &topic.bootstrap(),
            &topic.events().to_string(),
            found.to_str().unwrap(),
            &WINDOW_S.to_string(),
        ],
    );
    println!("ClickHouse: {said}");
    assert_eq!(said["unusable"], 0, "{said}");
    for (title, rows) in said["panels"].as_object().unwrap() {
        assert!(rows.as_u64() > Some(0), "the panel \"{title}\" is empty");
    }
    conclude(
        "ClickHouse",
        &run,
        topic.records(),
        &expected,
        &read(&found),
    );

    let jars = variable("KRESET_CORRELATE_HOME").join("flink");
    let (run, said) = drive(
        "flink",
        &[&contrib::path("flink"), &jars],
        &[&topic.bootstrap(), &WINDOW_S.to_string()],
    );
    println!("Flink: {said}");
    let found = directory.path().join("flink.jsonl");
    topic.read_into("kreset-findings", &found);
    conclude("Flink", &run, topic.records(), &expected, &read(&found));
}
