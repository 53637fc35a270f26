//! Real brokers and clients, judged on both hosts. As root, with what `cargo xtask setup --kafka`
//! installs and the tracer that `KRESET_TRACE` names.

use std::{
    fs,
    num::NonZeroUsize,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use kreset_lab::{
    Stop,
    case::{self, Scenario, Settings},
    runner,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Runs the scenarios of that name, with Java and with librdkafka.
fn run(name: &str) {
    run_each(&["java", "librdkafka"].map(|client| format!("{name}.{client}")));
}

fn run_each(names: &[String]) {
    let tracer = std::env::var_os("KRESET_TRACE").expect("KRESET_TRACE names the tracer to judge");
    let settings = Settings {
        tracer: Some(PathBuf::from(tracer)),
        idle_timeout: Duration::from_secs(3),
        scale: None,
        shell: false,
        keep: None,
        own_binary: Some(env!("CARGO_BIN_EXE_kreset-lab").into()),
    };
    let is_named = |scenario: &Scenario| names.iter().any(|name| scenario.name() == name);
    let scenarios: Vec<_> = case::scenarios().into_iter().filter(is_named).collect();
    assert_eq!(scenarios.len(), names.len(), "{names:?}");
    let one = NonZeroUsize::MIN;
    let reports = runner::run(&scenarios, one, &settings, &Stop::default(), |_| {});
    let wrong = reports.iter().filter(|report| !report.is_right());
    let details: String = wrong.map(|report| report.details().to_string()).collect();
    assert!(details.is_empty(), "{details}");
}

#[test]
fn a_device_that_resets_on_send_is_named() {
    run("device.aws-nlb");
}

#[test]
fn a_broker_that_restarts_is_named() {
    run("broker-restart-busy");
}

#[test]
fn a_broker_that_is_killed_is_named() {
    run("broker-killed-busy");
}

#[test]
fn a_client_with_tls_at_a_plaintext_listener_is_named() {
    run("tls-to-plaintext");
}

#[test]
fn a_client_without_tls_at_a_tls_listener_is_named() {
    run("plaintext-to-tls");
}

#[test]
fn both_hosts_prove_what_neither_knows() {
    run_each(&["incident".to_owned()]);
}

#[test]
fn a_rolling_restart_is_three_incidents_of_one_roll() {
    run_each(&["together.roll".to_owned()]);
}

#[test]
fn ends_that_have_one_cause_are_one_incident_and_everyday_ones_none() {
    run_each(&["timer", "deploy-failover", "everyday"].map(|name| format!("together.{name}")));
}

#[test]
fn clients_that_give_up_on_a_silent_broker_are_one_incident_and_other_waits_none() {
    run_each(&["suspended", "full-listener", "waiting"].map(|name| format!("together.{name}")));
}

#[test]
fn a_listener_that_is_drained_and_one_client_that_fails_are_incidents() {
    run_each(&["drained", "logins", "handshakes"].map(|name| format!("together.{name}")));
}

#[test]
fn what_a_broker_is_short_of_is_named() {
    run_each(&["queue", "files", "cpu"].map(|what| format!("load-{what}.librdkafka")));
}

#[test]
fn a_broker_that_ends_for_want_of_disk_or_on_request_is_named() {
    run_each(&["disk-full.librdkafka", "sigterm.java"].map(|end| format!("ended-{end}")));
}

#[test]
fn a_probe_leaves_no_trace_at_real_listeners() {
    run_each(&["plaintext", "tls", "sasl"].map(|name| format!("probe-listener.{name}")));
}

#[test]
fn a_probe_finds_a_device_before_a_real_broker() {
    run_each(&["aws-nlb", "gcp-nat", "f5-fastl4"].map(|name| format!("probe-device.{name}")));
}

#[test]
fn a_probe_finds_a_proxy_before_a_real_broker() {
    run_each(&["haproxy", "nginx-stream"].map(|name| format!("probe-device.{name}")));
}

/// The lab, in the middle of a silence of an hour, with a broker and a client running.
fn lab_at_work() -> Child {
    let child = Command::new(env!("CARGO_BIN_EXE_kreset-lab"))
        .args(["run", "--no-tracer", "device.aws-nlb.java"])
        .args(["--idle-timeout", "60m"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    // A broker and a client, each with a file of the lab's or settings of a client on its command
    // line; the client is started when the broker serves.
    wait_until("a broker and a client", || {
        descendants(child.id()).len() == 2
    });
    child
}

/// Command lines of the programs that the lab with this pid has started, living or orphaned.
fn descendants(lab: u32) -> Vec<String> {
    let leash = format!("KRESET_LAB={lab}");
    let processes = fs::read_dir("/proc")
        .expect("there are processes")
        .flatten();
    processes
        .filter_map(|process| {
            let environment = fs::read(process.path().join("environ")).ok()?;
            let is_ours = environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == leash.as_bytes());
            let command = fs::read_to_string(process.path().join("cmdline")).ok()?;
            // What has ended and was not waited for yet has no command line.
            (is_ours && !command.is_empty()).then_some(command)
        })
        .collect()
}

fn leftovers(lab: u32) -> Vec<PathBuf> {
    let ours = format!("kreset-lab-{lab}-");
    ["/run/netns", "/tmp"]
        .into_iter()
        .flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&ours))
        .map(|entry| entry.path())
        .collect()
}

fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    let waited = Stop::default().until_holds(what, Duration::from_mins(2), holds);
    waited.expect("in time");
}

#[test]
fn ctrl_c_leaves_no_broker_no_client_and_no_network_behind() {
    let mut lab = lab_at_work();
    let pid = lab.id();
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGINT).expect("it lives");
    let status = lab.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert_eq!(descendants(pid), [""; 0]);
    assert_eq!(leftovers(pid), [""; 0].map(PathBuf::from));
}

#[test]
fn brokers_and_clients_end_when_the_lab_is_killed() {
    let mut lab = lab_at_work();
    let pid = lab.id();
    // Asked while it lives: once it is dead, any lab that starts removes them, those of the tests
    // beside this one too.
    assert!(!leftovers(pid).is_empty());
    lab.kill().expect("it lives");
    lab.wait().expect("it is dead");
    wait_until("its programs to end", || descendants(pid).is_empty());
    let next = Command::new(env!("CARGO_BIN_EXE_kreset-lab"))
        .args(["run", "--no-tracer", "refused.ipv4"])
        .output()
        .expect("it runs");
    assert!(next.status.success());
    assert_eq!(leftovers(pid), [""; 0].map(PathBuf::from));
}
