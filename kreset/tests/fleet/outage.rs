//! Receivers that are down for long, while 1,000 events come a second.
//! `KRESET_OUTAGE` is how many seconds: `cargo xtask fleet-test --outage`.

use std::{
    env, fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    endure::{Receiver as _, distinct, quoted, write_config},
    process::{Agent, free_port, soon},
    rsyslog::{Input, Rsyslog},
};

const RATE: u64 = 1_000;
const SPOOL_SIZE: u64 = 64 << 20;
const EVERY: Duration = Duration::from_secs(10);
/// What a process may grow by that holds nothing back in memory.
const GROWTH_KB: u64 = 4_096;

/// Resident memory of a process, kB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

/// Bytes of all files of a directory.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

#[test]
fn outage_takes_no_memory_and_ends_in_order() {
    let seconds: u64 = env::var("KRESET_OUTAGE")
        .expect("KRESET_OUTAGE is how many seconds; cargo xtask fleet-test --outage sets it")
        .parse()
        .unwrap();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("events.json");
    let mut rsyslog = Rsyslog::new(Input::Tcp(free_port()));
    let dead = free_port();
    let config = write_config(
        directory.path(),
        &format!(
            "spool-size = \"{}M\"\n{}name = \"siem\"\n\
             [[sink]]\ntype = \"otlp\"\nname = \"dead\"\nendpoint = \"http://127.0.0.1:{dead}/v1/logs\"\n\
             [[sink]]\ntype = \"file\"\npath = {}\nevents = [\"loss\"]\n",
            SPOOL_SIZE >> 20,
            rsyslog.sink(),
            quoted(&file)
        ),
    );
    let agent = Agent::start(&config, 0, seconds * RATE, RATE);
    let began = Instant::now();
    let mut series = Vec::new();
    println!("| s | events | RSS kB | spools MB |\n|---|---|---|---|");
    // A machine that is busy takes longer over as many events.
    while agent.kept() < seconds * RATE {
        thread::sleep(EVERY);
        let spools = ["siem.syslog", "dead.otlp"]
            .map(|name| size(&directory.path().join("spool").join(name)));
        let kb = resident(agent.id());
        for bytes in spools {
            assert!(bytes <= SPOOL_SIZE, "a spool has {bytes} bytes");
        }
        println!(
            "| {} | {} | {kb} | {} + {} |",
            began.elapsed().as_secs(),
            agent.kept(),
            spools[0] / 1_000_000,
            spools[1] / 1_000_000,
        );
        series.push(kb);
    }
    let took = began.elapsed();
    // The spools are full for most of the time: from then on nothing grows.
    let (early, late) = series.split_at(series.len() / 4);
    let (early, late) = (early.iter().max().unwrap(), late.iter().max().unwrap());
    assert!(*late <= early + GROWTH_KB, "{early} kB, then {late} kB");

    // The end of the outage: what the spool holds arrives, in order, and what
    // it does not is reported.
    rsyslog.start();
    let losses = || -> Vec<Value> {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        // Some of the sent events are sample losses.
        lines
            .filter(|it: &Value| it["source"] != "sample")
            .collect()
    };
    let lost = |sink: &str| -> u64 {
        let losses = losses();
        let of_sink = losses.iter().filter(|it| it["source"] == sink);
        of_sink.map(|it| it["lost"].as_u64().unwrap()).sum()
    };
    // Its own `loss` events are among what is sent, beside the numbered ones.
    let arrived = || {
        let all =
            rsyslog.events_where(|event| event["type"] != "loss" || event["source"] == "sample");
        distinct(&all).len() as u64
    };
    soon("all that is left arrives", Duration::from_mins(3), || {
        let missing = seconds * RATE - arrived();
        missing <= lost("sink siem")
    });
    let (arrived, missing) = (arrived(), seconds * RATE - arrived());
    let reported = lost("sink siem");
    // A few of those lost are the agent's own `loss` events.
    assert!(
        reported >= missing && reported - missing <= losses().len() as u64,
        "{reported}, {missing}"
    );
    assert!(
        seconds < 120 || (reported > 0 && lost("sink dead") > 0),
        "the spool was full"
    );
    println!(
        "{} events in {} s: RSS at most {early} kB in the first quarter, {late} kB after; \
         {arrived} arrived, {missing} missing, {reported} reported as lost by `loss` events",
        seconds * RATE,
        took.as_secs(),
    );
    drop(agent);
}
