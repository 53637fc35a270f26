//! The signals that a run handles.

use std::io;

use nix::sys::signal::{SigSet, Signal::SIGHUP};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::RunError;

/// Blocks SIGHUP until a run handles it.
///
/// It would end a process that is starting or attaching. It is blocked, not caught, because the verifier gives up if a signal is
/// pending (kernel: `do_check` returns EAGAIN, 5.10 to 7.3).
///
/// # Errors
///
/// If the system refuses.
pub fn hold_reloads() -> Result<(), RunError> {
    SigSet::from(SIGHUP)
        .thread_block()
        .map_err(|source| failed(source.into()))
}

/// Lets SIGHUP through again.
///
/// # Errors
///
/// If the system refuses.
pub fn release_reloads() -> Result<(), RunError> {
    SigSet::from(SIGHUP)
        .thread_unblock()
        .map_err(|source| failed(source.into()))
}

/// The signals that a run handles.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    End,
    Reload,
}

impl Signals {
    /// Catches them, and lets SIGHUP through.
    pub(super) fn new() -> Result<Self, RunError> {
        let caught = |kind| signal(kind).map_err(failed);
        let signals = Self {
            interrupt: caught(SignalKind::interrupt())?,
            terminate: caught(SignalKind::terminate())?,
            hang_up: caught(SignalKind::hangup())?,
        };
        release_reloads()?;
        Ok(signals)
    }

    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::End,
            _ = self.terminate.recv() => Asked::End,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }
}

const fn failed(source: io::Error) -> RunError {
    RunError::System {
        what: "cannot catch signals",
        source,
    }
}
