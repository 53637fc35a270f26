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

/// Builds the tracer and the lab as fast as possible, and returns their paths.
///
/// They lack what no scenario uses: OTLP, and with it TLS, and the validation against the JSON
/// Schema. In cargo's development profile, so that tests and this share dependencies.
pub(crate) fn quick() -> Result<(PathBuf, PathBuf)> {
    exec::run(
        exec::cargo()
            .args([
                "build",
                "--locked",
                "--package",
                "kreset",
                "--package",
                "kreset-lab",
            ])
            .args(["--bin", "kreset-trace", "--bin", "kreset-lab"])
            .args(["--no-default-features", "--features", "kreset/metrics"]),
    )?;
    let programs = exec::target_directory()?.join("debug");
    Ok((programs.join("kreset-trace"), programs.join("kreset-lab")))
}

/// Installs the standard library for [`STATIC_TARGET`], unless it is installed.
pub(crate) fn add_static_target() -> Result<()> {
    exec::run(Command::new("rustup").args(["target", "add", STATIC_TARGET])).with_context(|| {
        format!("static programs need the target {STATIC_TARGET}, which rustup could not install")
    })
}

/// Builds a program that needs no other file, with `options` of cargo's, and returns its path.
pub(crate) fn static_program(package: &str, program: &str, options: &[&str]) -> Result<PathBuf> {
    let compiler = format!("CC_{}", STATIC_TARGET.replace('-', "_"));
    exec::run(
        exec::cargo()
            // The C sources of dependencies use no C library, so the host's compiler builds them.
            .env(compiler, "cc")
            .args(["build", "--release", "--locked", "--target", STATIC_TARGET])
            .args(["--package", package, "--bin", program])
            .args(options),
    )?;
    Ok(exec::target_directory()?
        .join(STATIC_TARGET)
        .join("release")
        .join(program))
}
