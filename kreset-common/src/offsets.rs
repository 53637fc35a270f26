//! Byte offsets of the kernel fields that kreset reads.
//!
//! Rust has no CO-RE, and the offsets differ on every kernel build, so the
//! loader resolves them from the running kernel's BTF and injects this struct
//! into `.rodata` before load.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Marks a field that the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident),+ $(,)?) => {
        /// Offsets in bytes from the start of the structure named in each
        /// field's comment; [`ABSENT`] where the kernel has no such field.
        /// Bit fields have a `_shift` beside them.
        #[repr(C)]
        #[derive(
            Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq,
        )]
        pub struct Offsets { $($(#[$doc])* pub $field: u32,)+ }

        impl Offsets {
            /// No field resolved: every read yields "unknown".
            pub const UNRESOLVED: Self = Self { $($field: ABSENT,)+ };
        }
    };
}

offsets! {
    // struct sock (through __sk_common: valid for mini-sockets too)
    /// `sock.__sk_common.skc_family`, u16.
    sk_family,
    /// `sock.__sk_common.skc_state`, u8.
    sk_state,
    /// `sock.__sk_common.skc_num`, u16, host order.
    sk_num,
    /// `sock.__sk_common.skc_dport`, u16, network order.
    sk_dport,
    /// `sock.__sk_common.skc_daddr`, u32, network order.
    sk_daddr,
    /// `sock.__sk_common.skc_rcv_saddr`, u32, network order.
    sk_rcv_saddr,
    /// `sock.__sk_common.skc_v6_daddr`, 16 bytes.
    sk_v6_daddr,
    /// `sock.__sk_common.skc_v6_rcv_saddr`, 16 bytes.
    sk_v6_rcv_saddr,
    /// `sock.__sk_common.skc_net.net`, pointer to `net`.
    sk_net,
    /// `net.ns.inum`, u32.
    net_inum,
    /// `sock.sk_err`, int.
    sk_err,
    /// `sock.sk_shutdown`, u8.
    sk_shutdown,
    /// `sock.sk_ack_backlog`, u32: connections in a listener's accept queue.
    sk_ack_backlog,
    /// `sock.sk_max_ack_backlog`, u32.
    sk_max_ack_backlog,
    /// `sock.sk_drops.counter`, int: of a listener, what it dropped.
    sk_drops,
    /// `sock.sk_socket`, pointer; NULL while orphaned or not yet accepted.
    sk_socket,
    /// `sock.sk_cgrp_data.cgroup`, pointer to `cgroup`; since 5.15.
    sk_cgroup,
    /// `cgroup.kn`, pointer to `kernfs_node`.
    cgroup_kn,
    /// `kernfs_node.id`, u64.
    kernfs_id,

    // struct tcp_sock, its inet_connection_sock and its inet_sock
    /// `inet_sock.inet_sport`, u16, network order. Still set after `inet_put_port`
    /// clears `skc_num`, which it does before the RST of a `close()` is sent.
    inet_sport,
    /// `inet_connection_sock.icsk_ack.lrcvtime`, u32 jiffies.
    lrcvtime,
    /// `inet_connection_sock.icsk_probes_out`, u8.
    probes_out,
    /// `inet_connection_sock.icsk_retransmits`, u8.
    retransmits,
    /// `tcp_sock.lsndtime`, u32 jiffies.
    lsndtime,
    /// `tcp_sock.rcv_tstamp`, u32 jiffies.
    rcv_tstamp,
    /// `tcp_sock.tcp_mstamp`, u64 microseconds.
    tcp_mstamp,
    /// `tcp_sock.first_tx_mstamp`, u64 microseconds.
    first_tx_mstamp,
    /// `tcp_sock.srtt_us`, u32, microseconds << 3.
    srtt_us,
    /// `tcp_sock.rtt_min.s[0].v`, u32 microseconds.
    min_rtt_us,
    /// `tcp_sock.packets_out`, u32.
    packets_out,
    /// `tcp_sock.total_retrans`, u32.
    total_retrans,
    /// `tcp_sock.snd_una`, u32.
    snd_una,
    /// `tcp_sock.snd_nxt`, u32.
    snd_nxt,
    /// `tcp_sock.rcv_nxt`, u32.
    rcv_nxt,
    /// `tcp_sock.rcv_wup`, u32: `rcv_nxt` when the window was last advertised.
    rcv_wup,
    /// `tcp_sock.rcv_wnd`, u32: the window advertised then.
    rcv_wnd,
    /// `tcp_sock.snd_wnd`, u32: the window that the peer advertised last.
    snd_wnd,
    /// `tcp_sock.write_seq`, u32: end of the data that was written, sent or not.
    write_seq,
    /// `tcp_sock.max_window`, u32: largest window that the peer has advertised.
    max_window,
    /// `tcp_sock.bytes_sent`, u64; since 4.19.
    bytes_sent,
    /// `tcp_sock.bytes_retrans`, u64; since 4.19.
    bytes_retrans,
    /// `tcp_sock.bytes_acked`, u64.
    bytes_acked,
    /// `tcp_sock.bytes_received`, u64.
    bytes_received,
    /// `tcp_sock.segs_in`, u32.
    segs_in,
    /// `tcp_sock.segs_out`, u32.
    segs_out,
    /// `tcp_sock.data_segs_in`, u32.
    data_segs_in,
    /// `tcp_sock.data_segs_out`, u32.
    data_segs_out,
    /// `tcp_sock.rx_opt.saw_tstamp`, byte that holds the bit.
    saw_tstamp,
    /// Bit of `saw_tstamp` in its byte.
    saw_tstamp_shift,
    /// `tcp_sock.rx_opt.tstamp_ok`, byte that holds the bit.
    tstamp_ok,
    /// Bit of `tstamp_ok` in its byte.
    tstamp_ok_shift,
    /// `tcp_sock.rx_opt.ts_recent`, u32: the peer's timestamp that is echoed next.
    ts_recent,
    /// `tcp_sock.rx_opt.ts_recent_stamp`, int: `ktime_get_seconds` when it came.
    ts_recent_stamp,
    /// `tcp_sock.rx_opt.rcv_tsval`, u32: timestamp of the segment being processed.
    rcv_tsval,
    /// `tcp_sock.rx_opt.rcv_tsecr`, u32: the timestamp of this host's that it echoes.
    rcv_tsecr,
    /// `tcp_sock.rx_opt.num_sacks`, u8.
    num_sacks,
    /// `tcp_sock.rx_opt.mss_clamp`, u16.
    mss_clamp,
    /// `tcp_sock.copied_seq`, u32.
    copied_seq,
    /// `tcp_sock.selective_acks[0].end_seq`, u32.
    sack_end_0,
    /// `tcp_sock.selective_acks[1].end_seq`, u32.
    sack_end_1,
    /// `tcp_sock.selective_acks[2].end_seq`, u32.
    sack_end_2,
    /// `tcp_sock.selective_acks[3].end_seq`, u32.
    sack_end_3,

    // struct sk_buff
    /// `sk_buff.head`, pointer to the packet's buffer.
    skb_head,
    /// `sk_buff.network_header`, u16 offset into the buffer.
    skb_network_header,
    /// `sk_buff.transport_header`, u16 offset into the buffer.
    skb_transport_header,
    /// `sk_buff.dev`, pointer to `net_device`.
    skb_dev,
    /// `net_device.nd_net.net`, pointer to `net`.
    dev_net,

    // struct task_struct
    /// `task_struct.flags`, u32; `PF_EXITING` is 0x4.
    task_flags,
    /// `task_struct.exit_code`, int; the low 7 bits are the fatal signal.
    task_exit_code,
    /// `task_struct.group_leader`, pointer to `task_struct`.
    task_group_leader,
    /// `task_struct.start_boottime`, u64 nanoseconds since boot; since 5.5.
    task_start_boottime,

    /// `task_struct.tgid`, int.
    task_tgid,
    /// `task_struct.comm`, 16 bytes.
    task_comm,
    /// `task_struct.signal`, pointer to `signal_struct`.
    task_signal,

    // struct signal_struct
    /// `signal_struct.live.counter`, int: threads that have not begun to exit.
    signal_live,
    /// `signal_struct.group_exit_code`, int.
    signal_group_exit_code,

    // struct socket, for seeding
    /// `socket.sk`, pointer to `sock`.
    socket_sk,

    // for seeding before 5.11
    /// `file.private_data`, of a socket's file a pointer to `socket`.
    file_private_data,
    /// `file.f_inode`, pointer to `inode`.
    file_inode,
    /// `inode.i_mode`, u16; `S_IFSOCK` is 0xc000.
    inode_mode,
    /// `sock.sk_protocol`, u16; since 5.6.
    sk_protocol,
}
