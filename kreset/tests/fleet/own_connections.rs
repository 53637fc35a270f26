//! An agent that watches the port of the very broker that its sink writes to.
//! As root: `cargo xtask fleet-test` sees to it.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    endure::{Receiver as _, quoted, write_config},
    kafka::Broker,
    process::{Program, soon},
};

const LONGEST: Duration = Duration::from_mins(1);

/// Events so far, as the agent's file has them.
fn events(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn own_connections_are_never_reported() {
    let mut broker = Broker::new();
    broker.start();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("events.json");
    let sinks = format!(
        "port = {}\nsummary = \"1s\"\nall = true\nevent-limit = 0\n{}[[sink]]\ntype = \"file\"\npath = {}\n",
        broker.port,
        broker.sink(),
        quoted(&file)
    );
    let config = write_config(directory.path(), &sinks);
    let mut command = Command::new(env!("CARGO_BIN_EXE_kreset-trace"));
    command.arg("--config").arg(&config).stderr(Stdio::null());
    let agent = Program::start(&mut command);
    let count = |kind: &str| events(&file).iter().filter(|it| it["type"] == kind).count();
    soon("the agent traces", LONGEST, || count("start") == 1);
    let waiting = || {
        let summaries = events(&file);
        let last = summaries.iter().rev().find(|it| it["type"] == "summary");
        last?["coverage"]["sinks"]["kafka"]["waiting"].as_u64()
    };
    soon("the broker takes events", LONGEST, || {
        let last = events(&file);
        last.iter()
            .any(|it| it["coverage"]["sinks"]["kafka"]["delivered"].as_u64() > Some(0))
    });

    // Its connections are reset with the broker's death, and refused from
    // then on, while summaries keep coming that it has to deliver.
    broker.kill();
    let summaries = count("summary");
    soon("it has tried often", LONGEST, || {
        count("summary") > summaries + 15
    });
    // A refused connection of another process is reported.
    TcpStream::connect(("127.0.0.1", broker.port)).unwrap_err();
    soon("others are reported", LONGEST, || count("reset") > 0);
    broker.start();
    soon("all is delivered", LONGEST, || waiting() == Some(0));

    let agent_pid = agent.id();
    let me = std::process::id();
    let mut others = 0;
    for event in events(&file) {
        let kind = event["type"].as_str().unwrap();
        // What this test does may well be sustained.
        if matches!(kind, "start" | "summary" | "loss" | "alert") {
            continue;
        }
        let process = &event["process"];
        assert_ne!(process["pid"], agent_pid, "{event}");
        others += u32::from(process["pid"] == me);
    }
    assert!(others > 0, "what this test did is reported");
    // Seen from the broker's end, there are as many refusals as from the
    // clients': this test's.
    let refusals = events(&file)
        .iter()
        .filter(|it| it["cause"] == "refused" && it["role"] == "broker")
        .count();
    println!("own connections: 0 findings; others: {others}, from the other end {refusals}");
    let clients: Vec<_> = events(&file)
        .into_iter()
        .filter(|it| it["process"]["pid"] == me)
        .map(|it| it["client"].clone())
        .collect();
    for event in events(&file).iter().filter(|it| it["cause"] == "refused") {
        assert!(clients.contains(&event["client"]), "{event}");
    }
}
