//! Programs and libraries of Python, each set in an environment of its own.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Result;

use super::{packages, programs};
use crate::exec;

/// Makes an environment anew, with packages at pinned versions.
pub(crate) fn python(environment: &Path, pins: &[&str]) -> Result<()> {
    python3()?;
    exec::run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(environment),
    )?;
    exec::run(
        Command::new(environment.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(pins),
    )
}

/// Installs Python with its module for virtual environments, which Debian packages separately.
fn python3() -> Result<()> {
    programs(&[("python3", "python3-venv")])?;
    let mut has_venv = Command::new("python3");
    has_venv
        .args(["-c", "import ensurepip, venv"])
        .stderr(Stdio::null());
    if exec::run(&mut has_venv).is_err() {
        packages(&["python3-venv"])?;
    }
    Ok(())
}
