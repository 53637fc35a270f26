//! `cargo xtask build`

use std::path::PathBuf;

use anyhow::Result;

use crate::{arch::Architecture, exec, setup};

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

/// Builds a program that needs no other file, with `options` of cargo's, and returns its path.
pub(crate) fn static_program(
    architecture: Architecture,
    package: &str,
    program: &str,
    options: &[&str],
) -> Result<PathBuf> {
    let target = architecture.static_target();
    let mut cargo = exec::cargo();
    architecture.prepare(&mut cargo);
    exec::run(
        cargo
            .args(["build", "--release", "--locked", "--target", target])
            .args(["--package", package, "--bin", program])
            .args(options),
    )?;
    Ok(exec::target_directory()?
        .join(target)
        .join("release")
        .join(program))
}
