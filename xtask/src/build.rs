//! `cargo xtask build`

use std::path::PathBuf;

use anyhow::Result;

use crate::{exec, setup};

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
