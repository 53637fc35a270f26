//! `cargo xtask lint`

use anyhow::{Error, Result};
use kreset_toolchain::Tools;

use crate::{arrows, ebpf, exec, setup, workspace};

pub(crate) fn run() -> Result<()> {
    setup::run_with(setup::Purpose::KernelSide, &setup::LIBRDKAFKA)?;
    host_side()?;
    ebpf::check()?;
    kernel_side()
}

/// Checks everything but the kernel side: formatting, lints, documentation, and that no modules
/// import each other in a circle.
pub(crate) fn host_side() -> Result<()> {
    exec::run(exec::cargo().args(["fmt", "--all", "--check"]))?;
    arrows::check()?;
    // Without TLS for the Kafka sink: no line of ours depends on it, and OpenSSL builds for minutes.
    let kafka = ["kreset/kafka"];
    exec::run(workspace::cargo_with("clippy", &kafka).args([
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))?;
    exec::run(
        workspace::cargo_with("doc", &kafka)
            .env("RUSTDOCFLAGS", "--deny warnings")
            .args(["--no-deps", "--document-private-items"]),
    )
}

/// Lints the kernel side with the compiler that builds it.
///
/// Warnings do not fail: which lints a nightly knows changes from day to day.
fn kernel_side() -> Result<()> {
    let tools = Tools::find().map_err(Error::new)?;
    let clippy = tools.toolchain.directory.join("bin/cargo-clippy").is_file();
    let subcommand = if clippy { "clippy" } else { "check" };
    let target = exec::target_directory()?.join("kernel-side");
    exec::run(
        tools
            .cargo(subcommand, &exec::root()?, &target)
            .arg("--locked"),
    )
}
