//! How busy the two ends of a connection were when it ended.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// How busy this host's end was, and what its socket shows of the other. On the broker's host,
/// that is the broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Load {
    /// Bytes received that the process of this host's socket had not read; kernel:
    /// `tcp_sock.copied_seq`.
    pub unread_bytes: Option<u64>,
    /// What was left of the window that this host offered, bytes; kernel:
    /// `tcp_receive_window`.
    pub receive_window_bytes: Option<u32>,
    /// The window that the peer offered last, bytes: 0 is a process that does not read; kernel:
    /// `tcp_sock.snd_wnd`.
    pub peer_window_bytes: Option<u32>,
    /// Whether the client's latest data had drawn none of the broker's; `null` where the
    /// packets before the end were let pass, or none are watched.
    pub unanswered: Option<bool>,
    /// The accept queue of the listener at the broker's port, on the broker's host; of several
    /// listeners, of the one that began last.
    pub accept_queue: Option<AcceptQueue>,
    /// Open files of the broker's process, on its host; since Linux 6.2.
    pub open_files: Option<OpenFiles>,
    /// How much tasks wait there.
    pub pressure: Option<Pressure>,
}

/// Connections that are established and that the listener's process has not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AcceptQueue {
    /// How many there are; kernel: `sk_ack_backlog`.
    pub length: u32,
    /// The queue is full with one more than these: the backlog of listen(2), at most
    /// `net.core.somaxconn`; kernel: `sk_max_ack_backlog`.
    pub limit: u32,
    /// SYNs and handshakes that it has dropped since it listens, mostly for want of room there;
    /// kernel: `sk_drops`.
    pub drops: Option<u32>,
}

impl AcceptQueue {
    /// Kernel: `sk_acceptq_is_full`.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.length > self.limit
    }
}

/// Open files of a process; sockets are files too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OpenFiles {
    /// How many it had.
    pub open: u64,
    /// How many it may have (`RLIMIT_NOFILE`, the soft limit).
    pub limit: u64,
}

impl OpenFiles {
    /// accept(2) fails, or is about to: a process keeps a few for a moment.
    #[must_use]
    pub const fn are_used_up(self) -> bool {
        const MARGIN: u64 = 8;
        self.open.saturating_add(MARGIN) >= self.limit
    }
}

/// Pressure stall information: the share of the last ten seconds in which some task waited,
/// percent; kernel: `some avg10`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pressure {
    /// The control group of the broker's process: its unit, container or pod, else its path;
    /// `null` for the whole host.
    pub of: Option<SmolStr>,
    /// For a processor.
    pub cpu: Option<f64>,
    /// For memory.
    pub memory: Option<f64>,
    /// For disks.
    pub io: Option<f64>,
}
