//! All of docs/fleet.md, with a real rsyslog at its end: from `dpkg --install` on a host
//! that has only its configuration to an event in rsyslog's file.

use std::time::Instant;

use anyhow::Result;

use super::{Subject, inside, machine::Machine, seen};
use crate::wait::await_that;

const RECEIVED: &str = "/var/log/kreset/received.json";

pub(super) fn run(machine: &Machine, subject: &Subject<'_>) -> Result<()> {
    let rsyslog = crate::dist::read("contrib/rsyslog/10-kreset.conf")?;
    let share = machine.share();
    crate::files::write(&share.join("rsyslog.conf"), rsyslog)?;
    let sink =
        "port = \"9092\"\n\n[[sink]]\ntype = \"syslog\"\naddress = \"tcp://127.0.0.1:601\"\n";
    crate::files::write(&share.join("kreset.toml"), sink)?;
    let prepare = "install -D -m 644 /run/trial/rsyslog.conf /etc/rsyslog.d/10-kreset.conf
        install -D -m 640 /run/trial/kreset.toml /etc/kreset/kreset.toml
        systemctl restart rsyslog.service";
    machine.run(&["sh", "-ec", prepare])?;
    await_that("rsyslog listens", || {
        let connect = ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/601"];
        machine.run(&connect).is_ok()
    })?;

    let began = Instant::now();
    // As configuration management does, which writes the file before.
    machine.run(&["dpkg", "--force-confold", "--install", &inside(subject.deb)])?;
    let installed = began.elapsed();
    await_that("an event in rsyslog's file", || {
        machine.has(RECEIVED, "\"type\":\"start\"")
    })?;
    let first = began.elapsed();
    machine.refused_connection();
    await_that("a verdict in rsyslog's file", || {
        machine.has(RECEIVED, "\"cause\":\"refused\"")
    })?;
    let verdict = began.elapsed();
    machine.run(&["dpkg", "--purge", "kreset"])?;
    seen(&format!(
        "siem: from dpkg --install {:.1} s to its end, {:.1} s to the first event in rsyslog's \
         file, {:.1} s to the first verdict, its reset made once dpkg was done",
        installed.as_secs_f64(),
        first.as_secs_f64(),
        verdict.as_secs_f64()
    ));
    Ok(())
}
