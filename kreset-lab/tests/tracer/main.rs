//! The tracer, run as operators run it, on real resets.

mod advice;
mod both_ends;
mod busy;
mod control_group;
mod ended;
mod forge;
mod full;
mod hostile;
mod load;
mod memory;
mod missed;
mod mounts;
mod namespace;
mod outage;
mod privileges;
mod sockets;
mod terminal;
mod traced;
mod unreachable;

use std::{
    collections::BTreeSet,
    fs::File,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use aya::programs::loaded_programs;
use kreset_lab::{Lab, Side, Stop, util::process::Observed};
use nix::sys::signal::Signal;

use crate::traced::{PATIENCE, Traced, refused, tracer};

#[test]
fn every_scenario_is_right_on_both_hosts() {
    let output = Command::new(env!("CARGO_BIN_EXE_kreset-lab"))
        .args(["run", "--further", "--tracer"])
        .arg(tracer())
        .output()
        .expect("the lab runs");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A reader that stops for a while: the ring overflows, and the difference is reported.
#[test]
fn what_does_not_fit_the_ring_is_accounted_for() {
    /// More than the ring holds.
    const RESETS: usize = 60_000;
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let mut traced = Traced::start(&["--netns", lab.network().host(Side::Broker).name()]);
    traced.signal(Signal::SIGSTOP);
    refused(&lab, RESETS);
    traced.signal(Signal::SIGCONT);
    let deadline = Instant::now() + PATIENCE;
    let (mut events, mut lost, mut ended) = (0_u64, 0_u64, false);
    while let Some(line) = traced.lines.next() {
        match line["type"].as_str() {
            Some("reset") => events += 1,
            // So many refusals are one.
            Some("incident") => {}
            Some("loss") => lost += line["lost"].as_u64().expect("a count"),
            Some("summary") => {
                assert_eq!(line["lost"].as_u64(), Some(lost));
                ended = true;
            }
            other => panic!("unexpected {other:?}"),
        }
        if events + lost == RESETS as u64 && !ended {
            traced.signal(Signal::SIGINT);
        }
        assert!(Instant::now() < deadline, "{events} events, {lost} lost");
    }
    assert!(ended && lost > 0, "{events} events, {lost} lost");
    assert_eq!(events + lost, RESETS as u64);
}

/// From one network: what is beyond the limit is counted, and an event of its own.
#[test]
fn a_storm_is_written_up_to_the_limit_and_counted_beyond_it() {
    const RESETS: u64 = 500;
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let broker = lab.network().host(Side::Broker).name().to_owned();
    let mut traced = Traced::start(&["--netns", &broker, "--event-limit", "10"]);
    refused(&lab, RESETS as usize);
    traced.signal(Signal::SIGINT);
    let (mut written, mut limited) = (0, 0);
    let summary = traced.lines.find(|line| {
        match (line["type"].as_str(), line["source"].as_str()) {
            (Some("reset"), _) => written += 1,
            (Some("loss"), Some("limiter")) => {
                limited += line["lost"].as_u64().expect("a count");
            }
            _ => {}
        }
        line["type"] == "summary"
    });
    let summary = summary.expect("a summary");
    assert_eq!(written + limited, RESETS, "{summary}");
    // The burst, and what a slow machine adds.
    assert!((10..60).contains(&written), "{written}");
    assert_eq!(summary["events"]["handshake_phase/refused"], RESETS);
}

/// Fewer than `kreset-lab crowd` takes, for the time that it takes.
#[test]
fn a_crowd_of_connections_is_found_and_judged() {
    let figures = {
        let own = Path::new(env!("CARGO_BIN_EXE_kreset-lab"));
        kreset_lab::crowd::run(&tracer(), own, 3_000, 40, &Stop::default()).expect("a lab")
    };
    assert!(figures.is_right(), "{figures:?}");
    // Nothing in the tracer's own memory is one connection's.
    assert!(
        figures.resident_with_all < figures.resident_before + 4_096,
        "{figures:?}"
    );
}

/// Ids of all programs that the kernel holds.
fn programs() -> BTreeSet<u32> {
    loaded_programs()
        .map(|program| program.expect("a program").id())
        .collect()
}

#[test]
fn killed_it_leaves_nothing_attached() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let broker = lab.network().host(Side::Broker).name().to_owned();
    let mut traced = Traced::start(&["--netns", &broker]);
    let its_own = Observed::new(traced.child.id()).program_ids();
    assert!(its_own.len() >= 3, "{its_own:?}");
    assert!(its_own.is_subset(&programs()));
    traced.signal(Signal::SIGKILL);
    traced.child.wait().expect("it ends");
    // The kernel frees them after a grace period.
    Stop::default()
        .until_holds("its programs to go", PATIENCE, || {
            its_own.is_disjoint(&programs())
        })
        .expect("they do not outlive it");
    let mut again = Traced::start(&["--netns", &broker]);
    refused(&lab, 1);
    again.next(|event| event["cause"] == "refused");
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let mut traced = Traced::start(&["--netns", lab.network().host(Side::Broker).name()]);
    traced.lines = Box::new(std::iter::empty());
    let ended = Stop::default().until("its end", PATIENCE, Duration::from_millis(20), || {
        refused(&lab, 1);
        Ok(traced.child.try_wait().expect("it can be waited for"))
    });
    let status = ended.expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_full_disk_is_told_in_one_sentence() {
    let full = File::options().write(true).open("/dev/full");
    assert!(full.is_ok(), "this system has a full device");
    let mut child = Command::new(tracer())
        .args(["--output", "/dev/full", "--duration", "5s"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tracer starts");
    let status = child.wait().expect("it ends");
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("it is piped");
    stderr.read_to_string(&mut said).expect("text");
    assert_eq!(status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("no space is left"), "{said}");
}
