//! Finds the fields of [`Offsets`] in the kernel's BTF.
//!
//! One table says what each is, how wide it is read, and what is lost without
//! it. A field is used only if BTF gives it exactly the width that the kernel
//! side reads: a wrong read is worse than none.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use kreset_common::offsets::Offsets;

use super::{
    btf::{Btf, BtfError, Field, Shape, Structure},
    feature::Feature,
};

/// How the kernel side reads a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// An integer of so many bytes.
    Integer(u32),
    /// A pointer.
    Pointer,
    /// So many bytes, copied.
    Bytes(u32),
    /// A bit field of one bit.
    Bit,
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(size) => write!(f, "an integer of {size} bytes"),
            Self::Pointer => f.write_str("a pointer"),
            Self::Bytes(size) => write!(f, "an array or struct of {size} bytes"),
            Self::Bit => f.write_str("a single bit"),
        }
    }
}

impl Width {
    fn fits(self, field: &Field) -> bool {
        match self {
            Self::Integer(size) => {
                field.shape == Shape::Integer && field.bits.is_none() && field.size == size
            }
            Self::Pointer => field.shape == Shape::Pointer,
            Self::Bytes(size) => field.shape == Shape::Aggregate && field.size == size,
            Self::Bit => field.bits.is_some_and(|bits| bits.width == 1),
        }
    }
}

/// Why a field cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// BTF does not say where it is.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// It is not what the kernel side would read.
    #[error("expected {expected}")]
    Width {
        /// How it would be read.
        expected: Width,
        /// What BTF says.
        found: Field,
    },
}

/// A kernel that kreset does not run on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffsetError {
    /// A field that kreset cannot do without.
    #[error("kernel field {structure}.{path}: {why}")]
    Needed {
        /// Its structure.
        structure: &'static str,
        /// Its path in the structure.
        path: &'static str,
        /// What is wrong with it.
        why: Unusable,
    },
    /// A structure does not start with the one that it embeds, so a pointer to
    /// the one is no pointer to the other.
    #[error("kernel struct {outer} does not start with a struct {inner}")]
    Embedding {
        /// The outer structure.
        outer: &'static str,
        /// The structure that should be its first member.
        inner: &'static str,
    },
}

/// An optional field that this kernel does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its structure.
    pub structure: &'static str,
    /// Its path in the structure.
    pub path: &'static str,
    /// What is wrong with it.
    pub why: Unusable,
    /// What is worse without it.
    pub feature: Feature,
}

/// The fields of this kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What the kernel side is given.
    pub offsets: Offsets,
    /// Fields marked absent in `offsets`.
    pub missing: Vec<Missing>,
}

/// Resolves all fields.
///
/// # Errors
///
/// If a needed field is absent, ambiguous or of another width, or if the
/// socket structures do not embed one another as they have since Linux 2.6.
pub fn resolve(btf: &Btf<'_>) -> Result<Resolved, OffsetError> {
    check_embedding(btf)?;
    let mut resolved = Resolved {
        offsets: Offsets::UNRESOLVED,
        missing: Vec::new(),
    };
    for (name, lines) in TABLE {
        let structure = btf.structure(name);
        for line in *lines {
            match (line.locate(structure.as_ref()), line.need) {
                (Ok(field), _) => line.slot.set(&mut resolved.offsets, &field),
                (Err(why), Need::Needed) => {
                    return Err(OffsetError::Needed {
                        structure: name,
                        path: line.path,
                        why,
                    });
                }
                (Err(why), Need::For(feature)) => resolved.missing.push(Missing {
                    structure: name,
                    path: line.path,
                    why,
                    feature,
                }),
            }
        }
    }
    Ok(resolved)
}

/// The paths that [`resolve`] asks for, by structure.
pub(super) fn wanted() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut wanted = BTreeMap::<_, BTreeSet<_>>::new();
    for (structure, lines) in TABLE {
        let paths = lines.iter().map(|line| line.path);
        wanted.entry(*structure).or_default().extend(paths);
    }
    for (outer, member, _) in EMBEDDING {
        wanted.entry(*outer).or_default().insert(*member);
    }
    wanted
}

/// Structures that the kernel side takes one for the other: a `tcp_sock` is
/// read as the three that it embeds, and a mini-socket, which
/// `tcp_send_reset` may hand out since 6.10, as a `sock_common`.
const EMBEDDING: &[(&str, &str, &str)] = &[
    ("tcp_sock", "inet_conn", "inet_connection_sock"),
    ("inet_connection_sock", "icsk_inet", "inet_sock"),
    ("inet_sock", "sk", "sock"),
    ("sock", "__sk_common", "sock_common"),
    ("inet_timewait_sock", "__tw_common", "sock_common"),
    ("request_sock", "__req_common", "sock_common"),
];

fn check_embedding(btf: &Btf<'_>) -> Result<(), OffsetError> {
    for &(outer, member, inner) in EMBEDDING {
        let is_first = btf.structure(outer).and_then(|structure| {
            Ok(structure.is_struct(member, inner)? && structure.field(member)?.offset == 0)
        });
        if is_first != Ok(true) {
            return Err(OffsetError::Embedding { outer, inner });
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Need {
    /// Without it no verdict can be right.
    Needed,
    /// Without it this feature is worse.
    For(Feature),
}

/// Where a resolved place goes.
#[derive(Clone, Copy)]
enum Slot {
    Byte(fn(&mut Offsets) -> &mut u32),
    Bit(fn(&mut Offsets) -> &mut u32, fn(&mut Offsets) -> &mut u32),
}

impl Slot {
    fn set(self, offsets: &mut Offsets, field: &Field) {
        match self {
            Self::Byte(byte) => *byte(offsets) = field.offset,
            Self::Bit(byte, shift) => {
                *byte(offsets) = field.offset;
                if let Some(bits) = field.bits {
                    *shift(offsets) = u32::from(bits.shift);
                }
            }
        }
    }
}

/// One field.
struct Line {
    path: &'static str,
    width: Width,
    need: Need,
    slot: Slot,
}

impl Line {
    fn locate(&self, structure: Result<&Structure<'_>, &BtfError>) -> Result<Field, Unusable> {
        let field = structure.map_err(Clone::clone)?.field(self.path)?;
        if self.width.fits(&field) {
            Ok(field)
        } else {
            Err(Unusable::Width {
                expected: self.width,
                found: field,
            })
        }
    }
}

const U8: Width = Width::Integer(1);
const U16: Width = Width::Integer(2);
const U32: Width = Width::Integer(4);
const U64: Width = Width::Integer(8);
const POINTER: Width = Width::Pointer;
const BIT: Width = Width::Bit;

/// Structures and their lines: path, width, whether it is needed or for which feature, and the
/// field of [`Offsets`], with the field of its shift for a bit.
macro_rules! table {
    ($($structure:literal {
        $($path:literal $width:expr, $need:ident => $byte:ident $(+ $shift:ident)?;)+
    })+) => {
        &[$(($structure, &[$(Line {
            path: $path,
            width: $width,
            need: table!(@need $need),
            slot: table!(@slot $byte $(+ $shift)?),
        },)+]),)+]
    };
    (@need Needed) => { Need::Needed };
    (@need $feature:ident) => { Need::For(Feature::$feature) };
    (@slot $byte:ident) => { Slot::Byte(|offsets| &mut offsets.$byte) };
    (@slot $byte:ident + $shift:ident) => {
        Slot::Bit(|offsets| &mut offsets.$byte, |offsets| &mut offsets.$shift)
    };
}

/// Every field of [`Offsets`], by structure.
const TABLE: &[(&str, &[Line])] = table! {
    "sock" {
        "__sk_common.skc_family" U16, Needed => sk_family;
        "__sk_common.skc_state" U8, Needed => sk_state;
        "__sk_common.skc_num" U16, Needed => sk_num;
        "__sk_common.skc_dport" U16, Needed => sk_dport;
        "__sk_common.skc_daddr" U32, Needed => sk_daddr;
        "__sk_common.skc_rcv_saddr" U32, Needed => sk_rcv_saddr;
        "__sk_common.skc_v6_daddr" Width::Bytes(16), Needed => sk_v6_daddr;
        "__sk_common.skc_v6_rcv_saddr" Width::Bytes(16), Needed => sk_v6_rcv_saddr;
        "__sk_common.skc_net.net" POINTER, Needed => sk_net;
        // Separates data that arrived after close() from a RST: tcp_reset() fires
        // for both, and calling the one the other would be wrong, not worse.
        "sk_shutdown" U8, Needed => sk_shutdown;
        "sk_err" U32, Timeouts => sk_err;
        "sk_ack_backlog" U32, Socketless => sk_ack_backlog;
        "sk_max_ack_backlog" U32, Socketless => sk_max_ack_backlog;
        "sk_drops.counter" U32, Load => sk_drops;
        "sk_protocol" U16, Seeding => sk_protocol;
        "sk_socket" POINTER, Owner => sk_socket;
        // A union without it until 5.15 ("bpf, cgroups: Fix cgroup v2 fallback on
        // v1/v2 mixed mode"), which stable kernels took too: 5.10.262 has it.
        "sk_cgrp_data.cgroup" POINTER, Cgroup => sk_cgroup;
    }
    "net" {
        "ns.inum" U32, Needed => net_inum;
    }
    "cgroup" {
        "kn" POINTER, Cgroup => cgroup_kn;
    }
    "kernfs_node" {
        "id" U64, Cgroup => kernfs_id;
    }
    "inet_sock" {
        "inet_sport" U16, Needed => inet_sport;
    }
    "inet_connection_sock" {
        "icsk_ack.lrcvtime" U32, Needed => lrcvtime;
        "icsk_probes_out" U8, Keepalive => probes_out;
        "icsk_retransmits" U8, Retransmits => retransmits;
    }
    "tcp_sock" {
        "lsndtime" U32, Needed => lsndtime;
        "rcv_tstamp" U32, Needed => rcv_tstamp;
        "packets_out" U32, Needed => packets_out;
        "snd_una" U32, Needed => snd_una;
        "snd_nxt" U32, Needed => snd_nxt;
        "rcv_nxt" U32, Needed => rcv_nxt;
        "tcp_mstamp" U64, Idle => tcp_mstamp;
        "first_tx_mstamp" U64, Idle => first_tx_mstamp;
        "srtt_us" U32, Rtt => srtt_us;
        "rtt_min.s[0].v" U32, Rtt => min_rtt_us;
        "total_retrans" U32, Retransmits => total_retrans;
        "bytes_sent" U64, Bytes => bytes_sent;
        "bytes_retrans" U64, Bytes => bytes_retrans;
        "bytes_acked" U64, Bytes => bytes_acked;
        "bytes_received" U64, Bytes => bytes_received;
        "segs_in" U32, Bytes => segs_in;
        "segs_out" U32, Bytes => segs_out;
        "data_segs_in" U32, Bytes => data_segs_in;
        "data_segs_out" U32, Bytes => data_segs_out;
        "rx_opt.saw_tstamp" BIT, ResetTimestamps => saw_tstamp + saw_tstamp_shift;
        "rx_opt.tstamp_ok" BIT, ResetTimestamps => tstamp_ok + tstamp_ok_shift;
        "rx_opt.num_sacks" U8, Bytes => num_sacks;
        "rx_opt.mss_clamp" U16, Bytes => mss_clamp;
        "copied_seq" U32, Bytes => copied_seq;
        "rx_opt.ts_recent" U32, ResetTimestamps => ts_recent;
        "rx_opt.ts_recent_stamp" U32, ResetTimestamps => ts_recent_stamp;
        "rx_opt.rcv_tsval" U32, ResetTimestamps => rcv_tsval;
        "rx_opt.rcv_tsecr" U32, ResetTimestamps => rcv_tsecr;
        "rcv_wup" U32, AcceptedPackets => rcv_wup;
        "rcv_wnd" U32, AcceptedPackets => rcv_wnd;
        "snd_wnd" U32, Load => snd_wnd;
        "write_seq" U32, AcceptedPackets => write_seq;
        "max_window" U32, AcceptedPackets => max_window;
        "selective_acks[0].end_seq" U32, AcceptedPackets => sack_end_0;
        "selective_acks[1].end_seq" U32, AcceptedPackets => sack_end_1;
        "selective_acks[2].end_seq" U32, AcceptedPackets => sack_end_2;
        "selective_acks[3].end_seq" U32, AcceptedPackets => sack_end_3;
    }
    "sk_buff" {
        "head" POINTER, Socketless => skb_head;
        "network_header" U16, Socketless => skb_network_header;
        "transport_header" U16, Socketless => skb_transport_header;
        "dev" POINTER, Socketless => skb_dev;
    }
    "net_device" {
        "nd_net.net" POINTER, Socketless => dev_net;
    }
    "task_struct" {
        "flags" U32, ProcessExit => task_flags;
        "exit_code" U32, ProcessExit => task_exit_code;
        "group_leader" POINTER, Owner => task_group_leader;
        "start_boottime" U64, Owner => task_start_boottime;
        "tgid" U32, Owner => task_tgid;
        "comm" Width::Bytes(16), Owner => task_comm;
        "signal" POINTER, ProcessEnd => task_signal;
    }
    "signal_struct" {
        "live.counter" U32, ProcessEnd => signal_live;
        "group_exit_code" U32, ProcessEnd => signal_group_exit_code;
    }
    "socket" {
        "sk" POINTER, Seeding => socket_sk;
    }
    "file" {
        "private_data" POINTER, Seeding => file_private_data;
        "f_inode" POINTER, Seeding => file_inode;
    }
    "inode" {
        "i_mode" U16, Seeding => inode_mode;
    }
};

/// Every field with its place, as the table has them.
#[cfg(test)]
pub(super) fn listed(mut offsets: Offsets) -> Vec<(String, u32)> {
    let mut list = Vec::new();
    for (structure, lines) in TABLE {
        for Line { path, slot, .. } in *lines {
            let (Slot::Byte(byte) | Slot::Bit(byte, _)) = slot;
            list.push((format!("{structure}.{path}"), *byte(&mut offsets)));
            if let Slot::Bit(_, shift) = slot {
                list.push((format!("{structure}.{path} shift"), *shift(&mut offsets)));
            }
        }
    }
    list
}

#[cfg(test)]
pub(crate) mod synthetic;
#[cfg(test)]
mod tests;
