//! `iter/task_file`: connections and listeners older than the tracer, with
//! their owners, in every network namespace, in one pass.

use core::{ffi::c_void, ptr};

use kreset_common::{
    counter,
    record::{connection_flag as flag, role},
};

use crate::{
    connection::{self, Key},
    filter,
    kernel::{Task, sock_of_file, state},
    ring,
    snapshot::{local_port, remote_port},
};

/// `struct bpf_iter__task_file`; kernel: `kernel/bpf/task_iter.c`, since 5.8.
#[repr(C)]
pub(crate) struct TaskFile {
    meta: *const c_void,
    task: *const c_void,
    descriptor: u64,
    file: *const c_void,
}

/// The task and its file; `None` at the end of the iteration.
///
/// # Safety
///
/// `ctx` is the kernel's context.
#[inline(always)]
pub(crate) unsafe fn task_and_file(ctx: *const TaskFile) -> Option<(Task, *const c_void)> {
    // SAFETY: by the caller's contract; volatile keeps the loads at their own
    // offsets, as the verifier wants them.
    let (task, file) = unsafe {
        (
            ptr::read_volatile(&raw const (*ctx).task),
            ptr::read_volatile(&raw const (*ctx).file),
        )
    };
    (!task.is_null() && !file.is_null()).then_some((Task::typed(task), file))
}

/// Prototype: `bpf_iter__task_file`, since 5.8; aya-ebpf has no macro for
/// iterators, so the section is named by hand.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn seed(ctx: *mut TaskFile) -> i32 {
    // SAFETY: the kernel hands a valid context.
    let _not_a_socket = unsafe { task_and_file(ctx) }.and_then(|(task, file)| remember(task, file));
    0
}

#[inline(always)]
fn remember(task: Task, file: *const c_void) -> Option<()> {
    let sock = sock_of_file(file)?;
    let tcp = sock.tcp()?;
    let listens = sock.state() == state::LISTEN;
    let role = filter::role(local_port(sock, Some(tcp)), remote_port(sock));
    if role == role::UNKNOWN || (listens && role != role::BROKER) || !filter::netns(sock.netns()) {
        return None;
    }
    let key = Key::from(sock);
    if let Some(entry) = connection::get(key) {
        if entry.connection.tgid == 0 {
            // It was met while programs were being attached.
            entry.own_by(task);
            if entry.has(flag::SEEDED) {
                ring::count(counter::SEEDED);
            }
        }
        return None;
    }
    let entry = connection::get_or_make(key)?;
    entry.begin_late(sock.netns(), role);
    if listens {
        entry.set(flag::LISTENER);
    }
    entry.own_by(task);
    ring::count(counter::SEEDED);
    Some(())
}
