//! As `seed`, where programs cannot tell a file's socket (before 5.11): the
//! file's inode says that it is a socket, and everything behind that is read
//! through `bpf_probe_read_kernel`.

use core::{ffi::c_void, ptr};

use kreset_common::{
    counter,
    record::{connection_flag as flag, role},
};

use crate::{
    connection::{self, Key, now_ns},
    filter,
    kernel::{Task, probe, socket_behind, state},
    listener, ring,
    seed::TaskFile,
    settings::constant,
};

/// `IPPROTO_TCP`.
const TCP: u16 = 6;

/// match-proto: bpf_iter__task_file, since 5.8.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
fn seed_by_probe(ctx: *mut TaskFile) -> i32 {
    // SAFETY: the kernel hands a valid context; volatile keeps the loads at
    // their own offsets, as the verifier wants them.
    let (task, file) = unsafe {
        (
            ptr::read_volatile(&raw const (*ctx).task),
            ptr::read_volatile(&raw const (*ctx).file),
        )
    };
    if !task.is_null() && !file.is_null() {
        let _not_a_socket = remember(Task::typed(task), file);
    }
    0
}

#[inline(always)]
fn remember(task: Task, file: *const c_void) -> Option<()> {
    let socket = socket_behind(file);
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
    let entry = connection::make_by_address(key)?;
    entry.connection.first_seen_ns = now_ns();
    entry.connection.role = role;
    entry.connection.netns = netns;
    entry.connection.flags = flag::SEEDED | if listens { flag::LISTENER } else { 0 };
    entry.own_by(task);
    if listens {
        listener::remember(entry, port);
    }
    ring::count(counter::SEEDED);
    Some(())
}
