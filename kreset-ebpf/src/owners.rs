//! Processes that own traced listeners. What happens to others is none of kreset's business:
//! the programs on signals and exits leave at once for all that are not here.

use aya_ebpf::{
    bindings::BPF_ANY,
    btf_maps::HashMap,
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_uid_gid, generated::bpf_get_current_cgroup_id,
    },
    macros::btf_map,
};
use kreset_common::{
    process::{ProcessChange, ProcessRecord, change_flag, what},
    record::kind,
};

use kreset_ebpf::shared::{Shared, array};

use crate::{
    connection::{Entry, now_ns},
    kernel::Task,
    ring, snapshot,
};

/// A process with a traced listener.
#[repr(C)]
struct Owner {
    /// `task_struct.start_boottime` of its first thread: ids are used again.
    start_ns: Shared<u64>,
    /// Start of the second that `reported` counts in, monotonic ns.
    second_ns: Shared<u64>,
    /// Records in this second.
    reported: Shared<u32>,
    /// The listener that was reported last.
    netns: Shared<u32>,
    port: Shared<u32>,
    padding: u32,
}

/// By thread group id. Not a map that evicts: as many processes are rarely there, and one that
/// no program reports on must not push out one that matters. They leave at their exit.
#[btf_map(name = "OWNERS")]
static OWNERS: HashMap<u32, Owner, 1024> = HashMap::new();

/// Records of one process in a second: whoever may send it signals must not fill the ring.
const A_SECOND: u32 = 64;
const SECOND_NS: u64 = 1_000_000_000;

impl Owner {
    /// Whether another record is within the limit.
    #[inline(always)]
    fn admits(&self) -> bool {
        let now = now_ns();
        if now.wrapping_sub(self.second_ns.get()) >= SECOND_NS {
            self.second_ns.set(now);
            self.reported.set(0);
        }
        let reported = self.reported.get().saturating_add(1);
        self.reported.set(reported);
        reported <= A_SECOND
    }
}

/// The owner with this id. Kernel: tgids are at most `PID_MAX_LIMIT`.
#[inline(always)]
fn owner(tgid: u32) -> Option<&'static Owner> {
    let owner = OWNERS.get_ptr(tgid)?;
    // SAFETY: an entry that the kernel keeps until the program ends (RCU); what programs on
    // several CPUs write is shared number by number.
    unsafe { owner.as_ref() }
}

/// The owner of the listener `entry` is one of them.
#[inline(always)]
pub(crate) fn add(entry: &Entry, port: u16) {
    let (tgid, start_ns) = (
        entry.connection.tgid.get(),
        entry.connection.owner_start_ns.get(),
    );
    let (netns, port) = (entry.connection.netns.get(), u32::from(port));
    if tgid == 0 {
        return;
    }
    match owner(tgid) {
        Some(owner) if owner.start_ns.get() == start_ns => {
            if (owner.netns.get(), owner.port.get()) == (netns, port) || !owner.admits() {
                return;
            }
            owner.netns.set(netns);
            owner.port.set(port);
        }
        _new => {
            let owner = Owner {
                start_ns: Shared::new(start_ns),
                second_ns: Shared::new(0),
                reported: Shared::new(0),
                netns: Shared::new(netns),
                port: Shared::new(port),
                padding: 0,
            };
            // If there is no room, nothing is known of how it ends.
            if OWNERS.insert(tgid, owner, BPF_ANY.into()).is_err() {
                return;
            }
        }
    }
    ring::emit(|record: *mut ProcessRecord| {
        // SAFETY: room for a record, just reserved.
        unsafe {
            begin(record, what::LISTENS, tgid, start_ns);
            (*record).event.netns = netns;
            (*record).event.local_port = port as u16;
            set_comm(
                &raw mut (*record).change.comm,
                array(&entry.connection.comm),
            );
        }
    });
}

/// The running task sent `signal` to the process of `task`.
#[inline(always)]
pub(crate) fn signalled(task: Task, signal: u8, by_kernel: bool) {
    if let Some((tgid, start_ns)) = reportable(task, signal) {
        ring::emit(|record: *mut ProcessRecord| {
            // SAFETY: room for a record, just reserved.
            unsafe {
                begin(record, what::SIGNAL, tgid, start_ns);
                let change = &raw mut (*record).change;
                (*change).signal = signal;
                set_comm(&raw mut (*change).comm, task.leader().comm());
                set_sender(change);
                if by_kernel {
                    (*change).flags = change_flag::BY_KERNEL;
                }
            }
        });
    }
}

/// The out-of-memory killer has chosen the process with this id. The running task is the one
/// that wanted memory.
#[inline(always)]
pub(crate) fn out_of_memory(tgid: u32) {
    let Some(owner) = owner(tgid) else {
        return;
    };
    let start_ns = owner.start_ns.get();
    ring::emit(|record: *mut ProcessRecord| {
        // SAFETY: room for a record, just reserved.
        unsafe {
            begin(record, what::OUT_OF_MEMORY, tgid, start_ns);
            set_sender(&raw mut (*record).change);
        }
    });
}

/// A thread exits: `task`, which is running.
#[inline(always)]
pub(crate) fn exits(task: Task) -> Option<()> {
    let tgid = task.tgid();
    let start_ns = owner(tgid)?.start_ns.get();
    let threads = task.shared()?;
    // The sockets are closed after the last one is here (kernel: `do_exit`, where
    // `exit_files` follows; 5.10 to 7.3).
    if threads.live() != 0 {
        return None;
    }
    ring::emit(|record: *mut ProcessRecord| {
        // SAFETY: room for a record, just reserved.
        unsafe {
            begin(record, what::EXIT, tgid, start_ns);
            let change = &raw mut (*record).change;
            (*change).exit_code = task.exit_code();
            (*change).group_exit_code = threads.group_exit_code();
            set_comm(&raw mut (*change).comm, task.leader().comm());
        }
    });
    let _gone = OWNERS.remove(tgid);
    Some(())
}

/// The process of `task`, if it is an owner and the limit allows another record.
/// What ends it for certain always is: the process does not outlive it.
#[inline(always)]
fn reportable(task: Task, signal: u8) -> Option<(u32, u64)> {
    let tgid = task.tgid();
    let owner = owner(tgid)?;
    let admitted = owner.admits() || u32::from(signal) == kreset_common::process::SIGKILL;
    admitted.then_some((tgid, owner.start_ns.get()))
}

/// # Safety
///
/// `record` is valid for writes.
#[inline(always)]
unsafe fn begin(record: *mut ProcessRecord, what: u8, tgid: u32, start_ns: u64) {
    // SAFETY: by the caller's contract; both parts are whole numbers of words.
    unsafe {
        snapshot::begin(&raw mut (*record).event, kind::PROCESS);
        let change: *mut ProcessChange = &raw mut (*record).change;
        ring::clear(change);
        (*change).what = what;
        (*change).tgid = tgid;
        (*change).start_ns = start_ns;
    }
}

/// Records the running task as the sender.
///
/// # Safety
///
/// `change` is valid for writes.
#[inline(always)]
unsafe fn set_sender(change: *mut ProcessChange) {
    // SAFETY: by the caller's contract; the helper has no arguments, and is there in tracing
    // programs since 4.18.
    unsafe {
        (*change).sender_tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        (*change).sender_uid = bpf_get_current_uid_gid() as u32;
        (*change).sender_cgroup = bpf_get_current_cgroup_id();
        set_comm(
            &raw mut (*change).sender_comm,
            Task::current().leader().comm(),
        );
    }
}

/// # Safety
///
/// `into` is valid for writes and aligned to 8 bytes.
#[inline(always)]
#[expect(
    clippy::cast_ptr_alignment,
    reason = "kreset-common asserts that names are aligned to words"
)]
unsafe fn set_comm(into: *mut [u8; 16], [low, high]: [u64; 2]) {
    // SAFETY: by the caller's contract, 16 bytes.
    unsafe {
        into.cast::<u64>().write(low);
        into.cast::<u64>().add(1).write(high);
    }
}
