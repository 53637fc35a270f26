//! How busy the two ends of a connection were.

use kreset_common::record::{Load as Raw, load_present as present};
use serde::{Deserialize, Serialize};

use crate::event::{AcceptQueue, OpenFiles, Pressure};

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

/// What a host shows of a broker's process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostLoad {
    /// Its open files.
    pub files: Option<OpenFiles>,
    /// How much its tasks wait.
    pub pressure: Option<Pressure>,
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
