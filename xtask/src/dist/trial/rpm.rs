//! The rpm, installed by rpm itself into a database of its own. Debian's packages are unknown to
//! it, hence `--nodeps`.

use anyhow::Result;

use super::{
    CONFIG, Subject, change_configuration, ensure, inside, keeps_configuration, machine::Machine,
    seen,
};
use crate::{dist::package, wait::await_that};

pub(super) fn run(machine: &Machine, subject: &Subject<'_>) -> Result<()> {
    let file = inside(subject.rpm);
    let list = machine.run(&["rpm", "--query", "--list", "--package", &file])?;
    for path in [
        "/usr/bin/kreset-trace",
        "/usr/lib/systemd/system/kreset.service",
        "/usr/share/man/man1/kreset-trace.1.gz",
        "/usr/share/bash-completion/completions/kreset-trace",
        CONFIG,
        "/etc/logrotate.d/kreset",
    ] {
        ensure(list.lines().any(|line| line == path), || {
            format!("{path} is not in the rpm:\n{list}")
        })?;
    }
    let configuration = machine.run(&["rpm", "--query", "--configfiles", "--package", &file])?;
    ensure(configuration.contains(CONFIG), || {
        format!("{CONFIG} is not among the configuration files of the rpm: {configuration}")
    })?;

    machine.run(&["rpm", "--install", "--nodeps", &file])?;
    let differs = machine.says(&["rpm", "--verify", "--nodeps", "kreset"]);
    ensure(differs.is_empty(), || {
        format!("installed and packaged differ:\n{differs}")
    })?;
    machine.run(&["systemctl", "start", "kreset.service"])?;
    ensure(machine.property("ActiveState") == "active", || {
        "it does not run".to_owned()
    })?;

    change_configuration(machine)?;
    let pid = machine.property("MainPID");
    let later = package::make(
        subject.tools,
        subject.tree,
        "999.1",
        package::Kind::Rpm,
        subject.work,
        subject.epoch,
    )?;
    super::bring(machine, &later)?;
    machine.run(&["rpm", "--upgrade", "--nodeps", &inside(&later)])?;
    await_that("the upgrade runs the new version", || {
        machine.property("ActiveState") == "active" && machine.property("MainPID") != pid
    })?;
    keeps_configuration(machine)?;

    machine.run(&["rpm", "--erase", "kreset"])?;
    ensure(
        machine.says(&["pgrep", "kreset-trace"]).is_empty()
            && machine
                .run(&["test", "-e", "/usr/bin/kreset-trace"])
                .is_err(),
        || "it is there without its package".to_owned(),
    )?;
    machine.run(&["test", "-e", &format!("{CONFIG}.rpmsave")])?;
    seen("rpm: installs, verifies, runs, is upgraded with its changed configuration, and erased");
    // rpm leaves users and recorded events behind. The next trial starts without them.
    machine.run(&[
        "sh",
        "-ec",
        "userdel kreset; rm -rf /etc/kreset /var/l??/kreset",
    ])?;
    Ok(())
}
