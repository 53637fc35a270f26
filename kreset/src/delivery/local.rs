//! Delivery to standard output and files: a thread that writes what is
//! queued, and nothing on disk besides.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Backoff, gate::Gate, status::Status};
use crate::{
    event::Message,
    notice::notice,
    sink::{Sink, SinkError},
};

/// Events that are written before the first of them is flushed.
const BURST: usize = 1_024;
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
    pub(super) queue: Receiver<Arc<Message>>,
    pub(super) sink: Box<dyn Sink>,
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

    /// Takes what is queued; whether there may be more.
    fn turn(&mut self) -> Result<bool, Ended> {
        if self.status.take_reopen()
            && let Err(error) = self.sink.reopen()
        {
            notice(format_args!(
                "sink {}: {error}; writing goes on in the old file",
                self.name
            ));
        }
        let first = match self.next() {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => {
                let checked = self.sink.check();
                return checked.map(|()| true).or_else(|error| self.end(error));
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        };
        self.insist(|sink| sink.write(&first))?;
        let mut count = 1;
        for _ in 1..BURST {
            let Ok(message) = self.queue.try_recv() else {
                break;
            };
            self.insist(|sink| sink.write(&message))?;
            count += 1;
        }
        self.insist(|sink| sink.flush())?;
        self.status.dequeued(count);
        self.status.deliver(count);
        Ok(true)
    }

    /// The next event, for which it waits until it is time to ask the place.
    ///
    /// It sleeps until it is told to look, not until something comes: a channel
    /// wakes who waits for it at the first event of a turn, and again at the next
    /// one, as that one has long been written.
    fn next(&self) -> Result<Arc<Message>, RecvTimeoutError> {
        let until = Instant::now() + CHECK_EVERY;
        loop {
            match self.queue.try_recv() {
                Ok(message) => return Ok(message),
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

    /// Does something until it works, or nothing will.
    fn insist(
        &mut self,
        mut action: impl FnMut(&mut dyn Sink) -> Result<(), SinkError>,
    ) -> Result<(), Ended> {
        let mut backoff = Backoff::default();
        loop {
            match action(&mut *self.sink) {
                Ok(()) => {
                    if backoff.is_failing() {
                        notice(format_args!("sink {}: works again", self.name));
                    }
                    return Ok(());
                }
                Err(error @ SinkError::Encode(_)) => {
                    self.status.lose(1);
                    notice(format_args!("sink {}: {error}", self.name));
                    return Ok(());
                }
                Err(error) if self.on_failure == OnFailure::EndRun || error.is_closed() => {
                    return self.end(error);
                }
                Err(error) => {
                    if !backoff.is_failing() {
                        notice(format_args!("sink {}: {error}; tried again", self.name));
                    }
                    self.status.fail();
                    self.gate.wait(backoff.failed(), |_| false);
                    if self.gate.lock().is_over() {
                        return Err(Ended);
                    }
                    // A file that was removed, or whose disk was replaced.
                    let _reopened = self.sink.reopen();
                }
            }
        }
    }

    fn end<T>(&self, error: SinkError) -> Result<T, Ended> {
        self.status.end_with(error);
        Err(Ended)
    }
}
