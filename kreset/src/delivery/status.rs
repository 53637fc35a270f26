//! The state of a running sink.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use super::{
    SinkError,
    health::{SinkHealth, SinkState},
};
use crate::event::SinkCoverage;

/// Counts and flags of one sink, shared by its threads and the pipeline.
#[derive(Debug, Default)]
pub struct Status {
    queued: AtomicU64,
    depth: AtomicU64,
    bytes: AtomicU64,
    delivered: AtomicU64,
    failures: AtomicU64,
    lost: AtomicU64,
    /// The part of `lost` that `loss` events have reported.
    reported: AtomicU64,
    restarts: AtomicU64,
    health: SinkHealth,
    reopen: AtomicBool,
    failure: Mutex<Option<SinkError>>,
}

/// One look at a [`Status`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Events still to be delivered.
    pub waiting: u64,
    /// Bytes of its spool on disk.
    pub spool_bytes: u64,
    /// Events delivered.
    pub delivered: u64,
    /// Failed attempts.
    pub failures: u64,
    /// Events that will never be delivered.
    pub lost: u64,
    /// Threads that failed and were started again.
    pub restarts: u64,
}

impl From<Snapshot> for SinkCoverage {
    fn from(snapshot: Snapshot) -> Self {
        let Snapshot {
            delivered,
            waiting,
            lost,
            ..
        } = snapshot;
        Self {
            delivered,
            waiting,
            lost,
        }
    }
}

impl Status {
    /// All counts now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            waiting: self.queued.load(Relaxed) + self.depth.load(Relaxed),
            spool_bytes: self.bytes.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            failures: self.failures.load(Relaxed),
            lost: self.lost.load(Relaxed),
            restarts: self.restarts.load(Relaxed),
        }
    }

    /// Its state now.
    #[must_use]
    pub fn state(&self) -> SinkState {
        self.health.state(Instant::now())
    }

    /// Where its threads set that state.
    pub(super) const fn health(&self) -> &SinkHealth {
        &self.health
    }

    /// Counts a thread that failed and is started again.
    pub(super) fn restarted(&self) {
        self.restarts.fetch_add(1, Relaxed);
        self.health.idle();
    }

    /// One more event is in the queue.
    pub(super) fn enqueued(&self) {
        self.queued.fetch_add(1, Relaxed);
    }

    /// `count` events have left the queue.
    pub(super) fn dequeued(&self, count: u64) {
        self.queued.fetch_sub(count, Relaxed);
    }

    /// Events in the queue.
    pub(super) fn queued(&self) -> u64 {
        self.queued.load(Relaxed)
    }

    /// Events in the spool.
    pub(super) fn spooled_events(&self) -> u64 {
        self.depth.load(Relaxed)
    }

    /// Sets the size of the spool.
    pub(super) fn spooled(&self, depth: u64, bytes: u64) {
        self.depth.store(depth, Relaxed);
        self.bytes.store(bytes, Relaxed);
    }

    /// Counts delivered events.
    pub(super) fn deliver(&self, count: u64) {
        self.delivered.fetch_add(count, Relaxed);
    }

    /// Counts a failed attempt.
    pub(super) fn fail(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// Counts events that will never be delivered.
    pub(super) fn record_loss(&self, count: u64) {
        self.lost.fetch_add(count, Relaxed);
    }

    /// Lost events that no `loss` event has reported yet.
    pub(super) fn take_unreported(&self) -> u64 {
        let lost = self.lost.load(Relaxed);
        lost.saturating_sub(self.reported.swap(lost, Relaxed))
    }

    /// How many lost events no `loss` event has reported yet.
    pub(super) fn unreported(&self) -> u64 {
        let lost = self.lost.load(Relaxed);
        lost.saturating_sub(self.reported.load(Relaxed))
    }

    /// Whether `loss` events have reported all lost events.
    pub(super) fn is_all_reported(&self) -> bool {
        self.lost.load(Relaxed) == self.reported.load(Relaxed)
    }

    /// Asks for the file to be reopened.
    pub(super) fn ask_reopen(&self) {
        self.reopen.store(true, Relaxed);
    }

    /// Whether that was requested since the last call.
    pub(super) fn take_reopen(&self) -> bool {
        self.reopen.swap(false, Relaxed)
    }

    /// Ends the sink with a failure.
    pub(super) fn end_with(&self, error: SinkError) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Why it ended.
    pub(super) fn take_failure(&self) -> Option<SinkError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
