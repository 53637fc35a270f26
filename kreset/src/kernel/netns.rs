//! From what `--netns` says to the number that the kernel side filters by.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

/// Where `ip netns add` mounts namespaces; the second is the first's name of
/// before 2010, and some hosts have it as a directory of its own.
const NAMED: [&str; 2] = ["/run/netns", "/var/run/netns"];

/// `NSFS_MAGIC` of `include/uapi/linux/magic.h`.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Why there is no such network namespace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetnsError {
    /// No namespace has this name.
    #[error(
        "unknown network namespace {name:?}: see `ip netns list`, or give a path such as /proc/PID/ns/net"
    )]
    NoSuchName {
        /// The name given.
        name: String,
    },
    /// The path cannot be opened.
    #[error("cannot open network namespace {}: {source}", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The path is a file of another kind.
    #[error("{} is not a network namespace", path.display())]
    NotANamespace {
        /// The path.
        path: PathBuf,
    },
}

impl NetnsError {
    /// It may be there, and is not for this process to see.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// A network namespace that is held open.
///
/// While it is, the kernel gives its inode number to no other: records of a
/// stranger's namespace never pass for its own.
#[derive(Debug)]
pub struct Namespace {
    path: PathBuf,
    /// The namespace, from nsfs.
    file: File,
    inode: u32,
    /// Whether its end was reported.
    has_ended: bool,
}

impl Namespace {
    /// Opens the network namespace with this name or path.
    ///
    /// # Errors
    ///
    /// If there is none, if it may not be opened (`/proc/PID/ns` of another user
    /// takes `CAP_SYS_PTRACE`), or if it is something else.
    pub fn open(name_or_path: &str) -> Result<Self, NetnsError> {
        if name_or_path.contains('/') {
            open(Path::new(name_or_path))
        } else {
            named(name_or_path, &NAMED)
        }
    }

    /// Inode number; kernel: `net.ns.inum`.
    #[must_use]
    pub const fn inode(&self) -> u32 {
        self.inode
    }

    /// Its end, once: its path names it no longer. `None` while it does, or where
    /// that cannot be seen.
    pub fn take_end(&mut self) -> Option<&Path> {
        let is_its = match (std::fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(held)) => (there.dev(), there.ino()) == (held.dev(), held.ino()),
            (Err(error), _) => !matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::ENOTDIR | libc::ESRCH)
            ),
            _ => true,
        };
        let ends = !is_its && !self.has_ended;
        self.has_ended = !is_its;
        ends.then_some(self.path.as_path())
    }
}

fn named(name: &str, directories: &[&str]) -> Result<Namespace, NetnsError> {
    directories
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.is_file())
        .map_or_else(
            || {
                Err(NetnsError::NoSuchName {
                    name: name.to_owned(),
                })
            },
            |path| open(&path),
        )
}

fn open(path: &Path) -> Result<Namespace, NetnsError> {
    let cannot_open = |source| NetnsError::Open {
        path: path.to_owned(),
        source,
    };
    let not_a_namespace = || NetnsError::NotANamespace {
        path: path.to_owned(),
    };
    // Before it is opened: opening a device or a pipe may do something.
    let filesystem = rustix::fs::statfs(path).map_err(|error| cannot_open(error.into()))?;
    if u64::try_from(filesystem.f_type) != Ok(NSFS_MAGIC) {
        return Err(not_a_namespace());
    }
    let file = File::open(path).map_err(cannot_open)?;
    if !is_network(&file) {
        return Err(not_a_namespace());
    }
    let inode = file.metadata().map_err(cannot_open)?.ino();
    Ok(Namespace {
        path: path.to_owned(),
        inode: u32::try_from(inode).map_err(|_too_large| not_a_namespace())?,
        file,
        has_ended: false,
    })
}

/// Whether a namespace, opened from nsfs, is one of networks.
fn is_network(namespace: &File) -> bool {
    // SAFETY: the request takes no argument and touches no memory of ours: it
    // returns the type of the namespace (since 4.11), or -1.
    let kind = unsafe { libc::ioctl(namespace.as_raw_fd(), libc::NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWNET
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(name_or_path: &str) -> Result<u32, NetnsError> {
        Namespace::open(name_or_path).map(|it| it.inode())
    }

    #[test]
    fn a_path_gives_the_number_that_its_link_shows() {
        let link = std::fs::read_link("/proc/self/ns/net").unwrap();
        let inode = resolve("/proc/self/ns/net").unwrap();
        assert_eq!(link, Path::new(&format!("net:[{inode}]")));
    }

    #[test]
    fn a_name_is_looked_up_in_each_directory() {
        let inode = resolve("/proc/self/ns/net").unwrap();
        let named = named("net", &["/nowhere", "/proc/self/ns"]).unwrap();
        assert_eq!(named.inode(), inode);
    }

    #[test]
    fn the_end_of_one_is_reported_once() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let path = format!("/proc/{}/ns/net", child.id());
        let mut namespace = Namespace::open(&path).unwrap();
        assert_eq!(namespace.take_end(), None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(namespace.take_end(), Some(Path::new(&path)));
        assert_eq!(namespace.take_end(), None);
    }

    #[test]
    fn namespaces_of_other_kinds_and_other_files_are_refused() {
        for path in [
            "/proc/self/ns/uts",
            "/proc/self/status",
            "/dev/null",
            "/proc",
        ] {
            let answer = resolve(path);
            assert!(
                matches!(answer, Err(NetnsError::NotANamespace { .. })),
                "{path}: {answer:?}"
            );
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        for name in ["kreset-none", "", ".", ".."] {
            let answer = resolve(name);
            assert!(
                matches!(answer, Err(NetnsError::NoSuchName { .. })),
                "{name}: {answer:?}"
            );
        }
        let answer = resolve("/nowhere/net");
        assert!(matches!(answer, Err(NetnsError::Open { .. })), "{answer:?}");
    }
}
