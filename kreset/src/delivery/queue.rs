//! The pipeline's end of a sink's queue: events of a turn are collected, and
//! handed over at its end.

use std::sync::{
    Arc,
    mpsc::{Receiver, Sender},
};

use super::{Encoder, Glance, QUEUE, journal::Journal, status::Status};
use crate::event::Message;

/// More bytes of lines than this are handed over before the end of a turn.
const ENOUGH: usize = 64 * 1024;

/// Whole lines, and the number of their events.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) lines: Vec<u8>,
    pub(super) events: u64,
}

/// The result of [`Queue::put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// The event is in the queue.
    Taken,
    /// The queue is full.
    Full,
    /// The event cannot be encoded, which was logged.
    Unfit,
}

/// A sink's queue.
pub(super) struct Queue {
    held: Held,
    status: Arc<Status>,
}

/// The events of this turn so far.
enum Held {
    /// For a local sink: lines, encoded while the event is in the processor's
    /// cache. Moving each event to another thread would cost more than copying
    /// the lines at once.
    Lines(Lines),
    /// For a remote sink, whose spool writer encodes them.
    Events {
        events: Vec<Arc<Message>>,
        to: Sender<Arc<Message>>,
    },
}

struct Lines {
    journal: Journal,
    encoder: Box<dyn Encoder>,
    chunk: Chunk,
    to: Sender<Chunk>,
    /// Buffers that the sink's thread has written.
    spare: Receiver<Vec<u8>>,
}

impl Queue {
    /// Lines encoded by `encoder`, for the sink `name`.
    pub(super) fn of_lines(
        name: String,
        encoder: Box<dyn Encoder>,
        to: Sender<Chunk>,
        spare: Receiver<Vec<u8>>,
        status: Arc<Status>,
    ) -> Self {
        let lines = Lines {
            journal: Journal::of(name),
            encoder,
            chunk: Chunk::default(),
            to,
            spare,
        };
        Self {
            held: Held::Lines(lines),
            status,
        }
    }

    /// Events as they are.
    pub(super) const fn of_events(to: Sender<Arc<Message>>, status: Arc<Status>) -> Self {
        let held = Held::Events {
            events: Vec::new(),
            to,
        };
        Self { held, status }
    }

    /// Puts `message` in, if there is room.
    pub(super) fn put(&mut self, message: &Arc<Message>) -> Put {
        if self.status.queued() >= QUEUE as u64 {
            return Put::Full;
        }
        match &mut self.held {
            Held::Lines(lines) => {
                if !lines.add(message) {
                    self.status.record_loss(1);
                    return Put::Unfit;
                }
                self.status.enqueued();
                if lines.chunk.lines.len() >= ENOUGH {
                    lines.flush(&self.status);
                }
            }
            Held::Events { events, .. } => {
                events.push(Arc::clone(message));
                self.status.enqueued();
            }
        }
        Put::Taken
    }

    /// Shows the state of the run, if the format does.
    pub(super) fn glance(&mut self, glance: &Glance) {
        if let Held::Lines(lines) = &mut self.held {
            lines.encoder.glance(glance, &mut lines.chunk.lines);
        }
    }

    /// Hands over the events of this turn. Events for a sink that has ended are
    /// dropped: it has reported why it ended.
    pub(super) fn flush(&mut self) {
        match &mut self.held {
            Held::Lines(lines) => lines.flush(&self.status),
            Held::Events { events, to } => {
                for event in events.drain(..) {
                    if to.send(event).is_err() {
                        self.status.dequeued(1);
                    }
                }
            }
        }
    }
}

impl Lines {
    /// Encodes `message`; returns whether that was possible.
    fn add(&mut self, message: &Message) -> bool {
        let lines = &mut self.chunk.lines;
        let whole = lines.len();
        if let Err(error) = self.encoder.encode(message, lines) {
            lines.truncate(whole);
            self.journal.log("encode", format_args!("{error}"));
            return false;
        }
        self.chunk.events += 1;
        true
    }

    fn flush(&mut self, status: &Status) {
        if self.chunk.events == 0 && self.chunk.lines.is_empty() {
            return;
        }
        let next = Chunk {
            lines: self.spare.try_recv().unwrap_or_default(),
            events: 0,
        };
        let full = std::mem::replace(&mut self.chunk, next);
        if let Err(unsent) = self.to.send(full) {
            status.dequeued(unsent.0.events);
        }
    }
}
