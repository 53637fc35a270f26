//! The steps that setup can take.

use std::{fmt, path::PathBuf, process::Command};

use anyhow::Result;
use kreset_toolchain::LINKED_TOOLCHAIN;

use crate::exec;

/// The version of bpf-linker to install.
pub(super) const LINKER_VERSION: &str = "0.13.0";

/// Where the distribution keeps its compiler.
pub(super) const DISTRIBUTION: &str = "/usr";

/// One thing to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Add the source of `core` to a toolchain.
    AddSource { toolchain: String },
    /// Install a toolchain, with the source of `core`.
    InstallToolchain { toolchain: String },
    /// Make the distribution's compiler known to rustup.
    LinkDistribution,
    /// Install packages of the distribution.
    InstallPackages(Vec<String>),
    /// Build bpf-linker.
    InstallLinker { llvm: u32, prefix: PathBuf },
}

impl Step {
    /// The command that takes this step.
    pub(super) fn command(&self) -> Result<Command> {
        Ok(match self {
            Self::AddSource { toolchain } => {
                let mut command = Command::new("rustup");
                command.args(["component", "add", "rust-src", "--toolchain", toolchain]);
                command
            }
            Self::InstallToolchain { toolchain } => {
                let mut command = Command::new("rustup");
                command
                    .args(["toolchain", "install", toolchain])
                    .args(["--profile", "minimal", "--component", "rust-src"])
                    .arg("--no-self-update");
                command
            }
            Self::LinkDistribution => {
                let mut command = Command::new("rustup");
                command.args(["toolchain", "link", LINKED_TOOLCHAIN, DISTRIBUTION]);
                command
            }
            Self::InstallPackages(packages) => {
                let mut command = apt_get()?;
                command
                    .args(["install", "--yes", "--no-install-recommends"])
                    .args(packages);
                command
            }
            Self::InstallLinker { llvm, prefix } => {
                let mut command = exec::cargo();
                command
                    .env("LLVM_PREFIX", prefix)
                    .args(["install", "bpf-linker", "--version", LINKER_VERSION])
                    .args(["--locked", "--no-default-features"])
                    .args(["--features", &format!("llvm-{llvm}")]);
                command
            }
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddSource { toolchain } => {
                write!(
                    f,
                    "adding the source of `core` to the toolchain {toolchain}"
                )
            }
            Self::InstallToolchain { toolchain } => {
                write!(f, "installing the toolchain {toolchain}")
            }
            Self::LinkDistribution => write!(
                f,
                "linking the compiler in {DISTRIBUTION} into rustup as {LINKED_TOOLCHAIN}"
            ),
            Self::InstallPackages(packages) => write!(f, "installing {}", packages.join(", ")),
            Self::InstallLinker { llvm, prefix: _ } => write!(
                f,
                "building bpf-linker {LINKER_VERSION} for LLVM {llvm} (about a minute)"
            ),
        }
    }
}

/// apt-get as root, without questions.
pub(super) fn apt_get() -> Result<Command> {
    let mut command = exec::as_root(&[("DEBIAN_FRONTEND", "noninteractive".as_ref())])?;
    command.arg("apt-get");
    Ok(command)
}
