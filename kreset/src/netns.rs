//! The network namespace that `--netns` names.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";

/// A network namespace, by the name that `ip netns` gave it or by the path
/// of its file, such as `/proc/1234/ns/net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netns {
    path: PathBuf,
}

impl Netns {
    /// The file that stands for the namespace.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number that the kernel knows the namespace by: `net.ns.inum`.
    ///
    /// # Errors
    /// When there is no such file, or it is not a network namespace.
    pub fn inode(&self) -> Result<u32, NetnsError> {
        let path = || self.path.clone();
        let read = |path: &Path| {
            fs::metadata(path).map_err(|source| NetnsError::Unreadable {
                path: path.to_owned(),
                source,
            })
        };
        let file = read(&self.path)?;
        // A name whose namespace is gone leaves a plain file behind, with an
        // inode number that some other namespace may have.
        if file.dev() != read(Path::new("/proc/self/ns/net"))?.dev() || !names_net(&self.path) {
            return Err(NetnsError::NotANamespace { path: path() });
        }
        u32::try_from(file.ino()).map_err(|_| NetnsError::NotANamespace { path: path() })
    }
}

/// Whether a file of the namespace file system can be one of the network:
/// all kinds of namespaces share it, and only links under /proc tell which.
fn names_net(path: &Path) -> bool {
    fs::read_link(path).map_or(true, |target| !is_other_kind(&target.to_string_lossy()))
}

fn is_other_kind(target: &str) -> bool {
    target.contains(":[") && !target.starts_with("net:[")
}

impl FromStr for Netns {
    type Err = NetnsError;

    fn from_str(text: &str) -> Result<Self, NetnsError> {
        match text {
            "" | "." | ".." => Err(NetnsError::NotAName),
            path if path.contains('/') => Ok(Self { path: path.into() }),
            name => Ok(Self {
                path: Path::new(NAMES).join(name),
            }),
        }
    }
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// Why a network namespace cannot be traced.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// Neither a name nor a path.
    #[error(
        "a network namespace is a name of `ip netns list`, or a path such as /proc/1234/ns/net"
    )]
    NotAName,
    /// Its file cannot be read.
    #[error("there is no network namespace {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A file of another kind.
    #[error("{} is not a network namespace; `ip netns list` names those that are", path.display())]
    NotANamespace {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn netns(text: &str) -> Netns {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_is_looked_up_where_ip_netns_keeps_it() {
        assert_eq!(
            netns("lab-client").path(),
            Path::new("/run/netns/lab-client")
        );
        assert_eq!(netns("/proc/1/ns/net").path(), Path::new("/proc/1/ns/net"));
        for text in ["", ".", ".."] {
            assert!(
                matches!(text.parse::<Netns>(), Err(NetnsError::NotAName)),
                "{text:?}"
            );
        }
    }

    #[test]
    fn this_process_is_in_a_namespace() {
        let link = fs::read_link("/proc/self/ns/net").unwrap();
        let inode = netns("/proc/self/ns/net").inode().unwrap();
        assert_eq!(link.to_str(), Some(format!("net:[{inode}]").as_str()));
    }

    #[test]
    fn other_files_are_refused() {
        let plain = tempfile::NamedTempFile::new().unwrap();
        for path in [plain.path().to_str().unwrap(), "/proc/self/ns/mnt"] {
            let error = netns(path).inode().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{path} is not a network namespace")),
                "{error}"
            );
        }
        let error = netns("no-such-name").inode().unwrap_err().to_string();
        assert!(
            error.starts_with("there is no network namespace /run/netns/no-such-name: "),
            "{error}"
        );
    }
}
