//! Indices of the kernel side's per-CPU counters.

/// Records that found no room in the ring buffer.
pub const LOST: u32 = 0;
/// Connections and listeners found when the tracer started.
pub const SEEDED: u32 = 1;
/// Connections that found no memory to be remembered in.
pub const UNTRACKED: u32 = 2;
/// Entries made in the table of connections that stands for socket storage.
pub const TABLE_MADE: u32 = 3;
/// Entries taken out of it because their sockets ended. What was made and not
/// taken out is in the table, or was evicted.
pub const TABLE_FREED: u32 = 4;
/// Changes of state of traced connections that no program was run for, as the
/// next one shows.
pub const SKIPPED: u32 = 5;
/// How many counters there are.
pub const COUNT: u32 = 6;
