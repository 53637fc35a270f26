//! The kernel's log, for what it says of the out-of-memory killer.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
};

/// Lines that are read at once, at most: of a log that others fill, the rest waits.
const AT_MOST: usize = 4_096;
/// A line; kernel: `PRINTK_MESSAGE_MAX`.
const LINE: usize = 2_048 * 4;
/// Victims remembered.
const VICTIMS: usize = 64;

/// Whose memory it was, by the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Killed {
    /// That of the control group with this path, where the line has it.
    OfGroup(Option<String>),
    /// The machine's.
    OfHost,
}

/// The log from when it was opened on.
#[derive(Debug)]
pub struct KernelLog {
    file: File,
    /// The latest last.
    victims: Vec<(u32, Killed)>,
}

impl KernelLog {
    /// Opens it, where this process may: reading it later takes no privilege (kernel:
    /// `devkmsg_open` checks, `devkmsg_read` does not).
    #[must_use]
    pub fn open() -> Option<Self> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .ok()?;
        file.seek(SeekFrom::End(0)).ok()?;
        Some(Self {
            file,
            victims: Vec::new(),
        })
    }

    /// Why a process was killed, if the log says that it was.
    pub(super) fn killed(&mut self, pid: u32) -> Option<Killed> {
        self.read_on();
        let victims = self.victims.iter().rev();
        let of_it = victims.filter(|(victim, _)| *victim == pid);
        let mut of_it = of_it.map(|(_, killed)| killed);
        let latest = of_it.clone().next()?;
        // One of its two lines has the path.
        let with_path = of_it.find(|it| matches!(it, Killed::OfGroup(Some(_))));
        match latest {
            Killed::OfGroup(None) => with_path.or(Some(latest)).cloned(),
            _ => Some(latest.clone()),
        }
    }

    fn read_on(&mut self) {
        let mut line = [0; LINE];
        for _ in 0..AT_MOST {
            match self.file.read(&mut line) {
                Ok(0) => return,
                Ok(length) => {
                    let text = String::from_utf8_lossy(line.get(..length).unwrap_or_default());
                    if let Some(victim) = victim(&text) {
                        if self.victims.len() == VICTIMS {
                            self.victims.remove(0);
                        }
                        self.victims.push(victim);
                    }
                }
                // What was next has been overwritten (EPIPE): the next read is of what is left.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(_) => return,
            }
        }
    }
}

/// The victim that a record of `/dev/kmsg` is about: `PRIORITY,NUMBER,TIME,FLAGS;TEXT`. The
/// kernel writes `oom-kill:` with the control group before it kills, unless it wrote many
/// (`dump_oom_victim`), and `Killed process` always (`__oom_kill_process`; 6.18).
fn victim(record: &str) -> Option<(u32, Killed)> {
    let (head, text) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    // What processes write into it has another facility.
    if priority >> 3 != 0 {
        return None;
    }
    let text = text.lines().next()?;
    if let Some(fields) = text.strip_prefix("oom-kill:") {
        // Paths may have commas, and names anything: the constraint comes first, the id last.
        let pid = fields.rsplit_once(",pid=")?.1.split(',').next()?;
        let killed = if fields.starts_with("constraint=CONSTRAINT_MEMCG,") {
            let (_, path) = fields.split_once(",oom_memcg=")?;
            let (path, _) = path.split_once(",task_memcg=")?;
            Killed::OfGroup(Some(path.trim_end_matches('/').to_owned()))
        } else {
            Killed::OfHost
        };
        return Some((pid.parse().ok()?, killed));
    }
    let (before, after) = text.split_once(": Killed process ")?;
    let pid = after.split(' ').next()?.parse().ok()?;
    match before {
        "Memory cgroup out of memory" => Some((pid, Killed::OfGroup(None))),
        before if before.starts_with("Out of memory") => Some((pid, Killed::OfHost)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_of_the_kernel_name_the_victim() {
        let group = "4,711,1881135110,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,\
                     mems_allowed=0,oom_memcg=/system.slice/kafka.service,\
                     task_memcg=/system.slice/kafka.service/x,task=java,pid=20281,uid=0\n";
        let path = Some("/system.slice/kafka.service".to_owned());
        assert_eq!(victim(group), Some((20_281, Killed::OfGroup(path))));
        let host = "4,712,1,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,\
                    mems_allowed=0,global_oom,task_memcg=/,task=a,pid=1,uid=0,pid=77,uid=0\n";
        assert_eq!(victim(host), Some((77, Killed::OfHost)));
        for (text, killed) in [
            ("Memory cgroup out of memory", Killed::OfGroup(None)),
            ("Out of memory", Killed::OfHost),
            ("Out of memory (oom_kill_allocating_task)", Killed::OfHost),
        ] {
            let line = format!("3,713,2,-;{text}: Killed process 9 (java) total-vm:229992kB, x");
            assert_eq!(victim(&line), Some((9, killed)), "{text}");
        }
    }

    #[test]
    fn what_others_write_into_the_log_is_not_believed() {
        let text = "Out of memory: Killed process 9 (java) total-vm:1kB";
        assert!(victim(&format!("6,1,1,-;{text}")).is_some());
        // `echo TEXT > /dev/kmsg`: facility `user`.
        assert_eq!(victim(&format!("12,1,1,-;{text}")), None);
        for other in [
            "",
            ";",
            "x;y",
            "4,1,1,-;oom-kill:",
            "4,1,1,-;oom-kill:,pid=x",
        ] {
            assert_eq!(victim(other), None, "{other}");
        }
    }
}
