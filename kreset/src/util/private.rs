//! Files and directories that only this process's user can read.
//!
//! They are opened without following a symbolic link, must belong to this user, and
//! get their mode after they were opened: one that was there before may have any.

use std::{
    fs::{DirBuilder, File},
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::DirBuilderExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, Stat, fchmod, fstat, open, openat, renameat, stat,
        statat, unlinkat,
    },
    process::geteuid,
};

/// The mode of a private directory.
const DIRECTORY: Mode = Mode::RWXU;
/// The mode of a private file.
const FILE: Mode = Mode::RUSR.union(Mode::WUSR);
/// A pipe or a device must not be waited for, nor taken as a controlling terminal.
const ALWAYS: OFlags = OFlags::NOFOLLOW
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// Opens the file at `path`, empty, for writing; creates it if need be.
///
/// # Errors
///
/// If it is a symbolic link, not a regular file, or another user's.
pub fn create(path: &Path) -> io::Result<File> {
    // Not truncated before its owner is known.
    let file = open(path, ALWAYS | OFlags::WRONLY | OFlags::CREATE, FILE)?;
    let file = claim(file)?;
    file.set_len(0)?;
    Ok(file)
}

/// A directory that is held open: what its path names later does not matter.
#[derive(Debug)]
pub struct PrivateDirectory {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl PrivateDirectory {
    /// Opens the directory at `path`; creates it, and those above it, if need be.
    ///
    /// # Errors
    ///
    /// If it is a symbolic link or another user's, or if the directory that holds it
    /// belongs to neither this user nor root.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(DIRECTORY.bits());
        builder.create(path)?;
        let directory = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::DIRECTORY | OFlags::RDONLY;
        let descriptor = open(path, directory, Mode::empty())?;
        let found = fstat(&descriptor)?;
        owned(&found, &[geteuid().as_raw()])?;
        // Whoever owns the one above can put another in its place.
        let above = statat(&descriptor, "..", AtFlags::empty())?;
        owned(&above, &[geteuid().as_raw(), 0])?;
        if Mode::from_raw_mode(found.st_mode) != DIRECTORY {
            fchmod(&descriptor, DIRECTORY)?;
        }
        Ok(Self {
            path: path.to_owned(),
            descriptor,
        })
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its path still names it.
    pub fn is_in_place(&self) -> bool {
        let same = |a: Stat, b: Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        match (stat(&self.path), fstat(&self.descriptor)) {
            (Ok(there), Ok(held)) => same(there, held),
            _ => false,
        }
    }

    /// Opens the file `name` for reading.
    ///
    /// # Errors
    ///
    /// If it is not there, or as for [`create`].
    pub fn read(&self, name: &str) -> io::Result<File> {
        claim(self.openat(name, OFlags::RDONLY)?)
    }

    /// Opens the file `name` for reading and writing; creates it if need be.
    ///
    /// # Errors
    ///
    /// As for [`create`].
    pub fn write(&self, name: &str) -> io::Result<File> {
        claim(self.openat(name, OFlags::RDWR | OFlags::CREATE)?)
    }

    /// As [`Self::write`], and empties it.
    ///
    /// # Errors
    ///
    /// As for [`create`].
    pub fn create(&self, name: &str) -> io::Result<File> {
        let file = self.write(name)?;
        file.set_len(0)?;
        Ok(file)
    }

    /// Removes the file `name`.
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.descriptor, name, AtFlags::empty())?)
    }

    /// Gives the file `name` another name, in place of the file that has it.
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.descriptor, name, &self.descriptor, to)?)
    }

    /// The length of the file `name`, without opening it.
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub fn length(&self, name: &str) -> io::Result<u64> {
        let found = statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(u64::try_from(found.st_size).unwrap_or_default())
    }

    /// The names of all entries.
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.descriptor)? {
            // Others are not of this program.
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn openat(&self, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(openat(&self.descriptor, name, ALWAYS | flags, FILE)?)
    }
}

/// Takes a file that was just opened.
fn claim(file: OwnedFd) -> io::Result<File> {
    let found = fstat(&file)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    owned(&found, &[geteuid().as_raw()])?;
    if Mode::from_raw_mode(found.st_mode) != FILE {
        fchmod(file.as_fd(), FILE)?;
    }
    Ok(file.into())
}

fn owned(found: &Stat, by: &[u32]) -> io::Result<()> {
    if by.contains(&found.st_uid) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "it belongs to user {}, expected user {}",
            found.st_uid,
            geteuid().as_raw()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write as _,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use tempfile::TempDir;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_was_readable_by_others_no_longer_is() {
        let above = TempDir::new().unwrap();
        let path = above.path().join("spool/sink");
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(path.join("file"), "text").unwrap();
        fs::set_permissions(path.join("file"), fs::Permissions::from_mode(0o644)).unwrap();
        let directory = PrivateDirectory::open(&path).unwrap();
        directory.read("file").unwrap();
        directory.create("new").unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("file")), 0o600);
        assert_eq!(mode(&path.join("new")), 0o600);
        let record = above.path().join("records");
        fs::write(&record, "old and long").unwrap();
        fs::set_permissions(&record, fs::Permissions::from_mode(0o644)).unwrap();
        create(&record).unwrap().write_all(b"new").unwrap();
        assert_eq!(
            (mode(&record), fs::read(&record).unwrap()),
            (0o600, b"new".to_vec())
        );
    }

    #[test]
    fn no_link_is_followed() {
        let above = TempDir::new().unwrap();
        let victim = above.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let path = above.path().join("spool");
        fs::create_dir(&path).unwrap();
        symlink(&victim, path.join("lock")).unwrap();
        let directory = PrivateDirectory::open(&path).unwrap();
        for outcome in [
            directory.create("lock").map(drop),
            directory.read("lock").map(drop),
            create(&path.join("lock")).map(drop),
        ] {
            let error = outcome.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ELOOP), "{error}");
        }
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        let linked = above.path().join("linked");
        symlink(&path, &linked).unwrap();
        let error = PrivateDirectory::open(&linked).unwrap_err();
        let codes = [Some(libc::ELOOP), Some(libc::ENOTDIR)];
        assert!(codes.contains(&error.raw_os_error()), "{error}");
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let above = TempDir::new().unwrap();
        let pipe = above.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let directory = PrivateDirectory::open(above.path()).unwrap();
        assert_eq!(
            directory.read("pipe").unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        // ENXIO: it has no reader.
        create(&pipe).unwrap_err();
    }

    #[test]
    fn one_that_was_moved_is_no_longer_in_place() {
        let above = TempDir::new().unwrap();
        let path = above.path().join("spool");
        let directory = PrivateDirectory::open(&path).unwrap();
        assert!(directory.is_in_place());
        fs::rename(&path, above.path().join("aside")).unwrap();
        assert!(!directory.is_in_place());
        fs::create_dir(&path).unwrap();
        assert!(!directory.is_in_place());
        assert!(PrivateDirectory::open(&path).unwrap().is_in_place());
    }
}
