//! The kernel side's tables that give up an entry for a new one where they are full.
//!
//! Kernel: of a table of `BPF_MAP_TYPE_LRU_HASH` each CPU takes free entries in batches and keeps
//! the rest of a batch for itself; where none is free, it gives up entries that are in use, although
//! others have some left (`bpf_common_lru_pop_free`, `bpf_lru_list_pop_free_to_local`, 5.10 to 7.3).
//! So the loader makes each table larger by what the CPUs can keep.

/// How many entries each CPU can keep. Kernel: `LOCAL_FREE_TARGET`.
pub const KEPT_BY_CPU: u32 = 128;

/// Connections that ended.
pub const ENDED: usize = 8_192;
/// Brokers that sent a reset recently.
pub const RECENT_RESETS: usize = 4_096;
/// Processes that listen.
pub const LISTENERS: usize = 1_024;
/// How many sockets listen on a port.
pub const LISTENING: usize = 1_024;
/// Resets that are being sent.
pub const SENDING: usize = 1_024;

/// Their names, and how many entries in use each has room for.
pub const TABLES: [(&str, usize); 5] = [
    ("ENDED", ENDED),
    ("RECENT_RESETS", RECENT_RESETS),
    ("LISTENERS", LISTENERS),
    ("LISTENING", LISTENING),
    ("SENDING", SENDING),
];
