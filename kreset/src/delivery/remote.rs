//! Delivery to a receiver that may be slow, restart or be down for hours.
//!
//! Two threads share a spool. The spool writer takes events from the queue,
//! encodes them and appends them to the spool; from then on they survive the
//! process. The sender reads the spool in order, sends batches, and marks as
//! done what the receiver certainly has.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        mpsc::{Receiver as Queue, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use thiserror::Error;

use super::{
    Backoff, Encoder,
    journal::Journal,
    shared::Shared,
    slot::SpoolSlot,
    spool::{Entry, Position},
    status::Status,
    supervise::Worker,
};
use crate::{event::Message, util::heap::HeapTrimmer};

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
/// A receiver that rejects so many events in a row, and has accepted none since the
/// start, is not one: a wrong address, or a port that expects TLS.
const SUSPECTS: usize = 16;

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
    pub(super) journal: Journal,
    pub(super) queue: Queue<Arc<Message>>,
    pub(super) encoder: Box<dyn Encoder>,
    pub(super) shared: Arc<Shared<SpoolSlot>>,
    pub(super) status: Arc<Status>,
    /// Encoded events that are not in the spool yet.
    pending: Vec<Vec<u8>>,
    /// Events that have been taken from the queue and still count as queued.
    taken: u64,
    /// The one of them that is being encoded.
    encoding: u64,
    backoff: Backoff,
    sync_at: Instant,
}

impl Worker for SpoolWriter {
    /// Writes until no more events come, or until the time to stop.
    fn run(&mut self) {
        loop {
            let ended = self.pending.is_empty() && !self.take();
            if let Err(pause) = self.append() {
                self.wait(pause);
            }
            if ended || Instant::now() >= self.sync_at {
                self.sync();
                self.sync_at = Instant::now() + SYNC_EVERY;
            }
            let over = !self.pending.is_empty() && self.shared.lock().is_over();
            if over {
                self.drop_rest();
            }
            if ended || over {
                self.shared.update(|state| state.ended = true);
                return;
            }
        }
    }

    fn recover(&mut self) {
        self.drop_pending(0);
    }

    fn wait(&self, longest: Duration) -> bool {
        self.shared.wait(longest, |_| false);
        self.shared.lock().is_over()
    }
}

impl SpoolWriter {
    pub(super) fn new(
        journal: Journal,
        queue: Queue<Arc<Message>>,
        encoder: Box<dyn Encoder>,
        shared: Arc<Shared<SpoolSlot>>,
        status: Arc<Status>,
    ) -> Self {
        Self {
            journal,
            queue,
            encoder,
            shared,
            status,
            pending: Vec::new(),
            taken: 0,
            encoding: 0,
            backoff: Backoff::default(),
            sync_at: Instant::now() + SYNC_EVERY,
        }
    }

    /// Takes queued events, for which it waits until the next sync; returns whether
    /// more may come.
    fn take(&mut self) -> bool {
        let until_sync = self.sync_at.saturating_duration_since(Instant::now());
        let mut next = match self.queue.recv_timeout(until_sync) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        let mut bytes = 0;
        while let Some(message) = next.take() {
            self.taken += 1;
            self.encoding = 1;
            bytes += self.encode(&message);
            self.encoding = 0;
            if self.pending.len() < APPEND.0 && bytes < APPEND.1 {
                next = self.queue.try_recv().ok();
            }
        }
        true
    }

    /// Appends the pending events; the error is how long to wait.
    fn append(&mut self) -> Result<(), Duration> {
        if self.pending.is_empty() {
            // Some may have been dropped.
            self.status.dequeued(std::mem::take(&mut self.taken));
            return Ok(());
        }
        let Self {
            shared,
            status,
            pending,
            journal,
            ..
        } = self;
        let outcome = shared.update(|state| {
            let spool = state.value.get_or_open().map_err(|it| it.to_string())?;
            let mut appended = spool.append(&*pending);
            if appended.as_ref().is_err_and(is_full) && spool.give_up_oldest() {
                // The disk is full of other data: the oldest events make room.
                appended = spool.append(&*pending);
            }
            update_status(&mut state.value, status, journal);
            appended.map_err(|error| format!("cannot write to its spool: {error}"))
        });
        if let Err(error) = outcome {
            self.status.health().set_spool_failing(true);
            self.status.fail();
            self.journal.fails(
                "spool",
                format_args!("{error}; events are kept in memory until it can"),
            );
            return Err(self.backoff.failed());
        }
        self.pending.clear();
        self.status.dequeued(std::mem::take(&mut self.taken));
        self.backoff.succeeded();
        self.status.health().set_spool_failing(false);
        self.journal
            .works("spool", format_args!("its spool works again"));
        Ok(())
    }

    /// It is time to stop, and the spool cannot be written.
    fn drop_rest(&mut self) {
        let mut rest = 0;
        while self.queue.try_recv().is_ok() {
            rest += 1;
        }
        self.drop_pending(rest);
    }

    /// Counts what is pending, and `more` queued events, as lost.
    fn drop_pending(&mut self, more: u64) {
        let lost = self.pending.len() as u64 + std::mem::take(&mut self.encoding) + more;
        self.pending.clear();
        self.status.record_loss(lost);
        self.status.dequeued(std::mem::take(&mut self.taken) + more);
    }

    /// Adds `message` to the pending events; returns its length.
    fn encode(&mut self, message: &Message) -> usize {
        let mut payload = Vec::with_capacity(2_048);
        match self.encoder.encode(message, &mut payload) {
            Ok(()) if payload.len() <= LONGEST_EVENT => {
                let length = payload.len();
                self.pending.push(payload);
                return length;
            }
            Ok(()) => self.journal.log(
                "length",
                format_args!("dropped an event of {} bytes", payload.len()),
            ),
            Err(error) => self.journal.log("encode", format_args!("{error}")),
        }
        self.status.record_loss(1);
        0
    }

    fn sync(&mut self) {
        let mut state = self.shared.lock();
        // With events pending, append() opens it and says why that fails.
        let Ok(spool) = state.value.get_or_open() else {
            return;
        };
        if self.pending.is_empty() {
            self.status.health().set_spool_failing(false);
            self.journal
                .works("spool", format_args!("its spool works again"));
        }
        if let Err(error) = spool.keep_in_place() {
            self.journal.log(
                "place",
                format_args!("cannot make the directory of its spool again: {error}"),
            );
        }
        if self.status.is_all_reported() {
            spool.losses_are_reported();
        }
        let file = spool.unsynced();
        update_status(&mut state.value, &self.status, &mut self.journal);
        // Not under the lock: the sender must not wait for a slow disk.
        drop(state);
        if let Some(file) = file
            && let Err(error) = file.sync_data()
        {
            self.journal
                .log("sync", format_args!("cannot sync its spool: {error}"));
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
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
    journal: Journal,
    pub(super) remote: Box<dyn Remote>,
    pub(super) shared: Arc<Shared<SpoolSlot>>,
    pub(super) status: Arc<Status>,
    backoff: Backoff,
    /// Batches that were sent and do not count as delivered yet, in order.
    unconfirmed: VecDeque<Unconfirmed>,
    /// Events in the next batch, at most: fewer while a rejected event is being
    /// searched for.
    count: usize,
    /// Whether the receiver has accepted anything since the start.
    has_accepted: bool,
    /// Events that it rejected one by one, while it has accepted nothing.
    suspects: Vec<Entry>,
    heap: HeapTrimmer,
}

impl Worker for Sender {
    /// Sends until all is delivered and no more events come, or until the time to
    /// stop.
    fn run(&mut self) {
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

    /// What was not confirmed is sent again.
    fn recover(&mut self) {
        self.rewind();
    }

    fn wait(&self, longest: Duration) -> bool {
        self.shared.wait(longest, |_| false);
        self.shared.lock().is_over()
    }
}

impl Sender {
    pub(super) fn new(
        journal: Journal,
        remote: Box<dyn Remote>,
        shared: Arc<Shared<SpoolSlot>>,
        status: Arc<Status>,
    ) -> Self {
        let count = remote.batch().0;
        Self {
            journal,
            remote,
            shared,
            status,
            backoff: Backoff::default(),
            unconfirmed: VecDeque::new(),
            count,
            has_accepted: false,
            suspects: Vec::new(),
            heap: HeapTrimmer::default(),
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

    fn next_batch(&mut self) -> (bool, bool, Vec<Entry>) {
        let mut state = self.shared.lock();
        let (over, ended) = (state.is_over(), state.ended);
        if over {
            return (over, ended, Vec::new());
        }
        let Some(spool) = state.value.get() else {
            return (over, ended, Vec::new());
        };
        let batch = spool.read(self.count, self.remote.batch().1);
        update_status(&mut state.value, &self.status, &mut self.journal);
        drop(state);
        let batch = batch.unwrap_or_else(|error| {
            self.journal
                .log("read", format_args!("cannot read its spool: {error}"));
            self.shared.wait(Duration::from_secs(1), |_| false);
            Vec::new()
        });
        (over, ended, batch)
    }

    fn send(&mut self, batch: &[Entry]) -> Result<(), RemoteError> {
        let Some(last) = batch.last() else {
            return Ok(());
        };
        let Self { remote, status, .. } = self;
        match status.health().busy(|| remote.send(batch)) {
            Ok(_) if !self.suspects.is_empty() => {
                // The receiver may not have been ready yet when it rejected them.
                self.accepted();
                self.rewind();
            }
            Ok(Handed::Confirmed) => {
                self.accepted();
                self.delivered(last.end, batch.len() as u64);
            }
            Ok(Handed::Unconfirmed(settle)) => {
                self.accepted();
                self.unconfirmed.push_back(Unconfirmed {
                    end: last.end,
                    events: batch.len() as u64,
                    settle,
                    due: None,
                });
            }
            Err(RemoteError::Refused(why)) => return self.refused(batch, &why),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The receiver has accepted a batch.
    fn accepted(&mut self) {
        self.has_accepted = true;
        self.count = (self.count * 2).min(self.remote.batch().0);
        if self.backoff.is_failing() {
            self.backoff.succeeded();
            self.status.health().set_failing(false);
        }
        self.journal
            .works("delivery", format_args!("delivering again"));
    }

    /// Finds the rejected event by halving the batch, and drops it, if the receiver
    /// accepts others.
    fn refused(&mut self, batch: &[Entry], why: &str) -> Result<(), RemoteError> {
        let [alone] = batch else {
            // Doubled again by every batch that is accepted.
            self.count = (batch.len() / 2).max(1);
            self.rewind();
            return Ok(());
        };
        let reason = format!("the receiver rejected an event: {why}");
        self.journal.log("rejected", format_args!("{reason}"));
        if self.has_accepted {
            self.reject(alone);
            if self.unconfirmed.is_empty() {
                self.delivered(alone.end, 0);
            }
            return Ok(());
        }
        self.suspects.push(alone.clone());
        if self.suspects.len() < SUSPECTS && self.shared.lock().value.is_readable() {
            return Ok(());
        }
        Err(RemoteError::Unavailable(format!(
            "the receiver rejects every event: {why}; check its address and whether it expects TLS"
        )))
    }

    /// Counts `entry` as lost, and keeps it beside the spool.
    fn reject(&mut self, entry: &Entry) {
        let mut state = self.shared.lock();
        if let Some(spool) = state.value.get() {
            spool.reject(entry);
        }
        update_status(&mut state.value, &self.status, &mut self.journal);
    }

    /// Sends what is not delivered again.
    fn rewind(&mut self) {
        self.unconfirmed.clear();
        self.suspects.clear();
        let mut state = self.shared.lock();
        if let Some(spool) = state.value.get() {
            spool.rewind();
        }
        update_status(&mut state.value, &self.status, &mut self.journal);
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

    fn delivered(&mut self, end: Position, count: u64) {
        self.status.deliver(count);
        let mut state = self.shared.lock();
        if let Some(spool) = state.value.get() {
            spool.done(end);
        }
        update_status(&mut state.value, &self.status, &mut self.journal);
    }

    fn failed(&mut self, error: &RemoteError) {
        let kept = "events are kept in the spool and sent later";
        self.journal
            .fails("delivery", format_args!("{error}; {kept}"));
        self.status.fail();
        self.status.health().set_failing(true);
        self.rewind();
        self.shared.wait(self.backoff.failed(), |_| false);
    }
}

/// Updates the sink's counts from its spool, and logs what it has to say.
fn update_status(slot: &mut SpoolSlot, status: &Status, journal: &mut Journal) {
    let Some(spool) = slot.get() else { return };
    status.spooled(spool.depth(), spool.bytes());
    status.record_loss(spool.take_lost());
    for note in spool.take_notes() {
        journal.log("note", format_args!("{note}"));
    }
}
