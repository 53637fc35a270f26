//! `cargo xtask lint`

use std::{env, process::Command};

use anyhow::{Error, Result};
use kreset_toolchain::Tools;

use crate::{exec, setup};

pub(crate) fn run() -> Result<()> {
    setup::run(setup::Purpose::Build)?;
    host_side()?;
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
    let Tools {
        toolchain,
        linker: _,
    } = Tools::find().map_err(Error::new)?;
    let clippy = toolchain.directory.join("bin/cargo-clippy").is_file();
    let target = if cfg!(target_endian = "big") {
        "bpfeb-unknown-none"
    } else {
        "bpfel-unknown-none"
    };

    let mut command = Command::new("rustup");
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(kreset_toolchain::belongs_to_host) {
            command.env_remove(name);
        }
    }
    exec::run(
        command
            .env("RUSTC_BOOTSTRAP", "1")
            .env(
                "RUSTFLAGS",
                format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH),
            )
            .args(["run", &toolchain.name, "cargo"])
            .arg(if clippy { "clippy" } else { "check" })
            .args(["--package", "kreset-ebpf", "--locked", "--release"])
            .args(["--target", target, "-Zbuild-std=core"])
            .arg("--target-dir")
            .arg(exec::target_directory()?.join("kernel-side")),
    )
}
