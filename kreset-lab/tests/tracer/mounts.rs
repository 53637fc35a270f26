//! The tracer where a mount is missing that hosts usually have, as in containers.

use std::process::Command;

use kreset_lab::{Lab, Side, Stop};
use serde_json::Value;

use crate::{
    control_group::ControlGroup,
    privileges::Program,
    traced::{Traced, refused, tracer},
};

/// Runs `command` in mounts of its own, after the shell's `script` has changed them.
fn in_mounts(options: &[&str], script: &str, command: &Command) -> Command {
    let mut inside = Command::new("unshare");
    inside
        .args(["--mount", "--propagation", "private"])
        .args(options)
        .args(["sh", "-ec", &format!("{script}\nexec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args());
    inside
}

fn tracing() -> Command {
    let mut command = Command::new(tracer());
    command.args(["--format", "json", "--port", "17714", "--duration", "1m"]);
    command
}

/// What `start` says is degraded for `reason`, with its remedy.
fn degraded(start: &Value, reason: &str) -> Vec<(String, String)> {
    let text = |it: &Value, field: &str| it[field].as_str().expect("a text").to_owned();
    let all = start["degraded"].as_array().expect("a list");
    all.iter()
        .filter(|it| text(it, "reason").contains(reason))
        .map(|it| (text(it, "feature"), text(it, "remedy")))
        .collect()
}

/// Which features say so depends on whether the kernel lets programs hook functions.
fn assert_told(start: &Value, reason: &str, remedy: &str) {
    let found = degraded(start, reason);
    for feature in ["cgroup", "first-bytes", "survived-silences"] {
        assert!(found.iter().any(|(name, _)| name == feature), "{start}");
    }
    if start["packet_evidence"] != "fentry" {
        let told = found.iter().any(|(name, _)| name == "packet-evidence");
        assert!(told, "{start}");
    }
    for (feature, with) in found {
        assert!(with.contains(remedy), "{feature}: {with}");
    }
}

#[test]
fn without_a_cgroup_mount_packets_are_missing_and_told() {
    let command = in_mounts(&[], "umount --lazy --all --types cgroup2", &tracing());
    let traced = Traced::spawn(command);
    assert_ne!(traced.start["packet_evidence"], "cgroup_skb");
    assert_told(
        &traced.start,
        "no cgroup v2 hierarchy is mounted",
        "mount one, in a container the host's /sys/fs/cgroup",
    );
}

/// What a runtime mounts of its own where the host's hierarchy is not asked for, with version 2.
#[test]
fn the_control_group_of_a_container_is_not_taken_for_the_host() {
    let group = ControlGroup::new("kreset-mounts");
    let place = tempfile::tempdir().expect("a directory");
    let script = format!(
        "umount --lazy --all --types cgroup2\nmount -t cgroup2 none {}",
        place.path().display()
    );
    let inside = in_mounts(&["--cgroup"], &script, &tracing());
    // A namespace's root is the group that its first process is in.
    let enter = format!(
        "echo $$ > {}/cgroup.procs\nexec \"$0\" \"$@\"",
        group.path().display()
    );
    let mut command = Command::new("sh");
    command
        .args(["-ec", &enter])
        .arg(inside.get_program())
        .args(inside.get_args());
    let traced = Traced::spawn(command);
    assert_told(
        &traced.start,
        "has the control groups of this container alone",
        "mount the host's /sys/fs/cgroup in the container",
    );
    drop(traced);
    drop(group);
}

/// Neither is needed: tracepoints come from BTF, and a connection's process from the kernel.
#[test]
fn without_tracefs_and_the_processes_of_others_nothing_is_missing() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let client = lab.network().host(Side::Client).name().to_owned();
    let program = Program::new();
    let mut command = program.command(&["bpf", "perfmon", "net_admin"]);
    command.args(["--format", "json", "--all", "--duration", "1m"]);
    command.args(["--netns", &client]);
    let script = "umount --lazy --all --types tracefs\numount --lazy --all --types debugfs\n\
                  mount -t proc -o hidepid=invisible proc /proc";
    let mut traced = Traced::spawn(in_mounts(&[], script, &command));
    let start = &traced.start;
    assert_eq!(start["packet_evidence"], "cgroup_skb", "{start}");
    assert_eq!(start["degraded"], serde_json::json!([]), "{start}");

    refused(&lab, 1);
    let event = traced.next(|event| event["type"] == "reset");
    assert_eq!(event["cause"], "refused", "{event}");
    let own = i64::from(std::process::id());
    assert_eq!(event["process"]["pid"], own, "{event}");
}
