//! `cargo xtask lint`

use anyhow::{Error, Result};
use kreset_toolchain::Tools;

use crate::{ebpf, exec, setup};

pub(crate) fn run() -> Result<()> {
    setup::run(setup::Purpose::Build)?;
    host_side()?;
    ebpf::check()?;
    kernel_side()
}

/// Checks what is written by hand, apart from the lints of the kernel side.
pub(crate) fn host_side() -> Result<()> {
    exec::run(exec::cargo().args(["fmt", "--all", "--check"]))?;
    exec::run(
        exec::cargo()
            // Clippy has build results of its own; building the kernel side for them takes longer
            // than all that it reads.
            .env("AYA_BUILD_SKIP", "1")
            .args(["clippy", "--workspace", "--exclude", "kreset-ebpf"])
            .args(["--all-targets", "--all-features", "--locked"])
            .args(["--", "--deny", "warnings"]),
    )?;
    exec::run(
        exec::cargo()
            .env("RUSTDOCFLAGS", "--deny warnings")
            .args(["doc", "--workspace", "--exclude", "kreset-ebpf"])
            .args(["--no-deps", "--document-private-items", "--locked"]),
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
