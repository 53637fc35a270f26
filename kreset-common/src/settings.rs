//! Settings that the loader injects before load. They are in `.rodata`, which
//! the kernel freezes, so the verifier sees constants and removes the code of
//! every disabled feature.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A client that closes after so long without an answer is reported, ms.
///
/// Many times longer than a healthy broker takes (`fetch.max.wait.ms` is 500), and shorter than
/// clients wait (`request.timeout.ms` is 30,000, librdkafka's `socket.timeout.ms` 60,000).
pub const UNANSWERED_MS: u32 = 5_000;

/// So long after a RST of a broker a new connection to it is reported, ns.
///
/// A client that was refused comes back after 10 s at most, and a fifth of that (librdkafka,
/// `reconnect.backoff.max.ms`).
pub const RECENT_RESET_NS: u64 = 15_000_000_000;

/// Constants of one run.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq,
)]
pub struct Settings {
    /// Inode number of the only network namespace traced, or 0 for all.
    /// Kernel: `net.ns.inum`.
    pub netns: u32,
    /// Non-zero where `bpf_probe_read_kernel` may be called. Lockdown in
    /// confidentiality mode forbids it; packet headers of socket-less resets
    /// are then unreadable.
    pub probe_read: u32,
    /// Non-zero where the packet programs are attached: then no recorded RST
    /// packet means that none arrived.
    pub packets: u32,
    /// Non-zero to log each decision through aya-log.
    pub debug: u32,
    /// Non-zero where tracing programs cannot use socket storage (before
    /// 5.11): connections live in a hash map keyed by socket address.
    pub hash_storage: u32,
    /// Shortest survived silence that is reported, jiffies.
    pub silence_jiffies: u32,
    /// Non-zero where `bpf_get_current_task_btf` may be called (since 5.11);
    /// elsewhere tasks are read through `bpf_probe_read_kernel`.
    pub task_btf: u32,
    /// Non-zero where the programs on function entries are attached: then a reset
    /// without a recorded RST packet is not one.
    pub fentry: u32,
    /// How long after the peer was last heard from a settled connection is busy,
    /// jiffies; 0 to look at every packet.
    pub busy_jiffies: u32,
    /// How long the client's latest request has been without an answer, at least, where its FIN
    /// is reported, jiffies; 0 to report none.
    pub unanswered_jiffies: u32,
    /// Sockets that are tracked at once, at most.
    pub max_connections: u32,
    /// How many of `port_ranges` hold the traced ports; 0 if the bitmap does.
    pub port_range_count: u32,
    /// The traced ports, where a few ranges hold them all.
    pub port_ranges: [PortRange; PORT_RANGES],
}

/// Ranges that are compared as constants: each costs two instructions.
pub const PORT_RANGES: usize = 4;

/// Adjacent ports.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq,
)]
pub struct PortRange {
    /// The first.
    pub first: u32,
    /// How many follow it.
    pub more: u32,
}
