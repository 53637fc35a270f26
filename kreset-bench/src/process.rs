//! What a running program costs, as the kernel accounts for it.

use std::{collections::BTreeMap, fs, io::ErrorKind, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use aya::programs::{ProgramError, loaded_programs};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike as _},
};

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
    #[must_use]
    pub const fn new(pid: u32) -> Self {
        Self { pid }
    }

    fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// CPU time that its living threads have used, the kernel's work for them included. From
    /// `schedstat`, which counts nanoseconds; `stat` counts ticks.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu(self) -> Result<Duration> {
        let path = self.path("task");
        let tasks =
            fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut total = 0;
        for task in tasks.flatten() {
            // One that has just ended has no file any more.
            if let Ok(text) = fs::read_to_string(task.path().join("schedstat")) {
                total += first_number(&text).unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(total))
    }

    /// Its memory.
    ///
    /// # Errors
    /// When it has ended.
    pub fn memory(self) -> Result<Memory> {
        let path = self.path("status");
        let status =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let kibibytes = |name| field(&status, name).unwrap_or(0) * 1_024;
        Ok(Memory {
            resident: kibibytes("VmRSS:"),
            anonymous: kibibytes("RssAnon:"),
            maps: map_memory(&self.descriptors()),
        })
    }

    /// What the kernel says of the programs that it holds, by itself or by links.
    ///
    /// # Errors
    /// When programs cannot be listed.
    pub fn programs(self) -> Result<Vec<ProgramRuns>> {
        let mut ids: Vec<u64> = self
            .descriptors()
            .iter()
            .filter_map(|it| field(it, "prog_id:"))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let mut runs = Vec::new();
        for program in loaded_programs() {
            let program = match program {
                // Somebody let go of it since its number was listed.
                Err(ProgramError::SyscallError(error))
                    if error.io_error.kind() == ErrorKind::NotFound =>
                {
                    continue;
                }
                listed => listed.context("cannot list BPF programs")?,
            };
            if ids.binary_search(&u64::from(program.id())).is_ok() {
                runs.push(ProgramRuns {
                    name: program.name_as_str().unwrap_or("?").to_owned(),
                    count: program.run_count(),
                    time: program.run_time(),
                });
            }
        }
        Ok(runs)
    }

    /// What the kernel tells of each of its file descriptors.
    fn descriptors(self) -> Vec<String> {
        fs::read_dir(self.path("fdinfo"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| fs::read_to_string(entry.path()).ok())
            .collect()
    }
}

/// Programs by what they did between two looks.
#[must_use]
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
///
/// # Errors
/// What the system refuses.
pub fn own_cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("no account of this process")?;
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
