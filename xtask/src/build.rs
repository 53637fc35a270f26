//! `cargo xtask build`

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{exec, setup};

/// The target whose programs need no other file: for guests without a C library, and for hosts
/// with an older one.
pub(crate) const STATIC_TARGET: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-musl"
} else {
    "x86_64-unknown-linux-musl"
};

pub(crate) fn run() -> Result<()> {
    setup::run(setup::Purpose::Build)?;
    println!("{}", tracer()?.display());
    Ok(())
}

/// Builds `kreset-trace` and returns its path.
pub(crate) fn tracer() -> Result<PathBuf> {
    release("kreset", "kreset-trace")
}

/// Builds a program of the workspace and returns its path.
pub(crate) fn release(package: &str, program: &str) -> Result<PathBuf> {
    exec::run(
        exec::cargo()
            .args(["build", "--release", "--locked"])
            .args(["--package", package, "--bin", program]),
    )?;
    Ok(exec::target_directory()?.join("release").join(program))
}

/// Whether there is a standard library for [`STATIC_TARGET`], perhaps after asking rustup for it.
pub(crate) fn has_static_target() -> bool {
    exec::run(Command::new("rustup").args(["target", "add", STATIC_TARGET])).is_ok()
}

/// Builds a program that needs no other file, with `options` of cargo's, and returns its path.
pub(crate) fn static_program(package: &str, program: &str, options: &[&str]) -> Result<PathBuf> {
    let compiler = format!("CC_{}", STATIC_TARGET.replace('-', "_"));
    exec::run(
        exec::cargo()
            // The little C that there is needs no C library: any compiler will do.
            .env(compiler, "cc")
            .args(["build", "--release", "--locked", "--target", STATIC_TARGET])
            .args(["--package", package, "--bin", program])
            .args(options),
    )
    .with_context(|| format!("is the target there? rustup target add {STATIC_TARGET}"))?;
    Ok(exec::target_directory()?
        .join(STATIC_TARGET)
        .join("release")
        .join(program))
}
