//! `iter/task_file` for kernels without `bpf_sock_from_file` (before 5.11): the
//! inode shows that a file is a socket, and the socket is read through
//! `bpf_probe_read_kernel`.

use core::{ffi::c_void, ptr};

use kreset_common::{
    counter,
    record::{connection_flag as flag, role},
};

use crate::{
    connection::{self, Key},
    ended, filter,
    kernel::{Task, TaskFile, probe, socket_of_file, state},
    listener, owners, ring,
    settings::constant,
};

/// `IPPROTO_TCP`.
const TCP: u16 = 6;

/// Prototype: `bpf_iter__task_file`, since 5.8.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn seed_by_probe(ctx: *mut TaskFile) -> i32 {
    ended::start();
    // SAFETY: the kernel passes a valid context.
    let _not_a_socket =
        unsafe { TaskFile::task_and_file(ctx) }.and_then(|(task, file)| seed_socket(task, file));
    0
}

#[inline(always)]
fn seed_socket(task: Task, file: *const c_void) -> Option<()> {
    let socket = socket_of_file(file);
    if socket.is_null() {
        return None;
    }
    let sock: *const c_void = probe(socket, constant!(OFFSETS.socket_sk), ptr::null());
    if sock.is_null() || probe(sock, constant!(OFFSETS.sk_protocol), 0_u16) != TCP {
        return None;
    }
    let port = probe(sock, constant!(OFFSETS.sk_num), 0_u16);
    let remote = u16::from_be(probe(sock, constant!(OFFSETS.sk_dport), 0_u16));
    let now = probe(sock, constant!(OFFSETS.sk_state), state::CLOSE);
    let listens = now == state::LISTEN;
    let role = filter::role(port, remote);
    if role == role::UNKNOWN || now == state::CLOSE || (listens && role != role::BROKER) {
        return None;
    }
    let net: *const c_void = probe(sock, constant!(OFFSETS.sk_net), ptr::null());
    let netns = probe(net, constant!(OFFSETS.net_inum), 0_u32);
    if !filter::netns(netns) {
        return None;
    }
    let key = Key::of_address(sock);
    if connection::get_by_address(key).is_some() {
        return None;
    }
    let entry = connection::get_or_create_by_address(key)?;
    entry.begin_late(netns, role);
    if listens {
        entry.set(flag::LISTENER);
    }
    entry.set_owner(task);
    if listens {
        listener::store_owner(entry, port);
        listener::opened(netns, port, Key::of_address(sock));
        owners::add(entry, port);
    }
    ring::count(counter::SEEDED);
    Some(())
}
