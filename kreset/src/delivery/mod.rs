//! From the pipeline to the sinks. The pipeline never waits for a sink.
//!
//! Each sink has a bounded queue and its own threads. An event that finds the
//! queue full is counted as lost, and a `loss` event names the sink. `loss`
//! events are not lost: they are deferred until there is room (`deferred.rs`).
//!
//! | sink | queue in memory | behind it |
//! |---|---|---|
//! | standard output, file | [`QUEUE`] events | the file itself |
//! | every other | [`QUEUE`] events | a [`spool`] on disk, bounded by `spool-size` |
//!
//! A thread of a sink that panics is started again (`supervise`).

mod backoff;
mod deferred;
mod encoder;
mod error;
mod glance;
mod health;
mod journal;
mod local;
mod queue;
mod remote;
mod shared;
mod slot;
pub mod spool;
mod status;
mod supervise;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fmt, io,
    sync::{Arc, mpsc::channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub use backoff::Backoff;
pub use encoder::Encoder;
pub use error::SinkError;
pub use glance::Glance;
pub use health::{Health, SinkState};
pub use local::OnFailure;
pub use remote::{Handed, Remote, RemoteError};
pub use slot::SpoolSlot;
pub use status::{Snapshot, Status};
use tokio::sync::Notify;
pub use writer::{Stopped, Writer};

use self::{
    deferred::Deferred,
    journal::Journal,
    local::Local,
    queue::{Put, Queue},
    remote::{Sender, SpoolWriter},
    shared::Shared,
    supervise::{Worker, supervise},
};
use crate::{
    event::{Event, Message, filter::SinkFilter},
    util::stderr::log,
};

/// Events that wait in memory for one sink.
pub const QUEUE: usize = 16_384;

/// Sees every event as it passes.
pub trait Observer: Send {
    /// Called once, when all sinks run: their names and counts.
    ///
    /// # Errors
    /// When it cannot start.
    fn start(&mut self, sinks: Vec<(String, Arc<Status>)>) -> Result<(), SinkError>;

    /// Sees `event`, on the pipeline's thread: must not wait for anything.
    fn observe(&self, event: &Event);
}

/// Sets when a sink's threads stop trying.
type StopAt = Box<dyn Fn(Instant) + Send>;

/// Where the events of one sink go.
pub enum Sink {
    /// To a file or standard output.
    Local {
        /// The format in which events are written.
        encoder: Box<dyn Encoder>,
        /// Where they are written.
        writer: Box<dyn Writer>,
        /// What a failed write means.
        on_failure: OnFailure,
    },
    /// Through a spool to a receiver.
    Remote {
        /// The format in which events are spooled and sent.
        encoder: Box<dyn Encoder>,
        /// The receiver.
        remote: Box<dyn Remote>,
        /// Where they wait.
        spool: Box<SpoolSlot>,
    },
    /// To an observer, which neither queues nor loses any.
    Observer(Box<dyn Observer>),
}

/// What a sink has not delivered when a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Events in memory, and lost ones that no `loss` event has reported.
    pub dropped: u64,
    /// Events in its spool.
    pub spooled: u64,
}

/// A running sink.
struct Running {
    name: String,
    filter: SinkFilter,
    /// `None` once no more events come.
    queue: Option<Queue>,
    deferred: Deferred,
    status: Arc<Status>,
    threads: Vec<JoinHandle<()>>,
    /// Sets when the threads stop trying.
    stop_at: StopAt,
    is_local: bool,
}

impl Running {
    fn add(&mut self, message: &Arc<Message>) {
        if self.enqueue_deferred() && self.enqueue(message) {
            return;
        }
        if !self.deferred.defer(message) {
            self.status.record_loss(1);
        }
    }

    /// Hands over the events of this turn, and wakes a local sink.
    fn flush(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.flush();
        }
        if self.is_local {
            self.threads.iter().for_each(|it| it.thread().unpark());
        }
    }

    /// Enqueues the deferred events; returns whether that was all of them.
    fn enqueue_deferred(&mut self) -> bool {
        while let Some(message) = self.deferred.first() {
            if !self.enqueue(&Arc::clone(message)) {
                return false;
            }
            self.deferred.remove_first();
        }
        true
    }

    fn has_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Events that are lost if the process ends now.
    fn in_memory(&self) -> u64 {
        self.status.queued() + self.deferred.count()
    }

    /// Puts `message` into the queue; returns false if it is full.
    fn enqueue(&mut self, message: &Arc<Message>) -> bool {
        let queue = self.queue.as_mut();
        queue.is_none_or(|queue| queue.put(message) != Put::Full)
    }
}

/// All running sinks.
#[derive(Default)]
pub struct Delivery {
    running: Vec<Running>,
    observers: Vec<Box<dyn Observer>>,
    /// Whether an event was added since the last flush.
    is_held: bool,
    wake: Arc<Notify>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.running.iter().map(|it| &it.name))
            .finish()
    }
}

impl Delivery {
    /// Starts a sink under `name`.
    ///
    /// # Errors
    ///
    /// When the system cannot start a thread.
    pub fn start(&mut self, name: &str, filter: SinkFilter, sink: Sink) -> io::Result<()> {
        let status = Arc::new(Status::default());
        let owned = name.to_owned();
        let is_local = matches!(sink, Sink::Local { .. });
        let (queue, threads, stop_at): (_, _, StopAt) = match sink {
            Sink::Local {
                encoder,
                writer,
                on_failure,
            } => {
                let (to, chunks) = channel();
                let (done_with, spare) = channel();
                let queue = Queue::of_lines(owned.clone(), encoder, to, spare, Arc::clone(&status));
                let shared = Arc::new(Shared::new(()));
                let local = Local {
                    journal: Journal::of(owned),
                    queue: chunks,
                    spare: done_with,
                    writer,
                    on_failure,
                    shared: Arc::clone(&shared),
                    status: Arc::clone(&status),
                    in_hand: 0,
                };
                let thread = self.thread(name, &status, local)?;
                (queue, vec![thread], Box::new(move |at| shared.stop_at(at)))
            }
            Sink::Remote {
                encoder,
                remote,
                spool,
            } => {
                if let Some(failure) = spool.failure() {
                    log(format_args!(
                        "sink {name}: {failure}; events are kept in memory until it can"
                    ));
                    status.health().set_spool_failing(true);
                }
                let mut slot = *spool;
                if let Some(spool) = slot.get() {
                    status.spooled(spool.depth(), spool.bytes());
                }
                let (to, events) = channel();
                let queue = Queue::of_events(to, Arc::clone(&status));
                let shared = Arc::new(Shared::new(slot));
                let journal = || Journal::of(owned.clone());
                let spool_writer = SpoolWriter::new(
                    journal(),
                    events,
                    encoder,
                    Arc::clone(&shared),
                    Arc::clone(&status),
                );
                let sender =
                    Sender::new(journal(), remote, Arc::clone(&shared), Arc::clone(&status));
                let threads = vec![
                    self.thread(name, &status, spool_writer)?,
                    self.thread(name, &status, sender)?,
                ];
                (queue, threads, Box::new(move |at| shared.stop_at(at)))
            }
            Sink::Observer(observer) => {
                self.observers.push(observer);
                return Ok(());
            }
        };
        self.running.push(Running {
            name: name.to_owned(),
            filter,
            queue: Some(queue),
            deferred: Deferred::default(),
            status,
            threads,
            stop_at,
            is_local,
        });
        Ok(())
    }

    fn thread(
        &self,
        name: &str,
        status: &Arc<Status>,
        mut worker: impl Worker + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let (wake, status) = (Arc::clone(&self.wake), Arc::clone(status));
        let sink = name.to_owned();
        // The kernel shows 15 bytes of a thread's name.
        thread::Builder::new()
            .name(format!("sink {name}"))
            .spawn(move || {
                supervise(&sink, &status, &mut worker);
                wake.notify_one();
            })
    }

    /// Starts the observers, once all sinks run.
    ///
    /// # Errors
    ///
    /// When one cannot start.
    pub fn start_observers(&mut self) -> Result<(), SinkError> {
        for observer in &mut self.observers {
            let sinks = self.running.iter();
            let statuses = sinks.map(|it| (it.name.clone(), Arc::clone(&it.status)));
            observer.start(statuses.collect())?;
        }
        Ok(())
    }

    /// Gives `message` to every sink whose filter accepts it, and wakes them.
    /// Never waits.
    pub fn offer(&mut self, message: &Arc<Message>) {
        self.add(message);
        self.flush();
    }

    /// Adds `message` to what [`Delivery::flush`] hands over to every sink whose
    /// filter accepts it. Never waits.
    pub fn add(&mut self, message: &Arc<Message>) {
        for observer in &self.observers {
            observer.observe(&message.event);
        }
        for it in &mut self.running {
            if it.filter.wants(&message.event) {
                it.add(message);
            }
        }
        self.is_held = true;
    }

    /// Shows the state of the run in the formats that do.
    pub fn glance(&mut self, glance: &Glance) {
        for it in &mut self.running {
            if let Some(queue) = &mut it.queue {
                queue.glance(glance);
            }
        }
        self.is_held = true;
    }

    /// Hands over what was added. A sink wakes up once for all of it.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.is_held) {
            self.running.iter_mut().for_each(Running::flush);
        }
    }

    /// Losses that no `loss` event has reported yet, of the sinks whose turn it is by
    /// `is_due`: sink and count. The others keep theirs.
    pub fn take_losses(&self, is_due: impl Fn(&str) -> bool) -> Vec<(String, u64)> {
        let due = self
            .running
            .iter()
            .filter(|it| !it.status.is_all_reported() && is_due(&it.name));
        due.map(|it| (it.name.clone(), it.status.take_unreported()))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// The failure of a sink that ends the run.
    pub fn take_failure(&self) -> Option<SinkError> {
        self.running.iter().find_map(|it| it.status.take_failure())
    }

    /// Every sink with its counts.
    pub fn statuses(&self) -> impl Iterator<Item = (&str, &Arc<Status>)> {
        self.running.iter().map(|it| (it.name.as_str(), &it.status))
    }

    /// Notified when a sink's thread has ended.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Has files reopened, soon.
    pub fn reopen(&self) {
        for it in &self.running {
            it.status.ask_reopen();
        }
    }

    /// Changes the filter of the sink `name`; returns whether there is such a sink.
    pub fn set_filter(&mut self, name: &str, filter: SinkFilter) -> bool {
        let found = self.running.iter_mut().find(|it| it.name == name);
        found.map(|it| it.filter = filter).is_some()
    }

    /// Waits until every event is spooled or written, for at most `longest`;
    /// returns whether that is so. A sink that has ended is not waited for. Only
    /// for sources that can wait, which the kernel cannot.
    pub fn settle(&self, longest: Duration) -> bool {
        let until = Instant::now() + longest;
        let behind = || self.running.iter().filter(|it| it.status.queued() > 0);
        while behind().next().is_some() {
            if behind().all(Running::has_ended) || Instant::now() >= until {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// No more events come: sinks end once all is delivered. Those with deferred
    /// events stay open; returns whether there are none.
    pub fn close(&mut self) -> bool {
        for it in &mut self.running {
            let is_all = it.enqueue_deferred();
            it.flush();
            if is_all {
                it.queue = None;
                // Its thread notices only when it wakes up.
                it.flush();
            }
        }
        self.running.iter().all(|it| it.queue.is_none())
    }

    /// Sinks stop trying at `at`: what is spooled then stays spooled.
    pub fn stop_at(&self, at: Instant) {
        for it in &self.running {
            (it.stop_at)(at);
        }
    }

    /// As [`Delivery::stop_at`], for sinks with a spool only.
    pub fn stop_remote_at(&self, at: Instant) {
        for it in self.running.iter().filter(|it| !it.is_local) {
            (it.stop_at)(at);
        }
    }

    /// Events that are neither written nor spooled, of sinks that have not ended.
    pub fn in_memory(&self) -> u64 {
        let at_work = self.running.iter().filter(|it| !it.has_ended());
        at_work.map(Running::in_memory).sum()
    }

    /// What each sink has not delivered.
    pub fn left(&self) -> impl Iterator<Item = (&str, Left)> {
        self.running.iter().map(|it| {
            let left = Left {
                dropped: it.in_memory() + it.status.unreported(),
                spooled: it.status.spooled_events(),
            };
            (it.name.as_str(), left)
        })
    }

    /// Whether every sink has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.running.iter().all(Running::has_ended)
    }
}
