//! Delivery to standard output and files: a thread that writes what is
//! queued, and nothing on disk besides.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Backoff, SinkError, Writer, gate::Gate, queue::Chunk, status::Status};
use crate::util::stderr::log;

/// How often a silent place is asked whether somebody still reads it.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// What a failure of the place means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The end of the run: somebody waits at the terminal.
    EndRun,
    /// Trying again: nobody does.
    Retry,
}

/// The thread of a local sink.
pub(super) struct Local {
    pub(super) name: String,
    pub(super) queue: Receiver<Chunk>,
    /// Takes buffers back.
    pub(super) spare: Sender<Vec<u8>>,
    pub(super) writer: Box<dyn Writer>,
    pub(super) on_failure: OnFailure,
    pub(super) gate: Arc<Gate<()>>,
    pub(super) status: Arc<Status>,
}

/// The sink takes nothing any more.
struct Ended;

impl Local {
    /// Writes until nothing more comes, or the place is closed.
    pub(super) fn run(mut self) {
        while let Ok(more) = self.turn()
            && more
        {}
    }

    /// Writes what is queued; whether there may be more.
    fn turn(&mut self) -> Result<bool, Ended> {
        if self.status.take_reopen()
            && let Err(error) = self.writer.reopen()
        {
            log(format_args!(
                "sink {}: {error}; writing goes on in the old file",
                self.name
            ));
        }
        match self.next() {
            Ok(Chunk { mut lines, events }) => {
                self.write(&lines)?;
                self.status.dequeued(events);
                self.status.deliver(events);
                lines.clear();
                // Nobody is left to use it at the end.
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

    /// What comes next, for which it waits until it is time to ask the place.
    ///
    /// It sleeps until it is told to look, not until something comes: a channel
    /// wakes who waits for it at the first chunk of a turn, and again at the next
    /// one, as that one has long been written.
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

    /// Writes all `lines`, again and again until that works, or nothing will.
    fn write(&mut self, lines: &[u8]) -> Result<(), Ended> {
        let mut backoff = Backoff::default();
        let mut written = 0;
        loop {
            let Err(stopped) = self.writer.write_lines(&lines[written..]) else {
                if backoff.is_failing() {
                    log(format_args!("sink {}: works again", self.name));
                }
                return Ok(());
            };
            written += stopped.written;
            let error = stopped.error;
            if self.on_failure == OnFailure::EndRun || error.is_closed() {
                return self.end(error);
            }
            if !backoff.is_failing() {
                log(format_args!("sink {}: {error}; tried again", self.name));
            }
            self.status.fail();
            self.gate.wait(backoff.failed(), |_| false);
            if self.gate.lock().is_over() {
                return Err(Ended);
            }
            // A file that was removed, or whose disk was replaced.
            let _reopened = self.writer.reopen();
        }
    }

    fn end<T>(&self, error: SinkError) -> Result<T, Ended> {
        self.status.end_with(error);
        Err(Ended)
    }
}
