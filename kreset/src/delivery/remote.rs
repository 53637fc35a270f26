//! Delivery to a receiver that may be slow, restart or be down for hours.
//!
//! Two threads share a spool. The spool writer takes events from the queue,
//! encodes them and appends them to the spool; from then on they survive the
//! process. The sender reads the spool in order, sends batches, and marks as
//! done what the receiver certainly has.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        mpsc::{Receiver as Queue, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use thiserror::Error;

use super::{
    Backoff, Encoder,
    shared::{Shared, State},
    spool::{Entry, Position, Spool},
    status::Status,
};
use crate::{
    event::Message,
    util::{heap::HeapTrimmer, stderr::log},
};

/// Events and bytes that are appended at once, at most.
const APPEND: (usize, usize) = (256, 256 * 1024);
/// Undelivered events are synced to disk within this time.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How often a connection is checked while a batch on it is unconfirmed.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A thread that waits for events wakes up at least this often.
const IDLE: Duration = Duration::from_hours(1);
/// A batch of this many events takes memory that is worth returning to the system.
const MANY: usize = 64;
/// Longer events are dropped: receivers accept far less.
const LONGEST_EVENT: usize = 1024 * 1024;

/// How a batch was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// The receiver has acknowledged it.
    Confirmed,
    /// The protocol has no acknowledgement. A batch counts as delivered once the
    /// receiver's kernel has it ([`Remote::check`]) and the connection has stayed
    /// up this much longer.
    Unconfirmed(Duration),
}

/// Why a batch was not sent.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// The receiver cannot be reached or is busy: retry.
    #[error("{0}")]
    Unavailable(String),
    /// The receiver rejects this batch: do not retry.
    #[error("the receiver rejected an event: {0}")]
    Refused(String),
}

/// A receiver at the other end of a connection.
pub trait Remote: Send {
    /// Events and bytes in a batch, at most.
    fn batch(&self) -> (usize, usize) {
        (512, 512 * 1024)
    }

    /// Sends a batch, in order. Connects if needed. It must give up after some
    /// seconds.
    ///
    /// # Errors
    ///
    /// When the batch, or part of it, was not sent.
    fn send(&mut self, batch: &[Entry]) -> Result<Handed, RemoteError>;

    /// Checks whether the connection is still up; returns how many of the latest
    /// batches have not completely reached the receiver's host.
    ///
    /// # Errors
    ///
    /// When unconfirmed batches have to be sent again.
    fn check(&mut self) -> Result<usize, RemoteError> {
        Ok(0)
    }

    /// Closes the connection; returns whether the receiver has read all that was
    /// sent.
    fn finish(&mut self) -> bool {
        false
    }
}

/// Takes events from the queue into the spool.
pub(super) struct SpoolWriter {
    pub(super) name: String,
    pub(super) queue: Queue<Arc<Message>>,
    pub(super) encoder: Box<dyn Encoder>,
    pub(super) shared: Arc<Shared<Spool>>,
    pub(super) status: Arc<Status>,
}

impl SpoolWriter {
    /// Writes until no more events come.
    pub(super) fn run(mut self) {
        let mut sync_at = Instant::now() + SYNC_EVERY;
        loop {
            let until_sync = sync_at.saturating_duration_since(Instant::now());
            let ended = match self.queue.recv_timeout(until_sync) {
                Ok(first) => {
                    self.append(&first);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if ended || Instant::now() >= sync_at {
                self.sync();
                sync_at = Instant::now() + SYNC_EVERY;
            }
            if ended {
                self.shared.update(|state| state.ended = true);
                return;
            }
        }
    }

    /// Appends `first` and the events queued behind it.
    fn append(&mut self, first: &Message) {
        let mut payloads = Vec::new();
        let mut bytes = self.encode(first, &mut payloads);
        let mut taken = 1;
        while taken < APPEND.0 && bytes < APPEND.1 {
            let Ok(message) = self.queue.try_recv() else {
                break;
            };
            bytes += self.encode(&message, &mut payloads);
            taken += 1;
        }
        let appended = self.shared.update(|State { value: spool, .. }| {
            let mut appended = spool.append(&payloads);
            if appended.is_err() && spool.give_up_oldest() {
                // The disk is full of other data: the oldest events make room.
                appended = spool.append(&payloads);
            }
            update_status(spool, &self.status);
            appended
        });
        if let Err(error) = appended {
            self.status.record_loss(payloads.len() as u64);
            log(format_args!(
                "sink {}: cannot write to its spool: {error}",
                self.name
            ));
        }
        self.status.dequeued(taken as u64);
    }

    fn encode(&mut self, message: &Message, payloads: &mut Vec<Vec<u8>>) -> usize {
        let mut payload = Vec::with_capacity(2_048);
        match self.encoder.encode(message, &mut payload) {
            Ok(()) if payload.len() <= LONGEST_EVENT => {
                let length = payload.len();
                payloads.push(payload);
                return length;
            }
            Ok(()) => {
                log(format_args!(
                    "sink {}: dropped an event of {} bytes",
                    self.name,
                    payload.len()
                ));
            }
            Err(error) => log(format_args!("sink {}: {error}", self.name)),
        }
        self.status.record_loss(1);
        0
    }

    fn sync(&self) {
        // Not under the lock: the sender must not wait for a slow disk.
        let file = self.shared.lock().value.unsynced();
        if let Some(file) = file
            && let Err(error) = file.sync_data()
        {
            log(format_args!(
                "sink {}: cannot sync its spool: {error}",
                self.name
            ));
        }
    }
}

/// A batch that the receiver does not confirm.
#[derive(Clone, Copy)]
struct Unconfirmed {
    /// Where it ends in the spool.
    end: Position,
    events: u64,
    /// How long the connection must stay up once the receiver's host has it.
    settle: Duration,
    /// When it counts as delivered, once the receiver's host has it.
    due: Option<Instant>,
}

/// Sends the spooled events to the receiver.
pub(super) struct Sender {
    pub(super) name: String,
    pub(super) remote: Box<dyn Remote>,
    pub(super) shared: Arc<Shared<Spool>>,
    pub(super) status: Arc<Status>,
    backoff: Backoff,
    /// Batches that were sent and do not count as delivered yet, in order.
    unconfirmed: VecDeque<Unconfirmed>,
    /// Events in the next batch, at most: fewer while a rejected event is being
    /// searched for.
    count: usize,
    heap: HeapTrimmer,
}

impl Sender {
    pub(super) fn new(
        name: String,
        remote: Box<dyn Remote>,
        shared: Arc<Shared<Spool>>,
        status: Arc<Status>,
    ) -> Self {
        let count = remote.batch().0;
        Self {
            name,
            remote,
            shared,
            status,
            backoff: Backoff::default(),
            unconfirmed: VecDeque::new(),
            count,
            heap: HeapTrimmer::default(),
        }
    }

    /// Sends until all is delivered and no more events come, or until the time to
    /// stop.
    pub(super) fn run(mut self) {
        loop {
            let look = if self.unconfirmed.is_empty() {
                IDLE
            } else {
                LOOK_EVERY
            };
            self.shared
                .wait(look, |state| state.value.is_readable() || state.ended);
            let (over, ended, batch) = self.next_batch();
            if over || (ended && batch.is_empty()) {
                self.finish();
                return;
            }
            let sent = if batch.is_empty() {
                Ok(())
            } else {
                self.send(&batch)
            };
            if let Err(error) = sent.and_then(|()| self.confirm()) {
                self.failed(&error);
            }
            if batch.len() >= MANY {
                self.heap.allocated();
            }
            drop(batch);
            if !self.shared.lock().value.is_readable() {
                self.heap.trim_if_due();
            }
        }
    }

    /// Confirms what the receiver has read; the next run sends the rest.
    fn finish(&mut self) {
        let Some(last) = self.unconfirmed.back().copied() else {
            return;
        };
        if self.remote.finish() {
            let events = self.unconfirmed.iter().map(|batch| batch.events).sum();
            self.delivered(last.end, events);
        }
    }

    fn next_batch(&self) -> (bool, bool, Vec<Entry>) {
        let mut state = self.shared.lock();
        let (over, ended) = (state.is_over(), state.ended);
        if over {
            return (over, ended, Vec::new());
        }
        let batch = state.value.read(self.count, self.remote.batch().1);
        update_status(&mut state.value, &self.status);
        drop(state);
        let batch = batch.unwrap_or_else(|error| {
            log(format_args!(
                "sink {}: cannot read its spool: {error}",
                self.name
            ));
            self.shared.wait(Duration::from_secs(1), |_| false);
            Vec::new()
        });
        (over, ended, batch)
    }

    fn send(&mut self, batch: &[Entry]) -> Result<(), RemoteError> {
        let Some(last) = batch.last() else {
            return Ok(());
        };
        match self.remote.send(batch) {
            Ok(Handed::Confirmed) => {
                self.delivered(last.end, batch.len() as u64);
                self.count = (self.count * 2).min(self.remote.batch().0);
            }
            Ok(Handed::Unconfirmed(settle)) => {
                self.unconfirmed.push_back(Unconfirmed {
                    end: last.end,
                    events: batch.len() as u64,
                    settle,
                    due: None,
                });
                self.count = (self.count * 2).min(self.remote.batch().0);
            }
            Err(RemoteError::Refused(why)) => self.refused(batch, &why),
            Err(error) => return Err(error),
        }
        if self.backoff.is_failing() {
            self.backoff.succeeded();
            log(format_args!("sink {}: delivering again", self.name));
        }
        Ok(())
    }

    /// Finds the rejected event by halving the batch, and drops it.
    fn refused(&mut self, batch: &[Entry], why: &str) {
        if let [alone] = batch {
            log(format_args!(
                "sink {}: the receiver rejected an event: {why}",
                self.name
            ));
            self.status.record_loss(1);
            self.delivered(alone.end, 0);
        } else {
            // Doubled again by every batch that is accepted.
            self.count = (batch.len() / 2).max(1);
            self.unconfirmed.clear();
            self.shared.lock().value.rewind();
        }
    }

    /// Marks as delivered what has been with the receiver's host long enough.
    fn confirm(&mut self) -> Result<(), RemoteError> {
        if self.unconfirmed.is_empty() {
            return Ok(());
        }
        let outstanding = self.remote.check()?;
        let now = Instant::now();
        let there = self.unconfirmed.len().saturating_sub(outstanding);
        for batch in self.unconfirmed.iter_mut().take(there) {
            batch.due.get_or_insert(now + batch.settle);
        }
        while let Some(batch) = self.unconfirmed.front().copied()
            && batch.due.is_some_and(|due| due <= now)
        {
            self.unconfirmed.pop_front();
            self.delivered(batch.end, batch.events);
        }
        Ok(())
    }

    fn delivered(&self, end: Position, count: u64) {
        self.status.deliver(count);
        let mut state = self.shared.lock();
        state.value.done(end);
        update_status(&mut state.value, &self.status);
    }

    fn failed(&mut self, error: &RemoteError) {
        if !self.backoff.is_failing() {
            let kept = "events are kept in the spool and sent later";
            log(format_args!("sink {}: {error}; {kept}", self.name));
        }
        self.status.fail();
        self.unconfirmed.clear();
        let mut state = self.shared.lock();
        state.value.rewind();
        update_status(&mut state.value, &self.status);
        drop(state);
        self.shared.wait(self.backoff.failed(), |_| false);
    }
}

/// Updates the sink's counts from `spool`.
fn update_status(spool: &mut Spool, status: &Status) {
    status.spooled(spool.depth(), spool.bytes());
    status.record_loss(spool.take_lost());
}
