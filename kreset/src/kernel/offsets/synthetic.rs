//! The part of a kernel's types that kreset reads, in a layout of no kernel.

use crate::kernel::btf::synthetic::Builder;

/// A member's type.
#[derive(Clone, Copy)]
pub(crate) enum Ty {
    Int(u32),
    Ptr,
    Bytes(u32),
    Bit,
    /// An earlier structure of the list.
    Struct(&'static str),
    /// So many of an earlier structure.
    Array(&'static str, u32),
}

use Ty::{Array, Bit, Bytes, Int, Ptr, Struct};

/// Structures with their members, written as in C.
macro_rules! structures {
    ($($structure:ident { $($member:ident: $ty:expr),+ $(,)? })+) => {
        &[$((stringify!($structure), &[$((stringify!($member), $ty),)+]),)+]
    };
}

/// Structures before those that hold them.
const KERNEL: &[(&str, &[(&str, Ty)])] = structures! {
    possible_net { net: Ptr }
    ns_common { inum: Int(4) }
    net { ns: Struct("ns_common") }
    sock_common {
        skc_daddr: Int(4),
        skc_rcv_saddr: Int(4),
        skc_dport: Int(2),
        skc_num: Int(2),
        skc_family: Int(2),
        skc_state: Int(1),
        skc_net: Struct("possible_net"),
        skc_v6_daddr: Bytes(16),
        skc_v6_rcv_saddr: Bytes(16),
    }
    sock_cgroup_data { cgroup: Ptr }
    atomic_t { counter: Int(4) }
    sock {
        __sk_common: Struct("sock_common"),
        sk_shutdown: Int(1),
        sk_err: Int(4),
        sk_ack_backlog: Int(4),
        sk_max_ack_backlog: Int(4),
        sk_drops: Struct("atomic_t"),
        sk_protocol: Int(2),
        sk_socket: Ptr,
        sk_cgrp_data: Struct("sock_cgroup_data"),
    }
    inet_timewait_sock { __tw_common: Struct("sock_common") }
    request_sock { __req_common: Struct("sock_common") }
    inet_sock { sk: Struct("sock"), inet_sport: Int(2) }
    icsk_ack { lrcvtime: Int(4) }
    inet_connection_sock {
        icsk_inet: Struct("inet_sock"),
        icsk_retransmits: Int(1),
        icsk_probes_out: Int(1),
        icsk_ack: Struct("icsk_ack"),
    }
    minmax_sample { t: Int(4), v: Int(4) }
    minmax { s: Array("minmax_sample", 3) }
    tcp_options_received {
        ts_recent_stamp: Int(4),
        ts_recent: Int(4),
        rcv_tsval: Int(4),
        rcv_tsecr: Int(4),
        saw_tstamp: Bit,
        tstamp_ok: Bit,
        num_sacks: Int(1),
        mss_clamp: Int(2),
    }
    tcp_sack_block { start_seq: Int(4), end_seq: Int(4) }
    tcp_sock {
        inet_conn: Struct("inet_connection_sock"),
        lsndtime: Int(4),
        rcv_tstamp: Int(4),
        packets_out: Int(4),
        snd_una: Int(4),
        snd_nxt: Int(4),
        rcv_nxt: Int(4),
        copied_seq: Int(4),
        rcv_wup: Int(4),
        rcv_wnd: Int(4),
        snd_wnd: Int(4),
        write_seq: Int(4),
        max_window: Int(4),
        tcp_mstamp: Int(8),
        first_tx_mstamp: Int(8),
        srtt_us: Int(4),
        rtt_min: Struct("minmax"),
        total_retrans: Int(4),
        bytes_sent: Int(8),
        bytes_retrans: Int(8),
        bytes_acked: Int(8),
        bytes_received: Int(8),
        segs_in: Int(4),
        segs_out: Int(4),
        data_segs_in: Int(4),
        data_segs_out: Int(4),
        rx_opt: Struct("tcp_options_received"),
        selective_acks: Array("tcp_sack_block", 4),
    }
    cgroup { kn: Ptr }
    kernfs_node { id: Int(8) }
    sk_buff {
        head: Ptr,
        network_header: Int(2),
        transport_header: Int(2),
        dev: Ptr,
    }
    net_device { nd_net: Struct("possible_net") }
    task_struct {
        flags: Int(4),
        exit_code: Int(4),
        tgid: Int(4),
        group_leader: Ptr,
        start_boottime: Int(8),
        comm: Bytes(16),
        signal: Ptr,
    }
    signal_struct { live: Struct("atomic_t"), group_exit_code: Int(4) }
    socket { sk: Ptr }
    file { private_data: Ptr, f_inode: Ptr }
    inode { i_mode: Int(2) }
};

/// A way in which a kernel differs from [`KERNEL`].
#[derive(Clone, Copy)]
pub(crate) enum Edit {
    /// Has no such member, named `struct.member`.
    Without(&'static str),
    /// Has the member in another type.
    With(&'static str, Ty),
    /// Has something else in front of this structure's members.
    Shifted(&'static str),
}

/// Adds the kernel's structures to a blob. Each member takes a multiple of 8
/// bytes, so that no width can be taken for another by luck.
pub(crate) fn add_kernel(b: &mut Builder, edits: &[Edit]) {
    let mut sizes = Vec::<(&str, u32, u32)>::new();
    for (structure, members) in KERNEL {
        let mut end = if edits
            .iter()
            .any(|edit| matches!(edit, Edit::Shifted(name) if name == structure))
        {
            8
        } else {
            0
        };
        let mut laid_out = Vec::new();
        for (member, ty) in *members {
            let Some(ty) = edited(&format!("{structure}.{member}"), *ty, edits) else {
                continue;
            };
            let known = |name| {
                sizes
                    .iter()
                    .find(|size| size.0 == name)
                    .expect("an earlier one")
            };
            let (type_id, size, width) = match ty {
                Int(size) => (b.int(size), size, 0),
                Ptr => (b.pointer(0), 8, 0),
                Bytes(len) => {
                    let byte = b.int(1);
                    (b.array(byte, len), len, 0)
                }
                Bit => (b.int(2), 2, 1),
                Struct(name) => (known(name).1, known(name).2, 0),
                Array(name, count) => (b.array(known(name).1, count), count * known(name).2, 0),
            };
            // Bits after the first, so that a shift of 0 is none by default.
            let offset = end * 8 + width * 3;
            laid_out.push((*member, type_id, offset, width));
            end += size.next_multiple_of(8);
        }
        let id = b.structure(structure, end, &laid_out);
        sizes.push((structure, id, end));
    }
}

fn edited(member: &str, ty: Ty, edits: &[Edit]) -> Option<Ty> {
    let mut ty = Some(ty);
    for edit in edits {
        match edit {
            Edit::Without(name) if *name == member => ty = None,
            Edit::With(name, other) if *name == member => ty = Some(*other),
            _ => {}
        }
    }
    ty
}
