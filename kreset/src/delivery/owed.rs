//! What a sink is owed although its queue was full.
//!
//! Findings that find no room are lost and counted. The counts themselves are
//! not to be lost in turn: with them, events and losses are all there was.

use std::{collections::VecDeque, sync::Arc};

use crate::event::{Event, Loss, Message};

/// Counts that wait for room: one `loss` for each source, and one `summary`.
#[derive(Debug, Default)]
pub(super) struct Owed(VecDeque<Arc<Message>>);

impl Owed {
    /// Keeps `message` if it is a count, together with what is kept of the
    /// same kind; whether it is.
    pub(super) fn take(&mut self, message: &Arc<Message>) -> bool {
        let same = |kept: &Arc<Message>| match (&kept.event, &message.event) {
            (Event::Loss(kept), Event::Loss(new)) => kept.source == new.source,
            (Event::Summary(_), Event::Summary(_)) => true,
            _ => false,
        };
        if !matches!(message.event, Event::Loss(_) | Event::Summary(_)) {
            return false;
        }
        let kept = self.0.iter().position(same);
        match (kept.and_then(|at| self.0.remove(at)), &message.event) {
            (Some(kept), Event::Loss(new)) => self.0.push_back(Arc::new(Message {
                id: message.id,
                event: Event::Loss(together(&kept.event, new)),
            })),
            // A later summary has all that an earlier one had.
            _ => self.0.push_back(Arc::clone(message)),
        }
        true
    }

    /// The one owed the longest.
    pub(super) fn first(&self) -> Option<&Arc<Message>> {
        self.0.front()
    }

    /// It was handed on.
    pub(super) fn settle_first(&mut self) {
        self.0.pop_front();
    }
}

fn together(kept: &Event, new: &Loss) -> Loss {
    let mut loss = new.clone();
    if let Event::Loss(kept) = kept {
        loss.lost += kept.lost;
    }
    loss
}
