//! The object of the kernel side: whether the shipped one fits its sources ([`shipped`]), the tools
//! that build another ([`Tools`]), and how they do it ([`compile`]).
//!
//! kreset's build script and `cargo xtask` have to agree on all of this, so both ask here. Tools
//! are found by their files, without starting a process: the question is asked before every build,
//! and `rustup` alone takes longer than an up-to-date build does.

pub mod compile;
mod linker;
mod rustup;
pub mod shipped;
pub mod source;

use std::{error, fmt, path::PathBuf};

pub use linker::linker;
pub use rustup::{Rustup, Toolchain};

/// Names the rustup toolchain to build the kernel side with, in place of the one found. kreset's
/// build script then does not use the shipped object.
pub const TOOLCHAIN_VARIABLE: &str = "KRESET_BPF_TOOLCHAIN";

/// The toolchains that are looked for, best first.
///
/// Nightly comes first because building `core` is its documented use. `bpf` is what `cargo xtask
/// setup` calls the distribution's own compiler after linking it into rustup.
pub const TOOLCHAINS: [&str; 2] = ["nightly", LINKED_TOOLCHAIN];

/// The name under which `cargo xtask setup` links the distribution's compiler into rustup.
pub const LINKED_TOOLCHAIN: &str = "bpf";

/// Whether an environment variable is about the build for the host.
///
/// Cargo, rustup, clippy and rust-analyzer set such variables for the processes that they start.
/// They must not reach the build of the kernel side, by another compiler for another target.
#[must_use]
pub fn belongs_to_host(variable: &str) -> bool {
    // `RUSTC` also matches the wrappers that clippy and rust-analyzer set.
    const PREFIXES: [&str; 4] = ["CARGO_BUILD_RUSTC", "CARGO_PROFILE_", "RUSTC", "RUSTDOC"];
    matches!(
        variable,
        "CARGO" | "CARGO_ENCODED_RUSTFLAGS" | "RUSTFLAGS" | "RUSTUP_TOOLCHAIN"
    ) || PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
}

/// The tools that build the kernel side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// The Rust toolchain.
    pub toolchain: Toolchain,
    /// The path of `bpf-linker`.
    pub linker: PathBuf,
}

impl Tools {
    /// Finds the tools in the environment of this process.
    ///
    /// # Errors
    ///
    /// The first one that is missing.
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

/// The tool that a build of the kernel side lacks. Its message says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No toolchain that can build `core`.
    Toolchain,
    /// The toolchain named by [`TOOLCHAIN_VARIABLE`] is not installed or cannot build `core`.
    AskedToolchain(String),
    /// No `bpf-linker`.
    Linker,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toolchain => write!(
                f,
                "no installed Rust toolchain can build the kernel side: run `cargo xtask setup`"
            ),
            Self::AskedToolchain(name) => write!(
                f,
                "the Rust toolchain `{name}` named by {TOOLCHAIN_VARIABLE} is not installed or \
                 lacks rust-src: run `cargo xtask setup`"
            ),
            Self::Linker => write!(
                f,
                "bpf-linker, which links the kernel side, is not installed: run `cargo xtask setup`"
            ),
        }
    }
}

impl error::Error for Missing {}
