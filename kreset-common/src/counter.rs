//! Indices of the kernel side's per-CPU counters.

/// Records that found no room in the ring buffer.
pub const LOST: u32 = 0;
/// Connections and listeners found when the tracer started.
pub const SEEDED: u32 = 1;
/// Resets of data that arrived after this host's own `close()`: no RST came
/// (kernel: `tcp_rcv_state_process` calls `tcp_reset` itself).
pub const LOCAL_RESET: u32 = 2;
/// Connections that found no memory to be remembered in.
pub const UNTRACKED: u32 = 3;
/// Entries made in the table of connections that stands for socket storage.
pub const TABLE_MADE: u32 = 4;
/// Entries taken out of it because their sockets ended. What was made and not
/// taken out is in the table, or was evicted.
pub const TABLE_FREED: u32 = 5;
/// Changes of state of traced connections that no program was run for, as the
/// next one shows.
pub const SKIPPED: u32 = 6;
/// How many counters there are.
pub const COUNT: u32 = 7;
