//! How busy a broker's process is: its open files, and how much its tasks wait.
//!
//! What takes no privilege is read, since there is none left by then. The number of open files
//! shows in the size of `/proc/PID/fd` (kernel: `proc_fd_getattr`, since 6.2); before, it is not
//! known.

use std::{fs, num::NonZeroUsize, os::unix::fs::MetadataExt as _, path::PathBuf};

use lru::LruCache;

use super::{
    cgroup::label,
    executable::{TICKS, start_ticks},
    small_file::read,
};
use crate::{
    event::{OpenFiles, Pressure},
    facts::{load::HostLoad, process::ProcessId},
};

/// Processes remembered.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
/// A process is read again after so long.
const FRESH_NS: u64 = 250_000_000;
/// What was read says something of an event that is no farther from it.
const TELLS_NS: u64 = 1_000_000_000;

/// The load of processes.
#[derive(Debug)]
pub(super) struct LoadOfProcesses {
    /// `/proc`; `None` where the processes are not of this host.
    proc: Option<PathBuf>,
    /// Mount point of cgroup v2.
    cgroups: Option<PathBuf>,
    /// What was read last, and when (monotonic ns).
    latest: LruCache<ProcessId, (u64, Option<HostLoad>)>,
    /// When each was last tried; monotonic ns. One that is gone is tried no more often.
    tried: LruCache<ProcessId, u64>,
}

impl Default for LoadOfProcesses {
    fn default() -> Self {
        Self {
            proc: None,
            cgroups: None,
            latest: LruCache::new(PROCESSES),
            tried: LruCache::new(PROCESSES),
        }
    }
}

impl LoadOfProcesses {
    /// Of the processes of this host.
    pub(super) fn of_this_host(cgroups: Option<PathBuf>) -> Self {
        Self {
            proc: Some("/proc".into()),
            cgroups,
            ..Self::default()
        }
    }

    /// Reads the load of a process in a control group, unless it was just read.
    pub(super) fn read(
        &mut self,
        process: ProcessId,
        cgroup: Option<&str>,
        now_ns: u64,
    ) -> Option<&HostLoad> {
        let proc = self.proc.as_ref()?;
        let tried_ns = self.tried.get(&process);
        if tried_ns.is_some_and(|at_ns| now_ns.saturating_sub(*at_ns) < FRESH_NS) {
            return None;
        }
        self.tried.put(process, now_ns);
        let directory = proc.join(process.pid.to_string());
        let stat = read(&directory.join("stat"))?;
        if start_ticks(&stat)? != process.start_boottime_ns / (1_000_000_000 / TICKS) {
            return None;
        }
        let files = || {
            let open = fs::metadata(directory.join("fd")).ok()?.size();
            let limit = file_limit(&read(&directory.join("limits"))?)?;
            (open > 0).then_some(OpenFiles { open, limit })
        };
        let load = HostLoad {
            files: files(),
            pressure: self.pressure(cgroup),
        };
        self.observe(process, load, now_ns);
        self.latest.peek(&process)?.1.as_ref()
    }

    /// Takes in what was read at `now_ns`.
    pub(super) fn observe(&mut self, process: ProcessId, load: HostLoad, now_ns: u64) {
        let load = (load != HostLoad::default()).then_some(load);
        self.latest.put(process, (now_ns, load));
    }

    /// What was read closely enough to `at_ns`.
    pub(super) fn near(&self, process: ProcessId, at_ns: u64) -> Option<HostLoad> {
        let (read_ns, load) = self.latest.peek(&process)?;
        load.clone().filter(|_| read_ns.abs_diff(at_ns) <= TELLS_NS)
    }

    /// Of the control group, where that has one of its own; else of the host.
    fn pressure(&self, cgroup: Option<&str>) -> Option<Pressure> {
        let of_group = || {
            let path = cgroup.filter(|path| *path != "/")?;
            let directory = self.cgroups.as_ref()?.join(path.trim_start_matches('/'));
            let share =
                |resource: &str| share(&read(&directory.join(format!("{resource}.pressure")))?);
            all(&share, Some(path))
        };
        let of_host = || {
            let directory = self.proc.as_ref()?.join("pressure");
            all(&|resource| share(&read(&directory.join(resource))?), None)
        };
        of_group().or_else(of_host)
    }
}

fn all(share: &dyn Fn(&str) -> Option<f64>, path: Option<&str>) -> Option<Pressure> {
    let pressure = Pressure {
        of: path.map(label),
        cpu: share("cpu"),
        memory: share("memory"),
        io: share("io"),
    };
    (pressure.cpu.is_some() || pressure.memory.is_some() || pressure.io.is_some())
        .then_some(pressure)
}

/// `some avg10=0.12 avg60=...` (kernel: Documentation/accounting/psi.rst).
fn share(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let average = some.split(' ').find_map(|it| it.strip_prefix("avg10="))?;
    average.parse().ok()
}

/// The soft limit of `Max open files  1024  524288  files`; "unlimited" is none.
fn file_limit(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ProcessId = ProcessId {
        pid: 7,
        start_boottime_ns: 50_000_000,
    };
    const SECOND: u64 = 1_000_000_000;

    fn host() -> (tempfile::TempDir, LoadOfProcesses) {
        let root = tempfile::tempdir().unwrap();
        let process = root.path().join("7");
        fs::create_dir_all(process.join("fd")).unwrap();
        let fields = "0 ".repeat(18);
        fs::write(process.join("stat"), format!("7 (java) S {fields}5 0")).unwrap();
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  524288  files\n";
        fs::write(process.join("limits"), limits).unwrap();
        let loads = LoadOfProcesses {
            proc: Some(root.path().to_owned()),
            cgroups: Some(root.path().join("cgroup")),
            ..LoadOfProcesses::default()
        };
        (root, loads)
    }

    fn write_pressure(directory: &std::path::Path, suffix: &str, cpu: &str) {
        fs::create_dir_all(directory).unwrap();
        for (resource, average) in [("cpu", cpu), ("memory", "0.00"), ("io", "1.50")] {
            let text = format!(
                "some avg10={average} avg60=0.10 avg300=0.00 total=12\nfull avg10=9.00 avg60=0 avg300=0 total=1\n"
            );
            fs::write(directory.join(format!("{resource}{suffix}")), text).unwrap();
        }
    }

    #[test]
    fn the_pressure_is_that_of_the_control_group_else_of_the_host() {
        let (root, mut loads) = host();
        write_pressure(&root.path().join("pressure"), "", "12.25");
        let cgroup = Some("/system.slice/kafka.service");
        let of_host = loads.read(ID, cgroup, SECOND).unwrap().pressure.clone();
        let expected = Pressure {
            of: None,
            cpu: Some(12.25),
            memory: Some(0.0),
            io: Some(1.5),
        };
        assert_eq!(of_host, Some(expected.clone()));
        let group = root.path().join("cgroup/system.slice/kafka.service");
        write_pressure(&group, ".pressure", "80.00");
        let of_group = loads.read(ID, cgroup, 2 * SECOND).unwrap().pressure.clone();
        let expected = Pressure {
            of: Some("kafka.service".into()),
            cpu: Some(80.0),
            ..expected
        };
        assert_eq!(of_group, Some(expected));
    }

    #[test]
    fn a_process_is_read_seldom_and_says_nothing_of_long_ago() {
        let (root, mut loads) = host();
        write_pressure(&root.path().join("pressure"), "", "1.00");
        assert!(loads.read(ID, None, SECOND).is_some());
        assert!(loads.read(ID, None, SECOND + FRESH_NS - 1).is_none());
        assert!(loads.near(ID, 2 * SECOND).is_some());
        assert_eq!(loads.near(ID, 2 * SECOND + 1), None);
        // Another process that has the number now.
        let later = ProcessId {
            start_boottime_ns: 90_000_000,
            ..ID
        };
        assert_eq!(loads.read(later, None, 9 * SECOND), None);
        // One that was gone is not looked for again at once, as each of its connections ends.
        let stat = root.path().join("7/stat");
        let text = fs::read_to_string(&stat).unwrap();
        fs::remove_file(&stat).unwrap();
        assert_eq!(loads.read(ID, None, 20 * SECOND), None);
        fs::write(&stat, text).unwrap();
        assert_eq!(loads.read(ID, None, 20 * SECOND + FRESH_NS - 1), None);
        assert!(loads.read(ID, None, 20 * SECOND + FRESH_NS).is_some());
    }

    #[test]
    fn the_limit_is_the_soft_one_and_the_files_are_those_that_the_kernel_counts() {
        assert_eq!(
            file_limit("Max open files            unlimited  unlimited  files"),
            None
        );
        let open = OpenFiles {
            open: 1_020,
            limit: 1_024,
        };
        assert!(open.are_used_up());
        assert!(!OpenFiles { open: 900, ..open }.are_used_up());
        // A directory of a file system that is not procfs has some size.
        let (_root, mut loads) = host();
        let load = loads.read(ID, None, SECOND).cloned();
        assert_eq!(load.unwrap().files.unwrap().limit, 1_024);
        // This process, by the real /proc, has at least its standard streams.
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let own = ProcessId {
            pid: std::process::id(),
            start_boottime_ns: start_ticks(&stat).unwrap() * (SECOND / TICKS),
        };
        let mut loads = LoadOfProcesses::of_this_host(None);
        let counted = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        let files = loads.read(own, None, SECOND).and_then(|it| it.files);
        // Kernels before 6.2 show none.
        if let Some(files) = files {
            assert!(files.open.abs_diff(counted) < 64, "{files:?} {counted}");
        }
    }
}
