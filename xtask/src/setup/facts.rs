//! What is installed on this machine.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use kreset_toolchain::{LINKED_TOOLCHAIN, Rustup, TOOLCHAIN_VARIABLE, Toolchain, shipped::shipped};

use super::{Program, Purpose, kafka, step::DISTRIBUTION};
use crate::exec;

/// What the plan is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whether the kernel side has to be built.
    pub(super) kernel_side: bool,
    /// Whether rustup is installed.
    pub(super) rustup: bool,
    /// The toolchain that the user named, if any, and whether it is installed.
    pub(super) asked: Option<(String, bool)>,
    /// Whether a toolchain that can build the kernel side is installed.
    pub(super) toolchain: bool,
    /// Whether a nightly is installed, complete or not.
    pub(super) nightly: bool,
    /// Whether the distribution's own compiler could build the kernel side.
    pub(super) distribution: bool,
    /// What links the kernel side.
    pub(super) linker: Linker,
    /// The Debian packages of the programs that are missing.
    pub(super) missing: Vec<&'static str>,
    /// Whether packages can be installed: with apt, as root or with sudo.
    pub(super) apt: bool,
}

/// What is known of bpf-linker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Linker {
    /// It is installed.
    Installed,
    /// It has to be built, against the LLVM of the compiler whose output it will read.
    Missing(Option<Llvm>),
}

/// The LLVM of the toolchain that builds the kernel side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Llvm {
    /// Its major version.
    pub(super) major: u32,
    /// Where that version is installed, if it is, with what building against it takes.
    pub(super) prefix: Option<PathBuf>,
}

impl Facts {
    /// Looks at this machine, also for `programs`. Starts no process unless bpf-linker is missing.
    pub(super) fn gather(purpose: Purpose, programs: &[Program]) -> Self {
        let rustup = Rustup::from_env();
        let asked = env::var(TOOLCHAIN_VARIABLE).ok();
        let toolchain = kreset_toolchain::toolchain(&rustup, asked.as_deref()).ok();
        Self {
            kernel_side: purpose == Purpose::KernelSide || asked.is_some() || is_stale(),
            rustup: exec::find("rustup").is_some(),
            toolchain: toolchain.is_some(),
            nightly: has_nightly(),
            distribution: Toolchain {
                name: LINKED_TOOLCHAIN.to_owned(),
                directory: DISTRIBUTION.into(),
            }
            .can_build_core(),
            linker: if kreset_toolchain::linker().is_some() {
                Linker::Installed
            } else {
                Linker::Missing(toolchain.as_ref().and_then(Llvm::of))
            },
            missing: missing(
                &match purpose {
                    Purpose::KernelSide | Purpose::Build => vec![],
                    Purpose::Run => PROGRAMS.to_vec(),
                    Purpose::Kafka => [&PROGRAMS[..], &kafka::PROGRAMS].concat(),
                }
                .into_iter()
                .chain(programs.iter().copied())
                .collect::<Vec<_>>(),
            ),
            apt: has_apt(),
            asked: asked.map(|name| {
                let installed = rustup.toolchain(&name).is_some();
                (name, installed)
            }),
        }
    }
}

/// Whether the shipped object does not fit its sources, so that builds make another.
fn is_stale() -> bool {
    exec::root().is_ok_and(|root| shipped(&root.join("kreset")).is_err())
}

/// Whether packages can be installed.
pub(super) fn has_apt() -> bool {
    exec::find("apt-get").is_some() && exec::as_root(&[]).is_ok()
}

/// Whether a nightly compiler is installed, with or without components.
pub(super) fn has_nightly() -> bool {
    Rustup::from_env().toolchain("nightly").is_some()
}

/// The packages of those programs that are not installed.
pub(super) fn missing(programs: &[Program]) -> Vec<&'static str> {
    missing_packages(programs, |program| exec::find(program).is_some())
}

fn missing_packages(programs: &[Program], installed: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut packages: Vec<_> = programs
        .iter()
        .filter(|(program, _)| !installed(program))
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    packages
}

/// The programs that the lab always needs.
const PROGRAMS: [Program; 3] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
];

impl Llvm {
    fn of(toolchain: &Toolchain) -> Option<Self> {
        let output = Command::new(toolchain.directory.join("bin/rustc"))
            .arg("-vV")
            .output()
            .ok()?;
        let major = llvm_major(&String::from_utf8_lossy(&output.stdout))?;
        let asked = env::var_os("LLVM_PREFIX").map(PathBuf::from);
        let prefix = asked
            .into_iter()
            .chain(
                [
                    format!("/usr/lib/llvm-{major}"),
                    format!("/usr/lib64/llvm{major}"),
                    format!("/usr/lib/llvm{major}"),
                ]
                .map(PathBuf::from),
            )
            .find(|prefix| can_build_against(prefix));
        Some(Self { major, prefix })
    }
}

fn can_build_against(prefix: &Path) -> bool {
    prefix.join("include/llvm-c/Core.h").is_file()
}

/// The major version of LLVM in what `rustc -vV` prints.
fn llvm_major(version: &str) -> Option<u32> {
    version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?
        .split('.')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_of_a_compiler_is_in_its_version() {
        let version = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
                       binary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\n\
                       LLVM version: 22.1.8\n";
        assert_eq!(llvm_major(version), Some(22));
        assert_eq!(llvm_major("rustc 1.96.0\nbackend: cranelift\n"), None);
    }

    #[test]
    fn a_missing_program_is_named_by_its_package() {
        assert_eq!(
            missing_packages(&PROGRAMS, |program| program == "ip"),
            ["nftables", "conntrack"]
        );
        assert!(missing_packages(&PROGRAMS, |_| true).is_empty());
        // Two programs of one package.
        let packages = missing_packages(&kafka::PROGRAMS, |program| !program.starts_with("java"));
        assert_eq!(packages, ["default-jdk-headless"]);
    }
}
