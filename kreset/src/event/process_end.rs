//! How the process that listened at the broker's port ended, or what was asked of it.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::verdict::words;

words! {
    /// What became of a process.
    Ended {
        /// The out-of-memory killer ended it.
        OutOfMemory = "out_of_memory",
        /// A signal ended it that it could not act on, or that another process sent.
        Killed = "killed",
        /// A signal ended it that it brought on itself.
        Crashed = "crashed",
        /// It ended after it was asked to.
        Stopped = "stopped",
        /// It ended by itself.
        Exited = "exited",
        /// It was asked to end, and runs.
        Asked = "asked",
        /// A signal suspended it, for the time or for a while just before.
        Suspended = "suspended",
    }
}

impl Ended {
    /// Its connections end with it, or soon after.
    #[must_use]
    pub const fn is_end(self) -> bool {
        !matches!(self, Self::Suspended)
    }
}

/// What is known of the end of the process that listens, or listened, at the broker's port of
/// this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProcessEnd {
    /// What became of it.
    pub what: Ended,
    /// One sentence without its full stop: who or what ended it.
    pub summary: SmolStr,
    /// Thread group id, in the initial pid namespace.
    pub pid: u32,
    /// Command name of its first thread.
    pub name: Option<SmolStr>,
    /// Milliseconds from its end to this event, less than 0 where it ended after; `null` while
    /// it runs.
    pub ended_ms: Option<f64>,
    /// Its exit code; `null` where a signal ended it.
    pub exit_code: Option<u8>,
    /// The signal that ended it or suspended it, such as `SIGKILL`.
    pub signal: Option<SmolStr>,
    /// Whether that left a core.
    pub core_dumped: Option<bool>,
    /// Who sent that signal; `null` where it brought it on itself, or nothing tells.
    pub by: Option<SignalSender>,
    /// The first signal that asked it to end: `SIGTERM`, `SIGINT` or `SIGHUP`.
    pub asked: Option<Asked>,
    /// Milliseconds for which it was suspended.
    pub suspended_ms: Option<f64>,
    /// Its memory, where that ran out.
    pub memory: Option<MemoryEnd>,
}

/// A request to end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Asked {
    /// The signal.
    pub signal: SmolStr,
    /// Who sent it.
    pub by: SignalSender,
    /// Milliseconds from it to the end of the process, or to this event while it runs.
    pub ms: f64,
}

/// Who sent a signal: the process that was running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SignalSender {
    /// Thread group id, in the initial pid namespace.
    pub pid: u32,
    /// Command name of its first thread.
    pub name: Option<SmolStr>,
    /// User id, in the initial user namespace.
    pub uid: u32,
    /// Cgroup v2 path.
    pub cgroup: Option<SmolStr>,
    /// The kernel sent it by itself while this process ran.
    pub by_kernel: bool,
}

/// Whose memory was used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemoryEnd {
    /// Whether that was a control group's (`true`) or the whole machine's; `null` where
    /// nothing tells.
    pub of_cgroup: Option<bool>,
    /// What people call the control group: its unit, container or pod, else its path.
    pub cgroup: Option<SmolStr>,
    /// The limit of the control group, or the memory of the machine, bytes.
    pub limit_bytes: Option<u64>,
}
