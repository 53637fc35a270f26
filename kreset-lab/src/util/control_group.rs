//! A control group that limits what is in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Stop,
    error::{Context as _, Error, Result},
};

/// Where the hierarchy of all controllers is (v2), and those of v1 that have one of their own.
const ROOT: &str = "/sys/fs/cgroup";

/// How long the kernel may take to let an empty one go.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Memory.
    Memory,
    /// Time on processors.
    Cpu,
}

impl Controller {
    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
        }
    }

    /// A file that only v1 has.
    const fn of_v1(self) -> &'static str {
        match self {
            Self::Memory => "memory.limit_in_bytes",
            Self::Cpu => "cpu.shares",
        }
    }
}

/// One of this process's own; removed when dropped, which takes that nothing is in it.
#[derive(Debug)]
pub struct ControlGroup {
    directory: PathBuf,
    is_v1: bool,
}

impl ControlGroup {
    /// Makes one without a limit, called `name` and a number.
    ///
    /// # Errors
    /// If this system has no such controller, or this user may not use it.
    pub fn new(controller: Controller, name: &str) -> Result<Self> {
        let v1 = Path::new(ROOT).join(controller.name());
        let is_v1 = v1.join(controller.of_v1()).exists();
        let root = if is_v1 { v1 } else { ROOT.into() };
        if !is_v1 {
            let on = format!("+{}", controller.name());
            write(&root.join("cgroup.subtree_control"), &on)?;
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

    /// Allows no more than `bytes` of memory, of what cannot be given back.
    pub fn limit_memory(&self, bytes: u64) -> Result<()> {
        self.set(
            ["memory.limit_in_bytes", "memory.max"],
            [&bytes.to_string(), &bytes.to_string()],
        )
    }

    /// The memory in use.
    pub fn memory(&self) -> Result<u64> {
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

    /// Allows `percent` of one processor; `None`: all that there is.
    pub fn limit_cpu(&self, percent: Option<u32>) -> Result<()> {
        /// The kernel's default period.
        const PERIOD_US: u32 = 100_000;
        let quota = percent.map(|percent| (PERIOD_US / 100 * percent).to_string());
        let v2 = quota.as_deref().unwrap_or("max");
        self.set(
            ["cpu.cfs_quota_us", "cpu.max"],
            [quota.as_deref().unwrap_or("-1"), v2],
        )
    }

    /// Writes a file of v1 or of v2, each with its own value.
    fn set(&self, files: [&str; 2], values: [&str; 2]) -> Result<()> {
        let version = usize::from(!self.is_v1);
        write(&self.directory.join(files[version]), values[version])
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).context(|| format!("write {text:?} to {}", path.display()))
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // A process that has just ended is in it for a moment yet.
        let gone = || match fs::remove_dir(&self.directory) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let _left = Stop::default().until_holds("a control group to be empty", PATIENCE, gone);
    }
}
