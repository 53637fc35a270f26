//! A directory for what programs keep while the lab runs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::{Context as _, Result};

const PREFIX: &str = "kreset-lab-";

/// Removes the directories of labs that died without doing so.
pub fn sweep() {
    sweep_in(&env::temp_dir());
}

/// The same of directories below `base`.
pub(crate) fn sweep_in(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let owner = parts
            .and_then(|parts| parts.split_once('-'))
            .filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(pid) = owner.and_then(|(pid, _)| pid.parse::<u32>().ok()) else {
            continue;
        };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            for inside in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
                unmount(&inside.path());
            }
            // The next one tries again.
            let _removed = fs::remove_dir_all(entry.path());
        }
    }
}

/// Takes the file system away that is mounted at `directory`, if there is one.
pub(crate) fn unmount(directory: &Path) {
    // Where there is none this fails, and where it is busy it goes later.
    let _unmounted = umount2(directory, MntFlags::MNT_DETACH);
}

/// A directory of its own, removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one where temporary files go.
    pub fn new() -> Result<Self> {
        Self::new_in(&env::temp_dir())
    }

    /// Makes one below `base`.
    pub fn new_in(base: &Path) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let path = base.join(name);
        // Of a process that died and had the same pid.
        let _removed = fs::remove_dir_all(&path);
        fs::create_dir(&path).context(|| format!("make the directory {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Lets its files take no more than `bytes` together. It has to be empty the first time.
    pub(crate) fn limit(&self, bytes: u64) -> Result<()> {
        let size = format!("size={bytes}");
        let mounted = |flags| mount(Some("tmpfs"), &self.0, Some("tmpfs"), flags, Some(&*size));
        // The first time nothing is mounted that could be remounted.
        mounted(MsFlags::MS_REMOUNT)
            .or_else(|_| mounted(MsFlags::empty()))
            .context(|| format!("mount a file system at {}", self.0.display()))
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, text).context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        unmount(&self.0);
        // Nothing can be done about it, and it is in the directory for temporary files.
        let _removed = fs::remove_dir_all(&self.0);
    }
}
