//! What a running program costs, as the kernel accounts for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::PathBuf,
    time::Duration,
};

#[cfg(feature = "full")]
use aya::programs::{ProgramError, loaded_programs};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike as _},
};

use crate::error::{Context as _, Error, Result};

/// A process, and the BPF programs and maps that it holds.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    pid: u32,
}

/// What the kernel says of one BPF program. All zero unless statistics are on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramRuns {
    /// Its name; the kernel keeps 15 bytes of it.
    pub name: String,
    /// How often it ran.
    pub count: u64,
    /// For how long, altogether.
    pub time: Duration,
}

/// Memory of a process, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident altogether, pages of its own file included.
    pub resident: u64,
    /// Of that, what it allocated.
    pub anonymous: u64,
    /// Locked by its BPF maps, in the kernel. Storage in sockets is not in it.
    pub maps: u64,
}

impl Observed {
    /// Looks at a process.
    pub const fn new(pid: u32) -> Self {
        Self { pid }
    }

    fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// CPU time that its living threads have used, the kernel's work for them included. From
    /// `schedstat`, which counts nanoseconds; `stat` counts ticks.
    pub fn cpu(self) -> Result<Duration> {
        let path = self.path("task");
        let tasks = fs::read_dir(&path).context(|| format!("read {}", path.display()))?;
        let mut total = 0;
        for task in tasks.flatten() {
            // One that has just ended has no file any more.
            if let Ok(text) = fs::read_to_string(task.path().join("schedstat")) {
                total += first_number(&text).unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(total))
    }

    /// A field of its `status`, with the colon.
    pub fn status(self, name: &str) -> Result<u64> {
        let path = self.path("status");
        let status = fs::read_to_string(&path).context(|| format!("read {}", path.display()))?;
        let value = field(&status, name);
        value.ok_or_else(|| Error::Staging(format!("{} has no {name}", path.display())))
    }

    /// Its memory.
    pub fn memory(self) -> Result<Memory> {
        Ok(Memory {
            resident: self.status("VmRSS:")? * 1_024,
            anonymous: self.status("RssAnon:")? * 1_024,
            maps: map_memory(&self.descriptors()),
        })
    }

    /// The ids of the BPF programs that it holds, by themselves or by links: as
    /// `bpf_prog_show_fdinfo` and `bpf_link_show_fdinfo` write them (`kernel/bpf/syscall.c`, 6.18).
    pub fn program_ids(self) -> BTreeSet<u32> {
        self.ids("prog_id:")
    }

    /// The ids of the BPF maps that it holds.
    pub fn map_ids(self) -> BTreeSet<u32> {
        self.ids("map_id:")
    }

    fn ids(self, name: &str) -> BTreeSet<u32> {
        let descriptors = self.descriptors();
        let ids = descriptors.iter().filter_map(|it| field(it, name));
        ids.filter_map(|id| id.try_into().ok()).collect()
    }

    /// What the kernel says of those programs.
    #[cfg(feature = "full")]
    pub fn programs(self) -> Result<Vec<ProgramRuns>> {
        let ids = self.program_ids();
        let mut runs = Vec::new();
        for program in loaded_programs() {
            let program = match program {
                // Its last holder let go of it since its number was listed.
                Err(ProgramError::SyscallError(error))
                    if error.io_error.kind() == io::ErrorKind::NotFound =>
                {
                    continue;
                }
                listed => listed
                    .map_err(io::Error::other)
                    .context(|| "list BPF programs".to_owned())?,
            };
            if ids.contains(&program.id()) {
                runs.push(ProgramRuns {
                    name: program.name_as_str().unwrap_or("?").to_owned(),
                    count: program.run_count(),
                    time: program.run_time(),
                });
            }
        }
        Ok(runs)
    }

    /// What the kernel says of each of its file descriptors.
    pub fn descriptors(self) -> Vec<String> {
        let entries = fs::read_dir(self.path("fdinfo")).into_iter().flatten();
        // One may be closed by now.
        let infos = entries.flatten().map(|it| fs::read_to_string(it.path()));
        infos.filter_map(io::Result::ok).collect()
    }
}

/// Programs by what they did between two looks.
pub fn since(before: &[ProgramRuns], after: &[ProgramRuns]) -> Vec<ProgramRuns> {
    after
        .iter()
        .map(|now| {
            let then = before.iter().find(|then| then.name == now.name);
            let (count, time) = then.map_or((0, Duration::ZERO), |then| (then.count, then.time));
            ProgramRuns {
                name: now.name.clone(),
                count: now.count.saturating_sub(count),
                time: now.time.saturating_sub(time),
            }
        })
        .collect()
}

/// CPU time that this process has used, threads that have ended included.
pub fn own_cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)
        .context(|| "read what this process has used".to_owned())?;
    let micros = |time: TimeVal| time.num_microseconds().unsigned_abs();
    Ok(Duration::from_micros(
        micros(usage.user_time()) + micros(usage.system_time()),
    ))
}

/// Memory of all maps. One that is held by several descriptors counts once.
fn map_memory(descriptors: &[String]) -> u64 {
    let maps: BTreeMap<u64, u64> = descriptors
        .iter()
        // Programs lock memory too, but are no maps.
        .filter_map(|it| Some((field(it, "map_id:")?, field(it, "memlock:")?)))
        .collect();
    maps.values().sum()
}

/// The number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(first_number)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let fdinfo = "pos:\t0\nflags:\t02000002\nmap_type:\t27\nmemlock:\t4198400\nmap_id:\t17\n";
        assert_eq!(field(fdinfo, "memlock:"), Some(4_198_400));
        assert_eq!(field(fdinfo, "map_id:"), Some(17));
        assert_eq!(field(fdinfo, "prog_id:"), None);
        assert_eq!(field("prog_tag:\tab\nprog_id:\t77\n", "prog_id:"), Some(77));
        assert_eq!(field("VmRSS:\t   12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(first_number("402860 67040 1\n"), Some(402_860));
    }

    #[test]
    fn a_map_with_two_descriptors_counts_once() {
        let map = |id, bytes| format!("memlock:\t{bytes}\nmap_id:\t{id}\n");
        let program = "memlock:\t4096\nprog_id:\t9\n".to_owned();
        assert_eq!(
            map_memory(&[map(1, 100), map(1, 100), map(2, 7), program]),
            107
        );
    }

    #[test]
    fn a_busy_process_is_seen_to_be_busy() {
        let own = Observed::new(std::process::id());
        let before = own.cpu().expect("it lives");
        let mut number = 1_u64;
        while own.cpu().expect("it lives") < before + Duration::from_millis(5) {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .rotate_left(7);
        }
        assert_ne!(number, 1);
        assert!(own.memory().expect("it lives").resident > 0);
    }

    #[test]
    fn what_ran_before_does_not_count() {
        let runs = |count, micros| {
            vec![ProgramRuns {
                name: "packets_in".to_owned(),
                count,
                time: Duration::from_micros(micros),
            }]
        };
        assert_eq!(since(&runs(10, 5), &runs(30, 9)), runs(20, 4));
        assert_eq!(since(&[], &runs(30, 9)), runs(30, 9));
    }
}
