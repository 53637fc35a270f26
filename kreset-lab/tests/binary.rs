//! The program `kreset-lab`, run as people run it. As root, since that is what it needs.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use kreset_lab::Stop;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

const LAB: &str = env!("CARGO_BIN_EXE_kreset-lab");
const PATIENCE: Duration = Duration::from_secs(20);

fn lab(arguments: &[&str]) -> Output {
    Command::new(LAB)
        .args(arguments)
        .output()
        .expect("the lab runs")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory that everybody can read.
fn directory() -> TempDir {
    let readable = fs::Permissions::from_mode(0o755);
    let made = tempfile::Builder::new().permissions(readable).tempdir();
    made.expect("a directory of its own")
}

/// One event of each type, as the tracer writes them.
const SAMPLES: &str = include_str!("../../kreset/golden/events.jsonl");

/// Keeps to the contract, and never reports an event.
fn silent_tracer(directory: &Path) -> String {
    let line = |kind: &str| {
        let wanted = format!(r#""type":"{kind}""#);
        let line = SAMPLES.lines().find(|line| line.contains(&wanted));
        let path = directory.join(kind);
        // The sample is of a tracer that lost some.
        let line = line
            .expect("a sample")
            .replace(r#""lost":10"#, r#""lost":0"#);
        fs::write(&path, format!("{line}\n")).expect("a file");
        path
    };
    let (start, summary) = (line("start"), line("summary"));
    let path = directory.join("tracer");
    fs::write(
        &path,
        format!(
            "#!/bin/sh\nif [ \"$1\" = correlate ]; then cat >/dev/null; exit 0; fi\n\
             trap 'cat {summary}; exit 0' TERM\ncat {start}\nwhile :; do sleep 0.01; done\n",
            start = start.display(),
            summary = summary.display(),
        ),
    )
    .expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its own");
    path.to_str().expect("a plain name").to_owned()
}

/// The namespaces of the lab that is process `pid`.
fn namespaces(pid: u32) -> Vec<PathBuf> {
    let ours = format!("kreset-lab-{pid}-");
    let Ok(all) = fs::read_dir("/run/netns") else {
        return Vec::new();
    };
    all.flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&ours))
        .map(|entry| entry.path())
        .collect()
}

fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    let waited = Stop::default().until_holds(what, PATIENCE, holds);
    waited.expect("in time");
}

#[test]
fn the_list_has_every_scenario() {
    let listed = lab(&["list"]);
    assert_eq!(code(&listed), Some(0));
    let listed = text(&listed.stdout);
    for scenario in kreset_lab::case::scenarios() {
        let (name, variant) = match scenario.name().rsplit_once('.') {
            Some((name, variant)) => (name, variant),
            None => (scenario.name(), scenario.about()),
        };
        let line = listed
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name));
        assert!(
            line.is_some_and(|line| line.contains(variant)),
            "{}",
            scenario.name()
        );
    }
}

#[test]
fn bad_usage_is_told_from_a_bad_verdict() {
    for (arguments, named) in [
        (&["run", "no_such_thing"][..], "no_such_thing"),
        (&["run", "--idle-timeout", "1.5s"], "1.5s"),
        (&["run", "--jobs", "0"], "0"),
        (&["dance"], "dance"),
    ] {
        let output = lab(arguments);
        assert_eq!(code(&output), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(named), "{arguments:?}");
    }
}

#[test]
fn without_a_tracer_it_says_how_to_get_one() {
    let output = lab(&["run", "--tracer", "/nowhere/kreset-trace"]);
    assert_eq!(code(&output), Some(3));
    let message = text(&output.stderr);
    assert!(message.contains("/nowhere/kreset-trace") && message.contains("cargo xtask build"));
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn without_kafka_it_says_how_to_get_it() {
    let output = Command::new(LAB)
        .args(["run", "--no-tracer", "--kafka"])
        .env("KRESET_KAFKA", "/nowhere")
        .output()
        .expect("it runs");
    assert_eq!(code(&output), Some(3));
    let message = text(&output.stderr);
    assert!(message.contains("cargo xtask setup --kafka"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn without_root_it_says_so() {
    let directory = directory();
    // An unprivileged user may not read the directory where cargo builds.
    let program = directory.path().join("kreset-lab");
    fs::copy(LAB, &program).expect("a copy");
    let output = Command::new(program)
        .args(["run", "--no-tracer"])
        .uid(65534)
        .gid(65534)
        .output()
        .expect("it runs");
    assert_eq!(code(&output), Some(3));
    let message = text(&output.stderr);
    assert!(
        message.contains("root") && message.lines().count() == 1,
        "{message}"
    );
}

#[test]
fn a_silent_tracer_is_right_about_noise_and_wrong_about_the_rest() {
    let directory = directory();
    let tracer = silent_tracer(directory.path());
    let right = lab(&["run", "--tracer", &tracer, "client_close_noise"]);
    assert_eq!(code(&right), Some(0), "{}", text(&right.stdout));
    let kept = directory.path().join("kept");
    let wrong = lab(&[
        "run",
        "--tracer",
        &tracer,
        "--keep",
        kept.to_str().expect("a plain name"),
        "refused.ipv4",
    ]);
    assert_eq!(code(&wrong), Some(1), "{}", text(&wrong.stdout));
    assert!(text(&wrong.stdout).contains("no event, expected handshake_phase/refused"));
    for (file, least) in [
        ("client.pcap", 24 + 16),
        ("broker.pcap", 24 + 16),
        ("client.jsonl", 20),
        ("broker.jsonl", 20),
    ] {
        let size = fs::metadata(kept.join("refused.ipv4").join(file))
            .expect("it was kept")
            .len();
        assert!(size > least, "{file} has {size} bytes");
    }
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let child = Command::new(LAB)
            .args(["run", "--no-tracer", "idle_reset_on_timer"])
            .args(["--idle-timeout", "3600"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let pid = child.id();
        wait_until("namespaces", || namespaces(pid).len() == 9);
        kill(Pid::from_raw(pid.cast_signed()), signal).expect("it lives");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(code(&output), Some(130), "{}", text(&output.stderr));
        assert_eq!(namespaces(pid), [""; 0].map(PathBuf::from));
    }
}

#[test]
fn what_a_killed_lab_left_the_next_one_removes() {
    let mut child = Command::new(LAB)
        .args(["run", "--no-tracer", "idle_reset_on_send.ipv4"])
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    let pid = child.id();
    wait_until("namespaces", || namespaces(pid).len() == 3);
    child.kill().expect("it lives");
    child.wait().expect("it is dead");
    assert_eq!(namespaces(pid).len(), 3);
    let next = lab(&["run", "--no-tracer", "refused.ipv4"]);
    assert_eq!(code(&next), Some(0), "{}", text(&next.stdout));
    assert_eq!(namespaces(pid), [""; 0].map(PathBuf::from));
}
