//! Delivery to a receiver that may be slow, restart or be gone for a night.
//!
//! Two threads share a spool. The keeper takes events from the queue,
//! encodes them and appends them to the spool; from then on they survive the
//! process. The sender reads the spool in order and hands batches over, and
//! marks as done what the receiver has for certain.

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
    gate::{Gate, State},
    spool::{Entry, Position, Spool},
    status::Status,
};
use crate::{
    event::Message,
    util::{heap::Spender, stderr::log},
};

/// Events and bytes that are appended at once.
const APPEND: (usize, usize) = (256, 256 * 1024);
/// Undelivered events are on the disk itself, not only in the kernel, after
/// this time.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How often a connection is looked after while something is unconfirmed.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A thread that waits for events looks up so often, at the least.
const IDLE: Duration = Duration::from_hours(1);
/// So many events at once take memory that is worth giving back.
const MANY: usize = 64;
/// No event is longer: what a receiver would take is far less.
const LONGEST_EVENT: usize = 1024 * 1024;

/// How a batch was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// The receiver said that it has it.
    Confirmed,
    /// The receiver never says so. It counts as delivered once its kernel has it
    /// ([`Remote::check`]) and the connection has stood this long after.
    Unconfirmed(Duration),
}

/// Why a batch was not handed over.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// The receiver cannot be reached, or has no time: try again.
    #[error("{0}")]
    Unavailable(String),
    /// The receiver takes everything but this: never try again.
    #[error("the receiver refuses an event: {0}")]
    Refused(String),
}

/// A receiver at the other end of a connection.
pub trait Remote: Send {
    /// Events and bytes that are handed over at once, at most.
    fn batch(&self) -> (usize, usize) {
        (512, 512 * 1024)
    }

    /// Hands a batch over, in order. Connects if need be. It must give up
    /// after some seconds.
    ///
    /// # Errors
    ///
    /// When the batch, or part of it, was not handed over.
    fn send(&mut self, batch: &[Entry]) -> Result<Handed, RemoteError>;

    /// Looks whether the connection still stands; how many of the batches that
    /// were handed over last have not reached the receiver's host as a whole.
    ///
    /// # Errors
    ///
    /// When what is unconfirmed has to be sent again.
    fn check(&mut self) -> Result<usize, RemoteError> {
        Ok(0)
    }

    /// Ends the connection in order; whether the receiver has read all that
    /// was handed over.
    fn finish(&mut self) -> bool {
        false
    }
}

/// Takes events from the queue into the spool.
pub(super) struct Keeper {
    pub(super) name: String,
    pub(super) queue: Queue<Arc<Message>>,
    pub(super) encoder: Box<dyn Encoder>,
    pub(super) gate: Arc<Gate<Spool>>,
    pub(super) status: Arc<Status>,
}

impl Keeper {
    /// Keeps until nothing more comes.
    pub(super) fn run(mut self) {
        let mut sync_at = Instant::now() + SYNC_EVERY;
        loop {
            let until_sync = sync_at.saturating_duration_since(Instant::now());
            let ended = match self.queue.recv_timeout(until_sync) {
                Ok(first) => {
                    self.keep(&first);
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
                self.gate.update(|state| state.ended = true);
                return;
            }
        }
    }

    /// Appends `first` and what has come behind it.
    fn keep(&mut self, first: &Message) {
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
        let kept = self.gate.update(|State { value: spool, .. }| {
            let mut kept = spool.append(&payloads);
            if kept.is_err() && spool.give_up_oldest() {
                // The disk is full of other things: our oldest make room.
                kept = spool.append(&payloads);
            }
            account(spool, &self.status);
            kept
        });
        if let Err(error) = kept {
            self.status.lose(payloads.len() as u64);
            log(format_args!(
                "sink {}: its spool takes no events: {error}",
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
                    "sink {}: an event of {} bytes",
                    self.name,
                    payload.len()
                ));
            }
            Err(error) => log(format_args!("sink {}: {error}", self.name)),
        }
        self.status.lose(1);
        0
    }

    fn sync(&self) {
        // Not under the lock: a slow disk must not hold the sender up.
        let file = self.gate.lock().value.unsynced();
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
    /// How long the connection must stand once the receiver's host has it.
    settle: Duration,
    /// When it counts as delivered, once the receiver's host has it.
    due: Option<Instant>,
}

/// Hands what the spool holds to the receiver.
pub(super) struct Sender {
    pub(super) name: String,
    pub(super) remote: Box<dyn Remote>,
    pub(super) gate: Arc<Gate<Spool>>,
    pub(super) status: Arc<Status>,
    backoff: Backoff,
    /// What was handed over, in order, and does not count as delivered yet.
    unconfirmed: VecDeque<Unconfirmed>,
    /// Events in the next batch, at most: fewer while one is looked for that
    /// the receiver refuses.
    count: usize,
    memory: Spender,
}

impl Sender {
    pub(super) fn new(
        name: String,
        remote: Box<dyn Remote>,
        gate: Arc<Gate<Spool>>,
        status: Arc<Status>,
    ) -> Self {
        let count = remote.batch().0;
        Self {
            name,
            remote,
            gate,
            status,
            backoff: Backoff::default(),
            unconfirmed: VecDeque::new(),
            count,
            memory: Spender::default(),
        }
    }

    /// Sends until all is delivered and nothing more comes, or until the
    /// time to stop.
    pub(super) fn run(mut self) {
        loop {
            let look = if self.unconfirmed.is_empty() {
                IDLE
            } else {
                LOOK_EVERY
            };
            self.gate
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
                self.memory.spend();
            }
            drop(batch);
            if !self.gate.lock().value.is_readable() {
                self.memory.settle();
            }
        }
    }

    /// What is still unconfirmed is so for good, or sent by the next run.
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
        let mut state = self.gate.lock();
        let (over, ended) = (state.is_over(), state.ended);
        if over {
            return (over, ended, Vec::new());
        }
        let batch = state.value.read(self.count, self.remote.batch().1);
        account(&mut state.value, &self.status);
        drop(state);
        let batch = batch.unwrap_or_else(|error| {
            log(format_args!(
                "sink {}: its spool cannot be read: {error}",
                self.name
            ));
            self.gate.wait(Duration::from_secs(1), |_| false);
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
            log(format_args!("sink {}: delivers again", self.name));
        }
        Ok(())
    }

    /// Finds the refused event by halves, and leaves it out.
    fn refused(&mut self, batch: &[Entry], why: &str) {
        if let [alone] = batch {
            log(format_args!(
                "sink {}: the receiver refuses an event: {why}",
                self.name
            ));
            self.status.lose(1);
            self.delivered(alone.end, 0);
        } else {
            // Doubled by every batch that gets through.
            self.count = (batch.len() / 2).max(1);
            self.unconfirmed.clear();
            self.gate.lock().value.rewind();
        }
    }

    /// Marks what has stood long enough.
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
        let mut state = self.gate.lock();
        state.value.done(end);
        account(&mut state.value, &self.status);
    }

    fn failed(&mut self, error: &RemoteError) {
        if !self.backoff.is_failing() {
            let kept = "events are kept in the spool and sent later";
            log(format_args!("sink {}: {error}; {kept}", self.name));
        }
        self.status.fail();
        self.unconfirmed.clear();
        let mut state = self.gate.lock();
        state.value.rewind();
        account(&mut state.value, &self.status);
        drop(state);
        self.gate.wait(self.backoff.failed(), |_| false);
    }
}

/// Tells the counts of `spool`.
fn account(spool: &mut Spool, status: &Status) {
    status.spooled(spool.depth(), spool.bytes());
    status.lose(spool.take_lost());
}
