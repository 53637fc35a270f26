//! Reads rustup's directory.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The toolchains that rustup knows.
#[derive(Clone, Debug)]
pub struct Rustup {
    toolchains: PathBuf,
}

impl Rustup {
    /// The rustup of this process's environment.
    #[must_use]
    pub fn from_env() -> Self {
        let home = env::var_os("RUSTUP_HOME")
            .map(PathBuf::from)
            .or_else(|| env::home_dir().map(|home| home.join(".rustup")))
            .unwrap_or_default();
        Self::at(&home)
    }

    /// The rustup whose home directory is `home`.
    #[must_use]
    pub fn at(home: &Path) -> Self {
        Self {
            toolchains: home.join("toolchains"),
        }
    }

    /// Finds an installed or linked toolchain by its name.
    ///
    /// The host triple may be left out of the name, as on rustup's own command line.
    #[must_use]
    pub fn toolchain(&self, name: &str) -> Option<Toolchain> {
        fs::read_dir(&self.toolchains)
            .ok()?
            .flatten()
            .find(|entry| {
                entry
                    .file_name()
                    .to_str()
                    .is_some_and(|directory| is_named(directory, name))
            })
            .map(|entry| Toolchain {
                name: name.to_owned(),
                directory: entry.path(),
            })
    }
}

/// A toolchain that rustup knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// What `rustup run` calls it.
    pub name: String,
    /// Where it is installed.
    pub directory: PathBuf,
}

impl Toolchain {
    /// Whether it has the compiler, cargo, and the source of `core`.
    #[must_use]
    pub fn can_build_core(&self) -> bool {
        // The lock file is what `-Zbuild-std` itself looks for.
        [
            "bin/rustc",
            "bin/cargo",
            "lib/rustlib/src/rust/library/Cargo.lock",
        ]
        .into_iter()
        .all(|file| self.directory.join(file).is_file())
    }
}

/// Whether the toolchain in `directory` has this `name`.
///
/// What follows the name has to be a host triple: `nightly-2026-05-20-x86_64-unknown-linux-gnu` is
/// not `nightly`.
fn is_named(directory: &str, name: &str) -> bool {
    let Some(rest) = directory.strip_prefix(name) else {
        return false;
    };
    let host = rest.strip_prefix('-');
    rest.is_empty() || host.is_some_and(|host| host.starts_with(|c: char| c.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_with_or_without_the_host() {
        assert!(is_named("bpf", "bpf"));
        assert!(is_named("nightly-x86_64-unknown-linux-gnu", "nightly"));
        assert!(is_named(
            "nightly-2026-05-20-aarch64-unknown-linux-gnu",
            "nightly-2026-05-20"
        ));
        assert!(is_named(
            "nightly-x86_64-unknown-linux-gnu",
            "nightly-x86_64-unknown-linux-gnu"
        ));
    }

    #[test]
    fn a_dated_or_longer_name_is_another_toolchain() {
        assert!(!is_named(
            "nightly-2026-05-20-x86_64-unknown-linux-gnu",
            "nightly"
        ));
        assert!(!is_named("bpfel", "bpf"));
        assert!(!is_named("stable-x86_64-unknown-linux-gnu", "nightly"));
    }
}
