//! `iter/task_file`: finds connections and listeners older than the tracer, with
//! their owners, in every network namespace, in one pass.

use core::ffi::c_void;

use kreset_common::{
    counter,
    record::{connection_flag as flag, role},
};

use crate::{
    connection::{self, Key},
    ended, filter,
    kernel::{Task, TaskFile, sock_of_file, state},
    listener, owners, ring,
    snapshot::{local_port, remote_port},
};

/// Prototype: `bpf_iter__task_file`, since 5.8; aya-ebpf has no macro for
/// iterators, so the section is named by hand.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn seed(ctx: *mut TaskFile) -> i32 {
    ended::start();
    // SAFETY: the kernel passes a valid context.
    let _not_a_socket =
        unsafe { TaskFile::task_and_file(ctx) }.and_then(|(task, file)| seed_socket(task, file));
    0
}

#[inline(always)]
fn seed_socket(task: Task, file: *const c_void) -> Option<()> {
    let sock = sock_of_file(file)?;
    let tcp = sock.tcp()?;
    let now = sock.state();
    let listens = now == state::LISTEN;
    let role = filter::role(local_port(sock, Some(tcp)), remote_port(sock));
    if role == role::UNKNOWN || (listens && role != role::BROKER) || !filter::netns(sock.netns()) {
        return None;
    }
    let key = Key::from(sock);
    if let Some(entry) = connection::get(key) {
        if entry.connection.tgid.get() == 0 {
            // Another program found it while programs were being attached.
            entry.set_owner(task);
            if entry.is_listener() {
                owners::add(entry, local_port(sock, Some(tcp)));
            }
            if entry.has(flag::SEEDED) {
                ring::count(counter::SEEDED);
            }
        }
        return None;
    }
    if now == state::CLOSE {
        // It ended before the tracer began, and only its file is still held open.
        return None;
    }
    let Some(entry) = connection::create(key) else {
        ring::count(counter::UNTRACKED);
        return None;
    };
    entry.begin_late(sock.netns(), role);
    if listens {
        entry.set(flag::LISTENER);
        listener::opened(sock.netns(), local_port(sock, Some(tcp)), Key::from(sock));
    }
    entry.set_owner(task);
    if listens {
        owners::add(entry, local_port(sock, Some(tcp)));
    }
    ring::count(counter::SEEDED);
    Some(())
}
