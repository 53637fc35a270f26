//! What `kreset-trace read` makes of each host's packets, and of the recording of its tracer,
//! against what that tracer said as it happened. As root, with the tracer that `KRESET_TRACE`
//! names.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Where a capture cannot give the tracer's verdict, and the fact that only a kernel has.
const EXCEPTIONS: [(&str, &str, &str); 5] = [
    (
        "abort_on_overflow",
        "broker",
        "that the accept queue was full: the capture abstains, because a connection that was \
         lost right after its handshake looks the same",
    ),
    (
        "broker_killed_busy",
        "broker",
        "that the process ended while its sockets sent the RSTs",
    ),
    (
        "client_late_data_orphan",
        "client",
        "that the orphaned socket answered, rather than what was left of it in TIME_WAIT",
    ),
    (
        "older_and_silent",
        "client",
        "the capture began before the tracer, and knows more",
    ),
    (
        "older_than_tracer",
        "client",
        "the capture began before the tracer, and knows more",
    ),
];

/// Where either cause is true, so that a file may name the other one: which of thousands of
/// aborts still count as single ones depends on how fast they come, and a busy tracer gets them
/// later than the wire.
const EITHER_IS_TRUE: (&str, [&str; 2]) = ("burst", ["aborted", "shutdown"]);

fn tracer() -> PathBuf {
    env::var_os("KRESET_TRACE")
        .map(PathBuf::from)
        .expect("KRESET_TRACE names the tracer; cargo xtask test sets it")
}

/// Judges a file with the lab's options for its tracer.
fn read(file: &Path, scenario: &str, all: bool) -> Vec<Value> {
    let mut command = Command::new(tracer());
    command.arg("read").arg(file).args(["--format", "json"]);
    if all {
        command.arg("--all");
    }
    if scenario.starts_with("broker_idle_close") {
        command.args(["--broker-max-idle", "3s"]);
    }
    let output = command.output().expect("the reader runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", file.display());
    events(&String::from_utf8_lossy(&output.stdout))
}

/// The findings and alerts of lines of JSON.
fn events(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|event| {
            let kind = event["type"].as_str().unwrap_or_default();
            ["reset", "close", "timeout", "alert"].contains(&kind)
        })
        .collect()
}

/// Whether both name a cause that is true in this scenario.
fn are_both_true(scenario: &str, live: &Value, read: &Value) -> bool {
    let (of, causes) = EITHER_IS_TRUE;
    let is_true = |event: &Value| {
        let cause = event["cause"].as_str();
        cause.is_some_and(|cause| causes.contains(&cause))
    };
    scenario == of && live["verdict"] == read["verdict"] && is_true(live) && is_true(read)
}

/// What differs between a live finding and that of the capture; `None` if they are of
/// different connections.
fn difference(scenario: &str, live: &Value, read: &Value) -> Option<String> {
    let of = ["type", "direction", "community_id", "role"];
    if of.iter().any(|key| live[key] != read[key]) {
        return None;
    }
    let mut differences = Vec::new();
    let either = are_both_true(scenario, live, read);
    for key in ["verdict", "cause"] {
        if live[key] != read[key] && !either {
            differences.push(format!("{key} {} is {}", live[key], read[key]));
        }
    }
    let number = |event: &Value, key: &str| event["connection"][key].as_f64();
    let confidence = |event: &Value| event["confidence"].as_f64().unwrap_or(0.0);
    if (confidence(live) - confidence(read)).abs() > 0.1 && !either {
        differences.push(format!(
            "confidence {} is {}",
            live["confidence"], read["confidence"]
        ));
    }
    for key in ["idle_ms", "wire_idle_ms"] {
        let same = match (number(live, key), number(read, key)) {
            (Some(live), Some(read)) => (live - read).abs() <= 20.0,
            (live, read) => live == read,
        };
        if !same {
            differences.push(format!(
                "{key} {} is {}",
                live["connection"][key], read["connection"][key]
            ));
        }
    }
    Some(differences.join(", "))
}

/// Events without what is of the run that wrote them.
fn of_any_run(mut event: Value) -> Value {
    for key in ["id", "host", "source", "incident_id", "earlier", "roll"] {
        event.as_object_mut().expect("an object").remove(key);
    }
    // It is read from the process while that lives.
    if let Some(process) = event["process"].as_object_mut() {
        process.remove("executable");
    }
    event
}

#[test]
fn a_file_says_what_the_tracer_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let status = Command::new(env!("CARGO_BIN_EXE_kreset-lab"))
        .args(["run", "--further", "--tracer"])
        .arg(tracer())
        .arg("--keep")
        .arg(directory.path())
        .status()
        .expect("the lab runs");
    // Whether the tracer is right is another test's; 1 says that it was wrong somewhere.
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    let (mut compared, mut wrong) = (0, Vec::new());
    for scenario in fs::read_dir(directory.path())
        .expect("it is there")
        .flatten()
    {
        let name = scenario.file_name().to_string_lossy().into_owned();
        for side in ["client", "broker"] {
            let file = |extension: &str| scenario.path().join(format!("{side}.{extension}"));
            let Ok(said) = fs::read_to_string(file("jsonl")) else {
                continue;
            };
            let live = events(&said);
            if file("records").exists() {
                let said = |events: Vec<Value>| events.into_iter().map(of_any_run).collect();
                let live: Vec<Value> = said(live.clone());
                // The lab has the tracer show routine closes where a scenario is about them.
                let again = [false, true].map(|all| read(&file("records"), &name, all));
                if again
                    .into_iter()
                    .map(said)
                    .all(|again: Vec<Value>| again != live)
                {
                    wrong.push(format!("{name} {side}: its recording gives other events"));
                }
            }
            let captured = read(&file("pcap"), &name, true);
            for event in live
                .iter()
                .filter(|event| !matches!(event["type"].as_str(), Some("alert" | "incident")))
            {
                compared += 1;
                let found: Vec<_> = captured
                    .iter()
                    .filter_map(|read| difference(&name, event, read))
                    .collect();
                if found.iter().any(String::is_empty) {
                    continue;
                }
                let is_exception = EXCEPTIONS
                    .iter()
                    .any(|(scenario, of, _)| *scenario == name && *of == side);
                if !is_exception {
                    wrong.push(format!(
                        "{name} {side}: {}",
                        found.first().map_or("not in the capture", String::as_str)
                    ));
                }
            }
        }
    }
    assert!(compared > 40, "only {compared} events");
    assert!(wrong.is_empty(), "of {compared}:\n{}", wrong.join("\n"));
}
