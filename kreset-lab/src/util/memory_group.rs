//! A control group that limits the memory of what is in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Stop,
    error::{Context as _, Error, Result},
};

/// The memory controller's own hierarchy (v1), or that of all of them (v2).
const V1: &str = "/sys/fs/cgroup/memory";
const V2: &str = "/sys/fs/cgroup";

/// How long the kernel may take to let an empty one go.
const PATIENCE: Duration = Duration::from_secs(10);

/// One of this process's own; removed when dropped, which takes that nothing is in it.
#[derive(Debug)]
pub struct MemoryGroup {
    directory: PathBuf,
    is_v1: bool,
}

impl MemoryGroup {
    /// Makes one without a limit, called `name` and a number.
    ///
    /// # Errors
    /// If this system has no memory controller, or this user may not use it.
    pub fn new(name: &str) -> Result<Self> {
        let is_v1 = Path::new(V1).join("memory.limit_in_bytes").exists();
        let root = Path::new(if is_v1 { V1 } else { V2 });
        if !is_v1 {
            write(&root.join("cgroup.subtree_control"), "+memory")?;
        }
        let directory = root.join(format!("kreset-lab-{name}-{}", std::process::id()));
        fs::create_dir(&directory).context(|| format!("make {}", directory.display()))?;
        Ok(Self { directory, is_v1 })
    }

    /// Its path in the hierarchy.
    pub fn path(&self) -> String {
        let name = self.directory.file_name().unwrap_or_default();
        format!("/{}", name.to_string_lossy())
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Moves a process into it.
    pub fn add(&self, pid: u32) -> Result<()> {
        write(&self.directory.join("cgroup.procs"), &pid.to_string())
    }

    /// Allows no more than `bytes`, of what cannot be given back.
    pub fn limit(&self, bytes: u64) -> Result<()> {
        let file = if self.is_v1 {
            "memory.limit_in_bytes"
        } else {
            "memory.max"
        };
        write(&self.directory.join(file), &bytes.to_string())
    }

    /// What is in use.
    pub fn used(&self) -> Result<u64> {
        let file = if self.is_v1 {
            "memory.usage_in_bytes"
        } else {
            "memory.current"
        };
        let path = self.directory.join(file);
        let text = fs::read_to_string(&path).context(|| format!("read {}", path.display()))?;
        text.trim()
            .parse()
            .map_err(|error| Error::Staging(format!("{}: {error} in {text:?}", path.display())))
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).context(|| format!("write {text:?} to {}", path.display()))
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // A process that has just ended is in it for a moment yet.
        let gone = || match fs::remove_dir(&self.directory) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let _left = Stop::default().until_holds("a control group to be empty", PATIENCE, gone);
    }
}
