//! The deb: installed, started, reloaded, stalled, upgraded, removed, purged.

use std::time::Instant;

use anyhow::{Context as _, Result};

use super::{
    CONFIG, Subject, bring, change_configuration, ensure, inside, keeps_configuration,
    machine::Machine, seen,
};
use crate::{dist::package, wait::await_that};

const EVENTS: &str = "/var/log/kreset/events.json";

pub(super) fn run(machine: &Machine, subject: &Subject<'_>) -> Result<()> {
    installed(machine, subject)?;
    confined(machine)?;
    rotated(machine)?;
    reloaded(machine)?;
    stalled(machine)?;
    stopped(machine)?;
    upgraded(machine, subject)?;
    left_off(machine, subject)?;
    purged(machine)
}

fn installed(machine: &Machine, subject: &Subject<'_>) -> Result<()> {
    let began = Instant::now();
    machine.run(&["dpkg", "--install", &inside(subject.deb)])?;
    let took = began.elapsed();
    // dpkg's start returned, and with Type=notify that means READY.
    ensure(machine.property("ActiveState") == "active", || {
        machine.journal()
    })?;
    let status = machine.property("StatusText");
    ensure(status.starts_with("watching ports 9092"), || {
        format!("its status is {status:?}")
    })?;
    ensure(
        machine.says(&["systemctl", "is-enabled", "kreset.service"]) == "enabled",
        || "it is not enabled".to_owned(),
    )?;
    machine.refused_connection();
    await_that("an event of a refused connection", || {
        machine.has(EVENTS, "\"cause\":\"refused\"")
    })?;
    machine.run(&["kreset-trace", "check", "--config", CONFIG])?;
    seen(&format!(
        "deb: dpkg --install in {:.1} s, then active: {status:?}; a refused connection is in {EVENTS}",
        took.as_secs_f64()
    ));
    Ok(())
}

fn confined(machine: &Machine) -> Result<()> {
    let pid = machine.property("MainPID");
    let status = machine.run(&["cat", &format!("/proc/{pid}/status")])?;
    let user = machine.run(&["id", "--user", "kreset"])?;
    for line in [
        format!("Uid:\t{user}\t{user}\t{user}\t{user}"),
        "CapPrm:\t0000000000000000".to_owned(),
        "CapEff:\t0000000000000000".to_owned(),
        "CapAmb:\t0000000000000000".to_owned(),
        "NoNewPrivs:\t1".to_owned(),
        "Seccomp:\t2".to_owned(),
    ] {
        let holds = status.lines().any(|it| it == line);
        ensure(holds, || format!("no {line:?} in\n{status}"))?;
    }
    let group = machine.run(&["stat", "--format", "%U:%G %a", CONFIG])?;
    ensure(group == "root:kreset 640", || format!("{CONFIG}: {group}"))?;
    let security = machine.run(&[
        "systemd-analyze",
        "security",
        "--no-pager",
        "kreset.service",
    ])?;
    let figure = security.lines().last().unwrap_or_default();
    seen(&format!(
        "deb: runs as kreset, holds no capability, is filtered; {figure}"
    ));
    Ok(())
}

fn rotated(machine: &Machine) -> Result<()> {
    machine.run(&["logrotate", "--force", "/etc/logrotate.d/kreset"])?;
    let old = format!("{EVENTS}.1");
    ensure(machine.has(&old, "\"type\":\"start\""), || {
        format!("{old} is not what was written before")
    })?;
    await_that("events go to a new file", || {
        machine.refused_connection();
        machine.has(EVENTS, "\"cause\":\"refused\"")
    })?;
    ensure(!machine.has(EVENTS, "\"type\":\"start\""), || {
        "it was restarted".to_owned()
    })?;
    seen("deb: logrotate moves the file, and the agent writes on in a new one");
    Ok(())
}

fn reloaded(machine: &Machine) -> Result<()> {
    let pid = machine.property("MainPID");
    machine.run(&["systemctl", "reload", "kreset.service"])?;
    machine.await_state("active")?;
    await_that("the configuration is read again", || {
        machine.journal().contains("configuration reloaded")
    })?;
    ensure(machine.property("MainPID") == pid, || {
        "a reload restarted it".to_owned()
    })?;
    seen("deb: systemctl reload reads the configuration again");
    Ok(())
}

/// A stalled agent is killed by the watchdog and restarted.
fn stalled(machine: &Machine) -> Result<()> {
    let quick = "mkdir -p /run/systemd/system/kreset.service.d
        printf '[Service]\\nWatchdogSec=3s\\nRestartSec=100ms\\n' \
            > /run/systemd/system/kreset.service.d/quick.conf
        systemctl daemon-reload
        systemctl restart kreset.service";
    machine.run(&["sh", "-ec", quick])?;
    let pid = machine.property("MainPID");
    // Two of its intervals: an agent that did not notify it would have been killed.
    let began = Instant::now();
    await_that("the watchdog has had its time", || {
        began.elapsed().as_secs() >= 7
    })?;
    ensure(machine.property("MainPID") == pid, || {
        format!("the watchdog was not fed:\n{}", machine.journal())
    })?;
    machine.run(&["kill", "-STOP", &pid])?;
    await_that("the watchdog restarts it", || {
        machine.property("NRestarts") == "1" && machine.property("ActiveState") == "active"
    })?;
    await_that("systemd says that the watchdog was not fed", || {
        machine.journal().contains("Watchdog timeout")
    })
    .with_context(|| machine.journal())?;
    machine.run(&[
        "sh",
        "-ec",
        "rm -r /run/systemd/system/kreset.service.d; systemctl daemon-reload",
    ])?;
    seen("deb: fed, the watchdog (3 s here) lets it run; stalled, it is killed and restarted");
    Ok(())
}

fn stopped(machine: &Machine) -> Result<()> {
    machine.run(&["systemctl", "restart", "kreset.service"])?;
    machine.run(&["systemctl", "stop", "kreset.service"])?;
    let (state, result) = (machine.property("ActiveState"), machine.property("Result"));
    ensure(
        (state.as_str(), result.as_str()) == ("inactive", "success"),
        || format!("it ended {state}, {result}"),
    )?;
    let last = machine.run(&["tail", "--lines=1", EVENTS])?;
    ensure(
        last.contains("\"type\":\"summary\"") && last.contains("\"end\":true"),
        || format!("its last event is {last}"),
    )?;
    machine.run(&["systemctl", "start", "kreset.service"])?;
    seen("deb: systemctl stop ends it in order, its last event is the summary");
    Ok(())
}

/// A package of a later version over this one.
fn later(machine: &Machine, subject: &Subject<'_>, version: &str) -> Result<String> {
    let package = package::make(
        subject.tools,
        subject.tree,
        version,
        package::Kind::Deb,
        subject.work,
        subject.epoch,
    )?;
    bring(machine, &package)?;
    Ok(inside(&package))
}

fn upgraded(machine: &Machine, subject: &Subject<'_>) -> Result<()> {
    let conffiles = machine.run(&[
        "dpkg-query",
        "--show",
        "--showformat=${Conffiles}",
        "kreset",
    ])?;
    for file in [CONFIG, "/etc/logrotate.d/kreset"] {
        ensure(conffiles.contains(file), || {
            format!("{file} is not a conffile: {conffiles}")
        })?;
    }
    change_configuration(machine)?;
    let pid = machine.property("MainPID");
    machine.run(&["dpkg", "--install", &later(machine, subject, "999.1")?])?;
    keeps_configuration(machine)?;
    let group = machine.run(&["stat", "--format", "%U:%G %a", CONFIG])?;
    ensure(group == "root:kreset 640", || format!("{CONFIG}: {group}"))?;
    ensure(
        machine.property("ActiveState") == "active" && machine.property("MainPID") != pid,
        || "the upgrade did not start the new version".to_owned(),
    )?;
    seen("deb: an upgrade keeps the changed configuration and runs the new version");
    Ok(())
}

/// A disabled agent stays disabled after an upgrade.
fn left_off(machine: &Machine, subject: &Subject<'_>) -> Result<()> {
    machine.run(&["systemctl", "disable", "--now", "--quiet", "kreset.service"])?;
    machine.run(&["dpkg", "--install", &later(machine, subject, "999.2")?])?;
    let enabled = machine.says(&["systemctl", "is-enabled", "kreset.service"]);
    ensure(
        enabled == "disabled" && machine.property("ActiveState") == "inactive",
        || format!("an upgrade turned it on again: {enabled}"),
    )?;
    machine.run(&["systemctl", "enable", "--now", "--quiet", "kreset.service"])?;
    seen("deb: an upgrade leaves a disabled agent off");
    Ok(())
}

fn purged(machine: &Machine) -> Result<()> {
    machine.run(&["dpkg", "--remove", "kreset"])?;
    ensure(machine.says(&["pgrep", "kreset-trace"]).is_empty(), || {
        "it runs without its package".to_owned()
    })?;
    for kept in [CONFIG, EVENTS] {
        machine.run(&["test", "-e", kept])?;
    }
    machine.run(&["dpkg", "--purge", "kreset"])?;
    let left = leftovers(machine)?;
    ensure(left.is_empty(), || format!("a purge leaves\n{left}"))?;
    for database in ["passwd", "group"] {
        ensure(
            machine.says(&["getent", database, "kreset"]).is_empty(),
            || format!("a purge leaves kreset in {database}"),
        )?;
    }
    seen("deb: remove keeps configuration and events, purge leaves no file, user or group");
    Ok(())
}

/// Files that were written and have to do with kreset, or are where no package manager, journal or
/// user database writes. What was deleted is a device there.
fn leftovers(machine: &Machine) -> Result<String> {
    let written = machine.run(&[
        "find",
        "/run/upper",
        "-mindepth",
        "1",
        "!",
        "-type",
        "c",
        "-printf",
        "/%P\\n",
    ])?;
    let theirs = |path: &str| {
        [
            "/etc/passwd",
            "/etc/group",
            "/etc/shadow",
            "/etc/gshadow",
            "/etc/.pwd.lock",
            "/etc/subuid",
            "/etc/subgid",
            "/etc/ld.so.cache",
            "/etc/machine-id",
            "/etc/hostname",
            "/var/cache/",
            "/var/lib/dpkg/",
            "/var/lib/logrotate/",
            "/var/lib/systemd/",
            "/var/lib/private",
            "/var/log/",
            "/var/tmp/",
            "/run/",
            "/root/",
        ]
        .iter()
        .any(|begin| path.starts_with(begin))
    };
    // A directory is there for what is in it.
    let is_directory = |path: &str| {
        let inner = format!("{path}/");
        written.lines().any(|other| other.starts_with(&inner))
            || machine.says(&["stat", "--format", "%F", path]) == "directory"
                && !path.contains("kreset")
    };
    let left: Vec<_> = written
        .lines()
        .filter(|path| path.contains("kreset") || (!theirs(path) && !is_directory(path)))
        .collect();
    Ok(left.join("\n"))
}
