//! `cargo xtask lint`

use std::process::Command;

use anyhow::{Error, Result};
use kreset_toolchain::Tools;

use crate::{arch::Architecture, arrows, ebpf, exec, setup, workspace};

pub(crate) fn run() -> Result<()> {
    setup::run(setup::Purpose::KernelSide)?;
    host_side()?;
    ebpf::check()?;
    kernel_side()
}

/// Checks everything but the kernel side: formatting, lints, documentation, and that no modules
/// import each other in a circle.
pub(crate) fn host_side() -> Result<()> {
    exec::run(exec::cargo().args(["fmt", "--all", "--check"]))?;
    arrows::check()?;
    exec::run(with_kafka("clippy")?.args(["--all-targets", "--", "--deny", "warnings"]))?;
    exec::run(
        with_kafka("doc")?
            .env("RUSTDOCFLAGS", "--deny warnings")
            .args(["--no-deps", "--document-private-items"]),
    )
}

/// Cargo's `subcommand`, which links nothing, for all packages with the Kafka sink.
///
/// Without TLS for it: no line of ours depends on that. And without librdkafka, whose C builds for
/// a minute: cargo takes this configuration for what its build script would have printed ("links
/// override", The Cargo Book).
fn with_kafka(subcommand: &str) -> Result<Command> {
    let mut command = workspace::cargo_with(subcommand, &["kreset/kafka"]);
    command.arg("--config").arg(format!(
        "target.{}-unknown-linux-gnu.rdkafka.rustc-link-lib=[]",
        Architecture::native()?.name()
    ));
    Ok(command)
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
