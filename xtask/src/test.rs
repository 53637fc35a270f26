//! `cargo xtask test`

use anyhow::Result;

use crate::{build, dist, ebpf, exec, fleet, lab::TRACER_VARIABLE, lint, setup};

pub(crate) fn run() -> Result<()> {
    setup::run(setup::Purpose::Kafka)?;
    lint::host_side()?;
    ebpf::check()?;
    unprivileged()?;
    dist::check()?;
    fleet::light()?;
    privileged()
}

/// Tests all that runs on this machine without rights.
fn unprivileged() -> Result<()> {
    exec::run(exec::cargo().args(["test", "--workspace", "--locked"]))
}

/// Tests with the kernel, as root.
///
/// Cargo compiles as the user who called and hands to root what it compiled.
fn privileged() -> Result<()> {
    let tracer = build::tracer()?;
    let runner = exec::as_root(&[(TRACER_VARIABLE, tracer.as_os_str())])?;
    exec::run(
        exec::cargo()
            .arg("--config")
            .arg(exec::runner(&runner)?)
            .args(["test", "--locked"])
            .args(["--package", "kreset-lab"])
            .args(["--features", "privileged"])
            // All integration tests. That there are none is an error.
            .args(["--test", "*"]),
    )
}
