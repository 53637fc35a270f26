//! What the kernel side reports of the processes that own traced listeners: that they own
//! one, signals sent to them, and their end.

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::record::KernelEvent;

/// What happened. Values of [`ProcessChange::what`].
pub mod what {
    /// The process listens on [`KernelEvent::local_port`](crate::record::KernelEvent::local_port).
    pub const LISTENS: u8 = 1;
    /// `signal_generate`: a signal was sent to it.
    pub const SIGNAL: u8 = 2;
    /// `mark_victim`: the out-of-memory killer has chosen it.
    pub const OUT_OF_MEMORY: u8 = 3;
    /// `sched_process_exit` of its last thread.
    pub const EXIT: u8 = 4;
}

/// Bits of [`ProcessChange::flags`].
pub mod change_flag {
    /// The kernel itself sent the signal (`SEND_SIG_PRIV`), whatever task was running.
    pub const BY_KERNEL: u8 = 1 << 0;
}

/// Signals whose default action ends a process or stops it, and `SIGCONT`; those of timers
/// and closed pipes apart. Bit N is signal N.
pub const SIGNALS: u32 = mask(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 15, 18, 19, 20, 24, 25, 31]);
/// Those of them that a process which sends them to itself means to end by. A JVM raises
/// `SIGSEGV` many times a second and goes on: how it was ended shows at its exit.
pub const SIGNALS_OF_ITSELF: u32 = mask(&[1, 2, 9, 15, 18, 19, 20]);

const fn mask(signals: &[u32]) -> u32 {
    let mut mask = 0;
    let mut at = 0;
    while at < signals.len() {
        mask |= 1 << signals[at];
        at += 1;
    }
    mask
}

/// `SIGCONT`; the same number on all architectures that kreset builds for.
pub const SIGCONT: u32 = 18;
/// `SIGKILL`.
pub const SIGKILL: u32 = 9;

/// The record of a process, of [`kind::PROCESS`](crate::record::kind::PROCESS).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq)]
pub struct ProcessRecord {
    /// When it happened; with [`what::LISTENS`] the network namespace and the local port.
    pub event: KernelEvent,
    /// What happened.
    pub change: ProcessChange,
}

/// What happened to a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq)]
pub struct ProcessChange {
    /// `task_struct.start_boottime` of its first thread, ns since boot; 0 unknown.
    pub start_ns: u64,
    /// Cgroup v2 id of the sender; 0 unknown.
    pub sender_cgroup: u64,
    /// Its thread group id, in the initial pid namespace.
    pub tgid: u32,
    /// That of the sender: of the task that was running.
    pub sender_tgid: u32,
    /// Its user id, in the initial user namespace.
    pub sender_uid: u32,
    /// `task_struct.exit_code` of the last thread.
    pub exit_code: u32,
    /// `signal_struct.group_exit_code`: that of the whole process, if it has one.
    pub group_exit_code: u32,
    /// [`what`].
    pub what: u8,
    /// Number of the signal.
    pub signal: u8,
    /// [`change_flag`] bits.
    pub flags: u8,
    /// Zero.
    pub padding: u8,
    /// Command name of its first thread, NUL-padded.
    pub comm: [u8; 16],
    /// That of the sender.
    pub sender_comm: [u8; 16],
}

// The kernel side writes these as words.
const _: () = assert!(
    offset_of!(ProcessChange, comm).is_multiple_of(8)
        && offset_of!(ProcessChange, sender_comm).is_multiple_of(8)
        && size_of::<KernelEvent>().is_multiple_of(8)
);
