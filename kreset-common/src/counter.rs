//! Indices of the kernel side's per-CPU counters.

/// Records dropped because the ring buffer was full.
pub const LOST: u32 = 0;
/// Connections and listeners found when the tracer started.
pub const SEEDED: u32 = 1;
/// Connections not tracked because no entry could be allocated.
pub const UNTRACKED: u32 = 2;
/// Entries created in the connection table that replaces socket storage.
pub const TABLE_MADE: u32 = 3;
/// Entries removed from it because their sockets closed. The difference is
/// still in the table, or was evicted.
pub const TABLE_FREED: u32 = 4;
/// State changes of traced connections for which no program ran, detected at
/// the next change or packet.
pub const SKIPPED: u32 = 5;
/// Connections that were freed, and no program had seen how they ended.
pub const UNOBSERVED: u32 = 6;
/// Number of counters.
pub const COUNT: u32 = 7;
