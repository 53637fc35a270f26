//! `cargo xtask test`

use std::process::Command;

use anyhow::Result;

use crate::{dist, ebpf, exec, fleet, lab::TRACER_VARIABLE, lint, setup, workspace};

pub(crate) fn run() -> Result<()> {
    let programs = [&fleet::PACKAGES[..], &setup::LIBRDKAFKA, &dist::CHECKERS].concat();
    setup::run_with(setup::Purpose::Kafka, &programs)?;
    lint::host_side()?;
    ebpf::check()?;
    let tests = workspace::tests()?;
    unprivileged(&tests.plain)?;
    dist::check()?;
    privileged(&tests.privileged)
}

/// Runs the tests that need no rights, those of the documentation among them.
fn unprivileged(tests: &[String]) -> Result<()> {
    exec::run(named(&mut workspace::cargo("test"), tests).args(["--lib", "--bins"]))?;
    exec::run(workspace::cargo("test").arg("--doc"))
}

/// Runs the tests with the kernel, as root.
///
/// Cargo compiles as the user who called, and runs as root what it compiled.
fn privileged(tests: &[String]) -> Result<()> {
    // With an example, cargo counts the features of tests too: all is compiled already.
    exec::run(workspace::cargo("build").args(["--bins", "--examples"]))?;
    let tracer = exec::target_directory()?.join("debug/kreset-trace");
    let runner = exec::as_root(&[(TRACER_VARIABLE, tracer.as_os_str())])?;
    let mut command = workspace::cargo("test");
    command.arg("--config").arg(exec::runner(&runner)?);
    exec::run(named(&mut command, tests))
}

/// Selects test programs by name.
fn named<'a>(command: &'a mut Command, tests: &[String]) -> &'a mut Command {
    command.args(tests.iter().flat_map(|name| ["--test", name]))
}
