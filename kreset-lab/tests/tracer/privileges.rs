//! The tracer as a user of its own, with capabilities and without.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use kreset_lab::{Lab, Side, Stop};
use tempfile::TempDir;

use crate::traced::{Traced, refused, tracer};

/// `nobody`.
const USER: &str = "65534";

/// A copy of the tracer that everybody may run, in a directory of its own.
pub(crate) struct Program(TempDir);

impl Program {
    pub(crate) fn new() -> Self {
        let everybody = || fs::Permissions::from_mode(0o755);
        let made = tempfile::Builder::new().permissions(everybody()).tempdir();
        let program = Self(made.expect("a directory"));
        fs::copy(tracer(), program.path()).expect("a copy");
        fs::set_permissions(program.path(), everybody()).expect("its mode");
        program
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("kreset-trace")
    }

    /// As a user of its own, with these capabilities and no other.
    pub(crate) fn command(&self, capabilities: &[&str]) -> Command {
        let mut held = "-all".to_owned();
        for capability in capabilities {
            held.push_str(",+");
            held.push_str(capability);
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", USER, "--regid", USER, "--clear-groups"])
            .args([
                "--inh-caps",
                &held,
                "--ambient-caps",
                &held,
                "--bounding-set",
                &held,
            ])
            .arg(self.path());
        command
    }
}

/// A field of `/proc/PID/status`.
fn status(process: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
    value.expect("the field").to_owned()
}

#[test]
fn a_user_with_three_capabilities_sees_all_and_keeps_none() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let program = Program::new();
    let mut command = program.command(&["bpf", "perfmon", "net_admin"]);
    let client = lab.network().host(Side::Client);
    command.args([
        "--format",
        "json",
        "--all",
        "--duration",
        "1m",
        "--netns",
        client.name(),
    ]);
    let mut traced = Traced::spawn(command);
    assert_eq!(
        traced.start["packet_evidence"], "cgroup_skb",
        "{}",
        traced.start
    );
    assert_eq!(
        traced.start["degraded"],
        serde_json::json!([]),
        "{}",
        traced.start
    );

    refused(&lab, 1);
    let event = traced.next(|event| event["type"] == "reset");
    assert_eq!(event["cause"], "refused", "{event}");
    let own = i64::from(std::process::id());
    assert_eq!(event["process"]["pid"], own, "{event}");

    let process = traced.child.id();
    assert_eq!(status(process, "Uid"), [USER; 4].join("\t"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let held = status(process, set);
        // Without CAP_SETPCAP the bounding set stays, and no_new_privs makes it worth nothing.
        let left = if set == "CapBnd" {
            "000000c000001000"
        } else {
            "0000000000000000"
        };
        assert_eq!(held, left, "{set}");
    }
    assert_eq!(status(process, "NoNewPrivs"), "1");
    assert_eq!(status(process, "Seccomp"), "2");
}

#[test]
fn without_net_admin_packets_are_missing_and_told() {
    let program = Program::new();
    let mut command = program.command(&["bpf", "perfmon"]);
    command.args(["--format", "json", "--port", "17713", "--duration", "1m"]);
    let traced = Traced::spawn(command);
    let start = &traced.start;
    assert_ne!(start["packet_evidence"], "cgroup_skb", "{start}");
    let reported = start["degraded"]
        .as_array()
        .expect("a list")
        .iter()
        .any(|it| {
            it["reason"]
                .as_str()
                .is_some_and(|why| why.contains("CAP_NET_ADMIN"))
        });
    assert!(reported, "{start}");
}

/// Fails unless the tracer ends with one sentence, which has `words`.
#[track_caller]
fn is_refused(command: &mut Command, words: &str) {
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{command:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{command:?}: {said}");
    assert!(said.contains(words), "{command:?}: {said}");
}

#[test]
fn one_capability_alone_is_refused_in_one_sentence() {
    let program = Program::new();
    for held in [
        &[][..],
        &["bpf"],
        &["perfmon"],
        &["net_admin"],
        &["sys_ptrace"],
    ] {
        let mut command = program.command(held);
        is_refused(command.args(["--duration", "1s"]), "CAP_BPF");
    }
}

/// Root of a rootless container has every capability there, and BPF looks at none of them.
#[test]
fn root_of_a_user_namespace_is_refused_in_one_sentence() {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user"])
        .arg(tracer())
        .args(["--port", "17715", "--duration", "1s"]);
    is_refused(&mut command, "in a user namespace");
}
