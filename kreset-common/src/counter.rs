//! Indices of the kernel side's per-CPU counters.

/// Records that found no room in the ring buffer.
pub const LOST: u32 = 0;
/// Connections and listeners found when the tracer started.
pub const SEEDED: u32 = 1;
/// Resets of data that arrived after this host's own `close()`: no RST came
/// (kernel: `tcp_rcv_state_process` calls `tcp_reset` itself).
pub const LOCAL_RESET: u32 = 2;
/// Connections that found no room in the map of connections.
pub const UNTRACKED: u32 = 3;
/// How many counters there are.
pub const COUNT: u32 = 4;
