//! How much memory the process of a listener may have, and whose memory was used up when the
//! out-of-memory killer chose it.
//!
//! The limits are read while the process lives: its control groups may go with it. Whose memory
//! it was, no tracepoint says (kernel: `mark_victim`): the control groups' own counts do (v2),
//! and the kernel's log, where this process may read it.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use lru::LruCache;

use super::{
    cgroup::label,
    executable::{TICKS, start_ticks},
    kernel_log::{KernelLog, Killed},
    small_file::read,
};
use crate::facts::process::{Change, Memory, MemoryLimit, OutOfMemory, ProcessFacts, ProcessId};

/// Processes remembered.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// Levels of a hierarchy that are looked at.
const LEVELS: usize = 16;
/// v1 has no word for no limit: `PAGE_COUNTER_MAX` pages (kernel: `mem_cgroup_read_u64`).
const NO_LIMIT: u64 = 1 << 62;

/// The memory of processes.
#[derive(Debug, Default)]
pub(super) struct MemoryOfProcesses {
    /// `/proc`; `None` where the processes are not of this host.
    proc: Option<PathBuf>,
    hierarchy: Option<Hierarchy>,
    known: Option<LruCache<ProcessId, Known>>,
    log: Option<KernelLog>,
}

/// Where the memory controller is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    /// The part of the hierarchy that is mounted there.
    root: String,
    is_v2: bool,
}

#[derive(Debug)]
struct Known {
    /// From the process's own control group up.
    levels: Vec<Level>,
    /// The out-of-memory killer chose it, and whose memory that was is not known yet.
    is_open: bool,
}

/// A control group.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Level {
    path: String,
    limit: Option<u64>,
    /// How often it was out of memory at its limit; v2 alone counts that.
    exhausted: Option<u64>,
}

impl MemoryOfProcesses {
    /// Of the processes of this host.
    pub(super) fn of_this_host(log: Option<KernelLog>) -> Self {
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self {
            proc: Some("/proc".into()),
            hierarchy: Hierarchy::find(&String::from_utf8_lossy(&mounts)),
            known: None,
            log,
        }
    }

    /// What this host shows of a process's memory when something happens to it.
    pub(super) fn at(&mut self, facts: &ProcessFacts) -> Option<Memory> {
        match facts.change {
            Change::Listens { .. } => self.limit(facts.process).map(Memory::Limit),
            Change::OutOfMemory => {
                self.known_mut(facts.process).is_open = true;
                self.out_of_memory(facts.process)
            }
            // The kernel writes its log after it has chosen.
            Change::Ended(_) => self.out_of_memory(facts.process),
            Change::Signalled { .. } => None,
        }
    }

    fn known_mut(&mut self, id: ProcessId) -> &mut Known {
        let known = self.known.get_or_insert_with(|| LruCache::new(PROCESSES));
        known.get_or_insert_mut(id, || Known {
            levels: Vec::new(),
            is_open: false,
        })
    }

    fn limit(&mut self, id: ProcessId) -> Option<MemoryLimit> {
        let levels = self.levels(id)?;
        let limit = least(&levels);
        self.known_mut(id).levels = levels;
        limit
    }

    fn levels(&self, id: ProcessId) -> Option<Vec<Level>> {
        let (proc, hierarchy) = (self.proc.as_ref()?, self.hierarchy.as_ref()?);
        let process = proc.join(id.pid.to_string());
        let stat = read(&process.join("stat"))?;
        if start_ticks(&stat)? != id.start_boottime_ns / (1_000_000_000 / TICKS) {
            return None;
        }
        let path = hierarchy.path_in(&read(&process.join("cgroup"))?)?;
        Some(hierarchy.levels(&path))
    }

    /// Whose memory it was, once: as soon as something tells.
    fn out_of_memory(&mut self, id: ProcessId) -> Option<Memory> {
        let known = self.known.as_mut()?.get_mut(&id)?;
        if !known.is_open {
            return None;
        }
        let killed = self.log.as_mut().and_then(|log| log.killed(id.pid));
        let what = match killed {
            Some(Killed::OfGroup(path)) => {
                of_group(&known.levels, path.as_deref(), self.hierarchy.as_ref())
            }
            Some(Killed::OfHost) => OutOfMemory::OfHost(total(self.proc.as_deref())),
            None => {
                let now = self.hierarchy.as_ref()?.now(&known.levels)?;
                match exhausted_since(&known.levels, &now) {
                    Some(level) => {
                        of_group(&known.levels, Some(&level.path), self.hierarchy.as_ref())
                    }
                    None => OutOfMemory::OfHost(total(self.proc.as_deref())),
                }
            }
        };
        known.is_open = false;
        Some(Memory::Out(what))
    }
}

/// The limit of one of `levels`, by its path: as it is now, since it may have been changed, or
/// the process moved; of a group that is gone, as it was.
fn of_group(levels: &[Level], path: Option<&str>, hierarchy: Option<&Hierarchy>) -> OutOfMemory {
    let limit = match path {
        // Nothing says which: the least is reached first.
        None => least(levels),
        Some(path) => {
            let now = hierarchy.and_then(|it| it.level(path)?.as_limit());
            let before = || levels.iter().find(|it| it.path == path)?.as_limit();
            now.or_else(before)
        }
    };
    limit.map_or(OutOfMemory::OfSomeGroup, OutOfMemory::OfGroup)
}

/// The smallest limit, and of like ones that of the control group farther down.
fn least(levels: &[Level]) -> Option<MemoryLimit> {
    let limited = levels.iter().filter(|it| it.limit.is_some());
    limited.min_by_key(|it| it.limit)?.as_limit()
}

/// The lowest of the control groups that were out of memory since: each counts for those above
/// it as well.
fn exhausted_since<'a>(before: &'a [Level], now: &[Option<u64>]) -> Option<&'a Level> {
    let mut pairs = before.iter().zip(now);
    let found = pairs.find(|(level, now)| level.exhausted.is_some() && **now > level.exhausted);
    found.map(|(level, _)| level)
}

impl Level {
    fn as_limit(&self) -> Option<MemoryLimit> {
        Some(MemoryLimit {
            of: label(&self.path),
            bytes: self.limit?,
        })
    }
}

impl Hierarchy {
    /// In `/proc/self/mountinfo`: that of v1 with the memory controller, else v2.
    fn find(mounts: &str) -> Option<Self> {
        let found = mounts.lines().filter_map(|line| {
            let (place, filesystem) = line.split_once(" - ")?;
            let mut place = place.split(' ').skip(3);
            let (root, mount) = (place.next()?, place.next()?);
            let mut filesystem = filesystem.split(' ');
            let kind = filesystem.next()?;
            let options = filesystem.nth(1).unwrap_or_default();
            let is_v1 = kind == "cgroup" && options.split(',').any(|it| it == "memory");
            (is_v1 || kind == "cgroup2").then(|| Self {
                mount: mount.into(),
                root: root.trim_end_matches('/').to_owned(),
                is_v2: !is_v1,
            })
        });
        found.min_by_key(|it| (it.is_v2, !it.root.is_empty()))
    }

    /// The path of a process in it, by `/proc/PID/cgroup`.
    fn path_in(&self, groups: &str) -> Option<String> {
        let found = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let fits = if self.is_v2 {
                controllers.is_empty()
            } else {
                controllers.split(',').any(|it| it == "memory")
            };
            fits.then_some(path)
        })?;
        // Outside of what this process sees (cgroup_namespaces(7)).
        let is_outside = found.split('/').any(|component| component == "..");
        (!is_outside).then(|| found.trim_end_matches('/').to_owned())
    }

    fn directory(&self, path: &str) -> Option<PathBuf> {
        let below = path.strip_prefix(self.root.as_str())?;
        Some(self.mount.join(below.trim_start_matches('/')))
    }

    /// The control groups from `path` up to the root.
    fn levels(&self, path: &str) -> Vec<Level> {
        let paths = std::iter::successors(Some(path), |path| {
            path.rsplit_once('/').map(|(above, _)| above)
        });
        paths
            .take(LEVELS)
            .filter_map(|path| self.level(path))
            .collect()
    }

    fn level(&self, path: &str) -> Option<Level> {
        let directory = self.directory(path)?;
        Some(Level {
            limit: self.limit(&directory),
            exhausted: self.exhausted(&directory),
            path: path.to_owned(),
        })
    }

    fn limit(&self, directory: &Path) -> Option<u64> {
        let file = if self.is_v2 {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        // v2: "max" is none.
        let limit = read(&directory.join(file))?.trim().parse().ok()?;
        (limit < NO_LIMIT).then_some(limit)
    }

    /// `oom` of `memory.events`: "the memory usage reached the limit and allocation was about to
    /// fail" (kernel: cgroup-v2.rst).
    fn exhausted(&self, directory: &Path) -> Option<u64> {
        if !self.is_v2 {
            return None;
        }
        let events = read(&directory.join("memory.events"))?;
        let count = events.lines().find_map(|line| line.strip_prefix("oom "))?;
        count.trim().parse().ok()
    }

    /// The counts now; `None` if one that was there is not any more.
    fn now(&self, levels: &[Level]) -> Option<Vec<Option<u64>>> {
        if levels.iter().all(|level| level.exhausted.is_none()) {
            return None;
        }
        let count = |level: &Level| {
            let now = self
                .directory(&level.path)
                .and_then(|it| self.exhausted(&it));
            (level.exhausted.is_none() || now.is_some()).then_some(now)
        };
        levels.iter().map(count).collect()
    }
}

/// The memory of this machine, bytes.
fn total(proc: Option<&Path>) -> Option<u64> {
    let text = read(&proc?.join("meminfo"))?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

#[cfg(test)]
mod tests;
