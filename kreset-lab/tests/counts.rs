//! Counts that hold on every machine, however slow: nothing is lost silently. Root and the tracer
//! (`KRESET_TRACE`) are needed. One test, because it moves the process into a namespace.

use std::{env, fs, path::PathBuf};

use kreset_lab::bench::{
    arena::{self, TRACED},
    document,
    part::PARTS,
    subject::{Paths, Running, Subject, count_lines},
    workload::flood::Flood,
};

/// More than the ring holds, as fast as they go.
const SEGMENTS: u32 = 100_000;

#[test]
fn every_reset_of_a_flood_is_told_or_counted_as_lost() {
    let tracer = env::var_os("KRESET_TRACE").expect("KRESET_TRACE names the tracer");
    // Threads of the test harness stay outside; this one makes all sockets and processes.
    arena::enter().expect("root may");
    let scratch = tempfile::tempdir().expect("a directory");
    let paths = Paths {
        tracer: PathBuf::from(tracer),
        scratch: scratch.path().to_owned(),
    };
    let running = Running::start(Subject::Kreset, &paths, TRACED).expect("it attaches");
    let observed = running.observed().expect("it runs");
    let maps = observed.memory().expect("it runs").maps;
    let flood = Flood {
        port: TRACED,
        count: SEGMENTS,
        rate: None,
        sources: 1_000,
    };
    flood.run().expect("segments go out");
    running.settle().expect("it works them off");
    let output = running.finish().expect("it ends in order");
    let mut lost = 0;
    let reported = count_lines(&output, |line| {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        if event["type"] == "loss" {
            lost += event["lost"].as_u64().expect("a count");
        }
        event["type"] == "reset"
    })
    .expect("its output is a file");
    assert_eq!(
        reported + lost,
        u64::from(SEGMENTS),
        "{reported} reported, {lost} lost"
    );
    let processors = std::thread::available_parallelism()
        .expect("a number")
        .get() as u64;
    let most = MOST_MAP_MEMORY + processors * OF_EACH_PROCESSOR;
    assert!(maps <= most, "maps take {maps} bytes");
}

/// Memory of all maps before sockets hold anything: the ring takes 4 MiB of it.
const MOST_MAP_MEMORY: u64 = 13 << 19;
/// What tables keep for each processor (`kreset_common::tables`).
const OF_EACH_PROCESSOR: u64 = 64 << 10;

#[test]
fn the_page_has_a_place_for_every_part() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md");
    let text = fs::read_to_string(page).expect("the page is there");
    for part in &PARTS {
        document::put(&text, part.name, "x").expect("markers");
    }
}
