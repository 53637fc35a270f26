//! What is known of one sink while it runs.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use super::SinkError;
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
    /// What of `lost` a `loss` event has told.
    told: AtomicU64,
    reopen: AtomicBool,
    failure: Mutex<Option<SinkError>>,
}

/// One look at a [`Status`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Events that it has still to deliver.
    pub waiting: u64,
    /// Bytes of its spool on disk.
    pub spool_bytes: u64,
    /// Events delivered.
    pub delivered: u64,
    /// Tries that failed.
    pub failures: u64,
    /// Events that it never will deliver.
    pub lost: u64,
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
        }
    }

    /// One more event is in the queue.
    pub(super) fn enqueued(&self) {
        self.queued.fetch_add(1, Relaxed);
    }

    /// So many have left the queue.
    pub(super) fn dequeued(&self, count: u64) {
        self.queued.fetch_sub(count, Relaxed);
    }

    /// Events in the queue.
    pub(super) fn queued(&self) -> u64 {
        self.queued.load(Relaxed)
    }

    /// What the spool holds now.
    pub(super) fn spooled(&self, depth: u64, bytes: u64) {
        self.depth.store(depth, Relaxed);
        self.bytes.store(bytes, Relaxed);
    }

    /// So many were delivered.
    pub(super) fn deliver(&self, count: u64) {
        self.delivered.fetch_add(count, Relaxed);
    }

    /// One more try failed.
    pub(super) fn fail(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// So many never will be delivered.
    pub(super) fn lose(&self, count: u64) {
        self.lost.fetch_add(count, Relaxed);
    }

    /// How many were lost that no `loss` event has told of yet.
    pub(super) fn take_untold(&self) -> u64 {
        let lost = self.lost.load(Relaxed);
        lost.saturating_sub(self.told.swap(lost, Relaxed))
    }

    /// Asks for the place to be opened anew.
    pub(super) fn ask_reopen(&self) {
        self.reopen.store(true, Relaxed);
    }

    /// Whether that was asked since the last call.
    pub(super) fn take_reopen(&self) -> bool {
        self.reopen.swap(false, Relaxed)
    }

    /// The sink cannot go on.
    pub(super) fn end_with(&self, error: SinkError) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Why it cannot go on.
    pub(super) fn take_failure(&self) -> Option<SinkError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
