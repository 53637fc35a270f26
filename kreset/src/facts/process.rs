//! What happened to a process that owns a listener: the kernel's record, decoded.

use kreset_common::{
    process::{ProcessChange, ProcessRecord, change_flag, what},
    record::{KernelEvent, kind},
};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use zerocopy::FromBytes as _;

use super::decode::{DecodeError, text};

/// A process of this host. Ids are used again; together with the start they are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// Thread group id, in the initial pid namespace.
    pub pid: u32,
    /// When it started, nanoseconds since boot; 0 if unknown.
    pub start_boottime_ns: u64,
}

/// What happened to a process that owns a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessFacts {
    /// When; `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
    /// The process.
    pub process: ProcessId,
    /// Command name of its first thread; untrusted text.
    pub name: Option<SmolStr>,
    /// What happened.
    pub change: Change,
}

/// What happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It listens.
    Listens {
        /// Inode number of the network namespace.
        netns: u32,
        /// The port.
        port: u16,
    },
    /// A signal was sent to it.
    Signalled {
        /// The signal's number.
        signal: u8,
        /// Who sent it.
        by: Sender,
    },
    /// The out-of-memory killer chose it.
    OutOfMemory,
    /// Its last thread ended; its sockets are closed right after.
    Ended(Ending),
}

/// Who sent a signal: the task that was running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Thread group id.
    pub pid: u32,
    /// Command name of its first thread; untrusted text.
    pub name: Option<SmolStr>,
    /// User id, in the initial user namespace.
    pub uid: u32,
    /// Cgroup v2 id.
    pub cgroup_id: Option<u64>,
    /// Cgroup v2 path.
    pub cgroup: Option<SmolStr>,
    /// The kernel sent it by itself, in whatever task.
    pub is_kernel: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It called exit(2) with this code.
    Code(u8),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        signal: u8,
        /// A core was written.
        core_dumped: bool,
    },
}

/// What this host shows of a process's memory, beside the kernel's records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// How much it may have.
    Limit(MemoryLimit),
    /// Why the out-of-memory killer chose it.
    Out(OutOfMemory),
}

/// The limit of the control group in which a process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryLimit {
    /// What people call the control group: its unit, container or pod, else its path.
    pub of: SmolStr,
    /// The limit, bytes.
    pub bytes: u64,
}

/// Whose memory was used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutOfMemory {
    /// Nothing tells; with the limit that the process has, if it has one.
    Unknown(Option<MemoryLimit>),
    /// That of a control group, at its limit.
    OfGroup(MemoryLimit),
    /// That of a control group whose limit is not known any more.
    OfSomeGroup,
    /// That of the whole machine, of so many bytes.
    OfHost(Option<u64>),
}

/// Signals by number; the same on all architectures that kreset builds for.
pub mod signal {
    #![expect(missing_docs, reason = "the system's own names")]

    use smol_str::{SmolStr, format_smolstr};

    pub const HUP: u8 = 1;
    pub const INT: u8 = 2;
    pub const KILL: u8 = 9;
    pub const TERM: u8 = 15;
    pub const CONT: u8 = 18;
    pub const STOP: u8 = 19;
    pub const TSTP: u8 = 20;

    const NAMES: [(u8, &str); 24] = [
        (HUP, "SIGHUP"),
        (INT, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (KILL, "SIGKILL"),
        (10, "SIGUSR1"),
        (11, "SIGSEGV"),
        (12, "SIGUSR2"),
        (13, "SIGPIPE"),
        (14, "SIGALRM"),
        (TERM, "SIGTERM"),
        (16, "SIGSTKFLT"),
        (CONT, "SIGCONT"),
        (STOP, "SIGSTOP"),
        (TSTP, "SIGTSTP"),
        (24, "SIGXCPU"),
        (25, "SIGXFSZ"),
        (26, "SIGVTALRM"),
        (30, "SIGPWR"),
        (31, "SIGSYS"),
    ];

    /// What people call it.
    #[must_use]
    pub fn name(number: u8) -> SmolStr {
        let known = NAMES.iter().find(|(it, _)| *it == number);
        known.map_or_else(
            || format_smolstr!("signal {number}"),
            |(_, name)| SmolStr::new_static(name),
        )
    }

    /// The kernel sends it for what the process itself did, or `abort()` does.
    #[must_use]
    pub const fn is_own(number: u8) -> bool {
        matches!(number, 4..=8 | 11 | 13 | 24 | 25 | 31)
    }
}

impl ProcessFacts {
    /// Who sent the signal, if it is about one.
    #[must_use]
    pub const fn sender(&self) -> Option<&Sender> {
        match &self.change {
            Change::Signalled { by, .. } => Some(by),
            _ => None,
        }
    }

    /// Sets the path of the sender's control group.
    pub fn set_cgroup_of_sender(&mut self, path: Option<SmolStr>) {
        if let Change::Signalled { by, .. } = &mut self.change {
            by.cgroup = path;
        }
    }

    /// Whether a record is one of these.
    pub(super) fn is_record(bytes: &[u8]) -> bool {
        KernelEvent::read_from_prefix(bytes).is_ok_and(|(event, _)| event.kind == kind::PROCESS)
    }

    /// Decodes a record.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (record, _) = ProcessRecord::read_from_prefix(bytes)
            .map_err(|_short| DecodeError::Short(bytes.len()))?;
        let ProcessRecord { event, change } = &record;
        Ok(Self {
            at_ns: event.ktime_ns,
            process: ProcessId {
                pid: change.tgid,
                start_boottime_ns: change.start_ns,
            },
            name: name(&change.comm),
            change: match change.what {
                what::LISTENS => Change::Listens {
                    netns: event.netns,
                    port: event.local_port,
                },
                what::SIGNAL => Change::Signalled {
                    signal: change.signal,
                    by: sender(change),
                },
                what::OUT_OF_MEMORY => Change::OutOfMemory,
                what::EXIT => Change::Ended(ending(change)),
                unknown => return Err(DecodeError::Change(unknown)),
            },
        })
    }
}

fn sender(change: &ProcessChange) -> Sender {
    Sender {
        pid: change.sender_tgid,
        name: name(&change.sender_comm),
        uid: change.sender_uid,
        cgroup_id: (change.sender_cgroup != 0).then_some(change.sender_cgroup),
        cgroup: None,
        is_kernel: change.flags & change_flag::BY_KERNEL != 0,
    }
}

/// The code of the whole process where it has one (kernel: `do_group_exit`, and
/// `do_coredump`, which sets the bit of the core there), else that of its last thread. The
/// layout is that of wait(2).
const fn ending(change: &ProcessChange) -> Ending {
    let code = match change.group_exit_code {
        0 => change.exit_code,
        code => code,
    };
    match (code & 0x7f) as u8 {
        0 => Ending::Code((code >> 8) as u8),
        signal => Ending::Signal {
            signal,
            core_dumped: code & 0x80 != 0,
        },
    }
}

fn name(comm: &[u8; 16]) -> Option<SmolStr> {
    Some(text(comm)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use zerocopy::{FromZeros as _, IntoBytes as _};

    use super::*;
    use crate::facts::Decoder;

    fn record(fill: impl FnOnce(&mut ProcessRecord)) -> Vec<u8> {
        let mut record = ProcessRecord::new_zeroed();
        record.event.kind = kind::PROCESS;
        record.event.ktime_ns = 77;
        record.change.tgid = 4242;
        record.change.start_ns = 5;
        record.change.comm[..4].copy_from_slice(b"java");
        fill(&mut record);
        record.as_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<ProcessFacts, DecodeError> {
        let decoder = Decoder {
            hz: 250,
            reasons: std::collections::BTreeMap::default(),
        };
        decoder.process(bytes).expect("a record of a process")
    }

    #[test]
    fn a_signal_says_who_sent_it() {
        let facts = decode(&record(|record| {
            record.change.what = what::SIGNAL;
            record.change.signal = 15;
            record.change.sender_tgid = 1;
            record.change.sender_comm[..7].copy_from_slice(b"systemd");
        }))
        .unwrap();
        assert_eq!((facts.at_ns, facts.process.pid), (77, 4242));
        assert_eq!(facts.name.as_deref(), Some("java"));
        let by = Sender {
            pid: 1,
            name: Some("systemd".into()),
            uid: 0,
            cgroup_id: None,
            cgroup: None,
            is_kernel: false,
        };
        assert_eq!(facts.change, Change::Signalled { signal: 15, by });
    }

    #[test]
    fn an_end_is_a_code_or_a_signal() {
        let signal = |signal, core_dumped| Ending::Signal {
            signal,
            core_dumped,
        };
        for (group, thread, expected) in [
            (0, 0, Ending::Code(0)),
            (0, 0x0100, Ending::Code(1)),
            (0x8f00, 0x8f00, Ending::Code(143)),
            (9, 9, signal(9, false)),
            (0, 15, signal(15, false)),
            // The thread that exits last knows nothing of the core.
            (0x8b, 0x0b, signal(11, true)),
        ] {
            let facts = decode(&record(|record| {
                record.change.what = what::EXIT;
                record.change.group_exit_code = group;
                record.change.exit_code = thread;
            }));
            assert_eq!(facts.unwrap().change, Change::Ended(expected));
        }
    }

    #[test]
    fn what_is_no_record_of_a_process_is_refused() {
        let unknown = record(|record| record.change.what = 9);
        assert_eq!(decode(&unknown), Err(DecodeError::Change(9)));
        let short = &unknown[..size_of::<KernelEvent>() + 8];
        assert_eq!(decode(short), Err(DecodeError::Short(short.len())));
        let decoder = Decoder {
            hz: 250,
            reasons: std::collections::BTreeMap::default(),
        };
        assert_eq!(decoder.process(&[]), None);
        let other = record(|record| record.event.kind = kind::FIN);
        assert_eq!(decoder.process(&other), None);
        assert_eq!(
            decoder.decode(&unknown),
            Err(DecodeError::Kind(kind::PROCESS))
        );
    }
}
