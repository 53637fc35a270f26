//! How busy the two ends of a connection were.

use kreset_common::record::{Load as Raw, load_present as present};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// How busy this host's end was, and what its socket shows of the other. All `None` where
/// nothing is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// What is left of the window that this host offered, bytes.
    pub receive_window: Option<u32>,
    /// The window that the peer offered last, bytes.
    pub peer_window: Option<u32>,
    /// The accept queue of the listener at the broker's port of this host.
    pub accept_queue: Option<AcceptQueue>,
    /// What the host shows of the process and of itself.
    pub host: Option<HostLoad>,
}

/// Connections that a listener's process has not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptQueue {
    /// How many there are.
    pub length: u32,
    /// How many the listener asked for, within `net.core.somaxconn`.
    pub limit: u32,
    /// SYNs and handshakes that it dropped since it listens.
    pub drops: Option<u32>,
}

impl AcceptQueue {
    /// Kernel: `sk_acceptq_is_full`.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.length > self.limit
    }
}

/// What a host shows of a broker's process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostLoad {
    /// Its open files.
    pub files: Option<OpenFiles>,
    /// How much its tasks wait.
    pub pressure: Option<Pressure>,
}

/// Open files of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFiles {
    /// How many it has.
    pub open: u64,
    /// How many it may have: the soft limit.
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

/// Shares of the last ten seconds in which some task waited (kernel: `some avg10` of PSI),
/// percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// The control group, as people call it; `None` for the whole host.
    pub of: Option<SmolStr>,
    /// For a processor.
    pub cpu: Option<f64>,
    /// For memory.
    pub memory: Option<f64>,
    /// For disks.
    pub io: Option<f64>,
}

impl Load {
    /// Of a record of a full socket.
    pub(super) fn of_socket(raw: &Raw) -> Self {
        let has = |bit: u32| raw.present & bit != 0;
        Self {
            receive_window: has(present::WINDOWS).then_some(raw.rcv_wnd),
            peer_window: has(present::WINDOWS).then_some(raw.snd_wnd),
            ..Self::of_listener(raw)
        }
    }

    /// Of the record of a listener's RST.
    pub(super) fn of_listener(raw: &Raw) -> Self {
        let has = |bit: u32| raw.present & bit != 0;
        Self {
            accept_queue: has(present::ACCEPT_QUEUE).then(|| AcceptQueue {
                length: raw.accept_queue,
                limit: raw.accept_limit,
                drops: has(present::DROPS).then_some(raw.listener_drops),
            }),
            ..Self::default()
        }
    }
}
