//! Delivery to standard output and files: a thread that writes the queue, with
//! no spool.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Backoff, SinkError, Writer, journal::Journal, queue::Chunk, shared::Shared, status::Status,
    supervise::Worker,
};

/// How often an idle writer checks whether its output still has a reader.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// What a failed write means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The run ends: a user waits at the terminal.
    EndRun,
    /// The write is retried: the agent is unattended.
    Retry,
}

/// The thread of a local sink.
pub(super) struct Local {
    pub(super) journal: Journal,
    pub(super) queue: Receiver<Chunk>,
    /// Takes buffers back.
    pub(super) spare: Sender<Vec<u8>>,
    pub(super) writer: Box<dyn Writer>,
    pub(super) on_failure: OnFailure,
    pub(super) shared: Arc<Shared<()>>,
    pub(super) status: Arc<Status>,
    /// Events that are being written.
    pub(super) in_hand: u64,
}

/// The sink has ended.
struct Ended;

impl Worker for Local {
    /// Writes until no more events come, or the output is closed.
    fn run(&mut self) {
        while let Ok(more) = self.turn()
            && more
        {}
    }

    fn recover(&mut self) {
        let events = std::mem::take(&mut self.in_hand);
        self.status.record_loss(events);
        self.status.dequeued(events);
    }

    fn wait(&self, longest: Duration) -> bool {
        self.shared.wait(longest, |_| false);
        self.shared.lock().is_over()
    }
}

impl Local {
    /// Writes what is queued; returns whether there may be more.
    fn turn(&mut self) -> Result<bool, Ended> {
        if self.status.take_reopen()
            && let Err(error) = self.writer.reopen()
        {
            self.journal
                .log("reopen", format_args!("{error}; writing to the old file"));
        }
        match self.next() {
            Ok(Chunk { mut lines, events }) => {
                self.in_hand = events;
                self.write(&lines)?;
                self.in_hand = 0;
                self.status.dequeued(events);
                self.status.deliver(events);
                lines.clear();
                // The pipeline has no use for it once it has closed the queue.
                let _unused = self.spare.send(lines);
                Ok(true)
            }
            Err(RecvTimeoutError::Timeout) => match self.writer.check() {
                Ok(()) => Ok(true),
                Err(error) => self.end(error),
            },
            Err(RecvTimeoutError::Disconnected) => Ok(false),
        }
    }

    /// The next chunk, awaited until the next check of the output.
    ///
    /// The thread sleeps until it is unparked at the end of a turn. Waiting on the
    /// channel would wake it once for every chunk of the turn.
    fn next(&self) -> Result<Chunk, RecvTimeoutError> {
        let until = Instant::now() + CHECK_EVERY;
        loop {
            match self.queue.try_recv() {
                Ok(chunk) => return Ok(chunk),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(RecvTimeoutError::Timeout);
            }
            thread::park_timeout(left);
        }
    }

    /// Writes all `lines`, with retries.
    fn write(&mut self, lines: &[u8]) -> Result<(), Ended> {
        let mut backoff = Backoff::default();
        let mut written = 0;
        loop {
            let Self { writer, status, .. } = self;
            let outcome = status
                .health()
                .busy(|| writer.write_lines(&lines[written..]));
            let Err(stopped) = outcome else {
                self.status.health().set_failing(false);
                self.journal.works("output", format_args!("recovered"));
                return Ok(());
            };
            written += stopped.written;
            let error = stopped.error;
            if self.on_failure == OnFailure::EndRun || error.is_closed() {
                return self.end(error);
            }
            self.journal
                .fails("output", format_args!("{error}; retrying"));
            self.status.health().set_failing(true);
            self.status.fail();
            self.shared.wait(backoff.failed(), |_| false);
            if self.shared.lock().is_over() {
                return Err(Ended);
            }
            // The file may have been removed, or its disk replaced.
            let _reopened = self.writer.reopen();
        }
    }

    fn end<T>(&self, error: SinkError) -> Result<T, Ended> {
        self.status.end_with(error);
        Err(Ended)
    }
}
