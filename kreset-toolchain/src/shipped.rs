//! The object that is shipped with the source, and the note of what it was built from and with.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Tools, source};

/// The shipped object, below kreset's own directory.
pub const OBJECT: &str = "bpf/kreset.o";

/// The note beside it.
pub const STAMP: &str = "bpf/kreset.stamp";

/// What the shipped object was built from and with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// [`source::hash`] of its sources.
    pub sources: String,
    /// [`source::hash_bytes`] of the object: the two files belong together.
    pub object: String,
    /// What built it.
    pub versions: Versions,
}

/// The versions of the tools that decide the bytes of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// First line of `rustc --version`.
    pub rustc: String,
    /// First line of `bpf-linker --version`.
    pub linker: String,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.rustc, self.linker)
    }
}

impl Versions {
    /// Asks the tools.
    ///
    /// # Errors
    ///
    /// When one of them does not start.
    pub fn of(tools: &Tools) -> io::Result<Self> {
        let first_line = |program: &Path| {
            let output = Command::new(program).arg("--version").output()?;
            let text = String::from_utf8_lossy(&output.stdout);
            Ok::<_, io::Error>(text.lines().next().unwrap_or_default().to_owned())
        };
        Ok(Self {
            rustc: first_line(&tools.toolchain.directory.join("bin/rustc"))?,
            linker: first_line(&tools.linker)?,
        })
    }
}

impl Stamp {
    /// Reads the note in kreset's directory.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or lacks a line.
    pub fn read(kreset: &Path) -> io::Result<Self> {
        let path = kreset.join(STAMP);
        let text = fs::read_to_string(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        Self::parse(&text).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: expected the lines of a stamp", path.display()),
            )
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
                .map(str::to_owned)
        };
        Some(Self {
            sources: value("sources")?,
            object: value("object")?,
            versions: Versions {
                rustc: value("compiler")?,
                linker: value("linker")?,
            },
        })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Written by `cargo xtask build-ebpf`.")?;
        writeln!(f, "sources: {}", self.sources)?;
        writeln!(f, "object: {}", self.object)?;
        writeln!(f, "compiler: {}", self.versions.rustc)?;
        writeln!(f, "linker: {}", self.versions.linker)
    }
}

/// Why the shipped object cannot be used.
#[derive(Debug)]
pub enum Unfit {
    /// One of its files cannot be read.
    Unreadable(io::Error),
    /// The sources have changed since.
    Stale,
    /// The object is not the one that the note describes.
    OtherObject,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "the shipped BPF object is unreadable: {error}"),
            Self::Stale => f.write_str("the shipped BPF object is older than its sources"),
            Self::OtherObject => write!(f, "{OBJECT} and {STAMP} do not belong together"),
        }
    }
}

impl std::error::Error for Unfit {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(error) => Some(error),
            Self::Stale | Self::OtherObject => None,
        }
    }
}

/// The path of the shipped object, if it was built from the present sources.
///
/// Outside of its workspace, as in a package of crates, kreset has no sources to compare with.
///
/// # Errors
///
/// Why it cannot be used.
pub fn shipped(kreset: &Path) -> Result<PathBuf, Unfit> {
    let stamp = Stamp::read(kreset).map_err(Unfit::Unreadable)?;
    if let Some(workspace) = workspace(kreset)
        && source::hash(workspace).map_err(Unfit::Unreadable)? != stamp.sources
    {
        return Err(Unfit::Stale);
    }
    let path = kreset.join(OBJECT);
    let object = fs::read(&path).map_err(Unfit::Unreadable)?;
    if source::hash_bytes(&object) != stamp.object {
        return Err(Unfit::OtherObject);
    }
    Ok(path)
}

/// The workspace of kreset's directory, if the kernel side's sources are there.
#[must_use]
pub fn workspace(kreset: &Path) -> Option<&Path> {
    kreset
        .parent()
        .filter(|workspace| workspace.join("kreset-ebpf/Cargo.toml").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back_what_it_wrote() {
        let stamp = Stamp {
            sources: "0123456789abcdef".to_owned(),
            object: "fedcba9876543210".to_owned(),
            versions: Versions {
                rustc: "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)".to_owned(),
                linker: "bpf-linker 0.13.0".to_owned(),
            },
        };
        assert_eq!(Stamp::parse(&stamp.to_string()), Some(stamp));
        assert_eq!(Stamp::parse("sources: 0\nobject: 0\n"), None);
    }
}
