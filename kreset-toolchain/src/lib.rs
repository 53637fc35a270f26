//! Finds what the kernel side is built with: a Rust toolchain that can build `core` for the BPF
//! target, and `bpf-linker`.
//!
//! The build scripts and `cargo xtask setup` have to agree on what is there, so both ask here.
//! Everything is decided from files, without starting a process: the question comes before every
//! build, and `rustup` alone takes longer than an up-to-date build does.

mod linker;
mod rustup;

use std::{error, fmt, path::PathBuf};

pub use linker::linker;
pub use rustup::{Rustup, Toolchain};

/// Names the rustup toolchain to build the kernel side with, in place of the one found.
pub const TOOLCHAIN_VARIABLE: &str = "KRESET_BPF_TOOLCHAIN";

/// The toolchains that are looked for, best first.
///
/// Nightly comes first because building `core` is its documented use. `bpf` is what `cargo xtask
/// setup` calls the distribution's own compiler after linking it into rustup.
pub const TOOLCHAINS: [&str; 2] = ["nightly", LINKED_TOOLCHAIN];

/// The name under which `cargo xtask setup` links the distribution's compiler into rustup.
pub const LINKED_TOOLCHAIN: &str = "bpf";

/// Says whether an environment variable is about the build for the host.
///
/// Cargo, rustup, clippy and rust-analyzer set such variables for all that they start. They must
/// not reach the build of the kernel side, which another compiler does for another target.
#[must_use]
pub fn belongs_to_host(variable: &str) -> bool {
    // `RUSTC` also stands for the wrappers that clippy and rust-analyzer put before it.
    const PREFIXES: [&str; 4] = ["CARGO_BUILD_RUSTC", "CARGO_PROFILE_", "RUSTC", "RUSTDOC"];
    matches!(
        variable,
        "CARGO" | "CARGO_ENCODED_RUSTFLAGS" | "RUSTFLAGS" | "RUSTUP_TOOLCHAIN"
    ) || PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
}

/// All that building the kernel side takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// The Rust toolchain.
    pub toolchain: Toolchain,
    /// The path of `bpf-linker`.
    pub linker: PathBuf,
}

impl Tools {
    /// Finds the tools that the environment of this process offers.
    ///
    /// # Errors
    ///
    /// The first of them that is missing.
    pub fn find() -> Result<Self, Missing> {
        let toolchain = toolchain(
            &Rustup::from_env(),
            std::env::var(TOOLCHAIN_VARIABLE).ok().as_deref(),
        )?;
        let linker = linker().ok_or(Missing::Linker)?;
        Ok(Self { toolchain, linker })
    }
}

/// Finds the toolchain: the one `asked` for, else the first of [`TOOLCHAINS`] that is complete.
///
/// # Errors
///
/// [`Missing::Toolchain`] or [`Missing::AskedToolchain`].
pub fn toolchain(rustup: &Rustup, asked: Option<&str>) -> Result<Toolchain, Missing> {
    let complete = |name| rustup.toolchain(name).filter(Toolchain::can_build_core);
    match asked {
        Some(name) => complete(name).ok_or_else(|| Missing::AskedToolchain(name.to_owned())),
        None => TOOLCHAINS
            .into_iter()
            .find_map(complete)
            .ok_or(Missing::Toolchain),
    }
}

/// What a build of the kernel side lacks, as a sentence that ends in what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No toolchain that can build `core`.
    Toolchain,
    /// The toolchain named by [`TOOLCHAIN_VARIABLE`] is not there or cannot build `core`.
    AskedToolchain(String),
    /// No `bpf-linker`.
    Linker,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toolchain => write!(
                f,
                "no Rust toolchain here can build the kernel side; run `cargo xtask setup`"
            ),
            Self::AskedToolchain(name) => write!(
                f,
                "the Rust toolchain `{name}` named by {TOOLCHAIN_VARIABLE} is not installed or \
                 lacks rust-src; run `cargo xtask setup`"
            ),
            Self::Linker => write!(
                f,
                "bpf-linker, which links the kernel side, is not installed; run `cargo xtask setup`"
            ),
        }
    }
}

impl error::Error for Missing {}
