//! The program that a process runs: threads have names of their own, and Kafka's say
//! little (`kafka-producer-`).

use std::{fs, num::NonZeroUsize, path::PathBuf};

use lru::LruCache;
use smol_str::SmolStr;

use crate::facts::Owner;

/// Processes remembered.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");
/// Clock ticks a second in `/proc`; kernel: `USER_HZ`, 100 on all architectures that are
/// built for.
pub(super) const TICKS: u64 = 100;
/// Longest name: what a file system allows.
const LONGEST: usize = 255;

/// A process: its id, and when it started, as ids are used again.
type Key = (u32, u64);

/// Names of programs, by process.
#[derive(Debug)]
pub(super) struct Executables {
    /// `/proc`; `None` where the processes are not of this host.
    proc: Option<PathBuf>,
    known: LruCache<Key, Option<SmolStr>>,
}

impl Default for Executables {
    fn default() -> Self {
        Self {
            proc: None,
            known: LruCache::new(PROCESSES),
        }
    }
}

impl Executables {
    /// Of the processes of this host.
    pub(super) fn of_this_host() -> Self {
        Self::below("/proc".into())
    }

    fn below(proc: PathBuf) -> Self {
        Self {
            proc: Some(proc),
            ..Self::default()
        }
    }

    /// The program of a socket's owner; `None` where it has ended, or is not visible in
    /// this `/proc` (another pid namespace).
    pub(super) fn of(&mut self, owner: &Owner) -> Option<SmolStr> {
        let (pid, start_ns) = (owner.pid?, owner.start_boottime_ns?);
        let process = self.proc.as_ref()?.join(pid.to_string());
        let name = self.known.get_or_insert((pid, start_ns), || {
            let stat = fs::read_to_string(process.join("stat")).ok()?;
            if start_ticks(&stat)? != start_ns / (1_000_000_000 / TICKS) {
                return None;
            }
            let program = fs::read_link(process.join("exe")).ok();
            let file = program
                .as_deref()
                .and_then(|path| path.file_name()?.to_str())
                // The file was replaced since; kernel: `d_path`.
                .map(|name| name.trim_end_matches(" (deleted)"));
            if let Some(file) = file {
                return Some(file.into());
            }
            // The first thread's name, which anybody may read.
            let name = fs::read_to_string(process.join("comm")).ok()?;
            Some(name.trim_end_matches('\n').into())
        });
        name.clone()
            .filter(|name: &SmolStr| !name.is_empty() && name.len() <= LONGEST)
    }
}

/// Field 22 of `/proc/PID/stat`: the name before it, in brackets, may contain anything.
pub(super) fn start_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const START_NS: u64 = 1_234_567_890_123;
    const STAT: &str =
        "4242 (kafka (x) 1) S 1 4242 4242 0 -1 4194560 9 0 0 0 1 2 0 0 20 0 61 0 123456 9 9";

    fn owner(pid: u32, start_ns: u64) -> Owner {
        Owner {
            pid: Some(pid),
            start_boottime_ns: Some(start_ns),
            ..Owner::default()
        }
    }

    fn process(stat: &str, exe: Option<&str>) -> (tempfile::TempDir, Executables) {
        let proc = tempfile::tempdir().unwrap();
        let process = proc.path().join("4242");
        fs::create_dir(&process).unwrap();
        fs::write(process.join("stat"), stat).unwrap();
        fs::write(process.join("comm"), "main thread\n").unwrap();
        if let Some(exe) = exe {
            symlink(exe, process.join("exe")).unwrap();
        }
        let executables = Executables::below(proc.path().to_owned());
        (proc, executables)
    }

    #[test]
    fn it_is_the_file_name_of_the_program() {
        for (exe, name) in [
            (Some("/usr/lib/jvm/java-21/bin/java"), "java"),
            (Some("/opt/orders (deleted)"), "orders"),
            (None, "main thread"),
        ] {
            let (_proc, mut executables) = process(STAT, exe);
            let found = executables.of(&owner(4242, START_NS));
            assert_eq!(found.as_deref(), Some(name));
        }
    }

    #[test]
    fn another_process_of_the_same_id_is_not_it() {
        let (_proc, mut executables) = process(STAT, Some("/usr/bin/java"));
        assert_eq!(executables.of(&owner(4242, START_NS + 10_000_000)), None);
        assert_eq!(executables.of(&owner(4243, START_NS)), None);
        assert_eq!(executables.of(&Owner::default()), None);
        assert_eq!(Executables::default().of(&owner(4242, START_NS)), None);
    }

    #[test]
    fn it_is_read_once() {
        let (proc, mut executables) = process(STAT, Some("/usr/bin/java"));
        let owner = owner(4242, START_NS);
        assert_eq!(executables.of(&owner).as_deref(), Some("java"));
        drop(proc);
        assert_eq!(executables.of(&owner).as_deref(), Some("java"));
    }

    #[test]
    fn this_process_is_found() {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let start_ns = start_ticks(&stat).unwrap() * (1_000_000_000 / TICKS);
        let mut executables = Executables::of_this_host();
        let name = executables
            .of(&owner(std::process::id(), start_ns))
            .unwrap();
        let this = std::env::current_exe().unwrap();
        assert_eq!(Some(name.as_str()), this.file_name().unwrap().to_str());
    }
}
