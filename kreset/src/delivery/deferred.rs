//! Loss counts and summaries, deferred while a sink's queue is full.
//!
//! A finding that finds the queue full is lost and counted. The counts must not
//! be lost as well: delivered events and reported losses add up to all events.

use std::{collections::VecDeque, sync::Arc};

use crate::event::{BrokerLoss, Event, Loss, Message};

/// The deferred events: one `loss` for each source, and one `summary`.
#[derive(Debug, Default)]
pub(super) struct Deferred(VecDeque<Arc<Message>>);

impl Deferred {
    /// Defers `message` if it is a `loss` or a `summary`, merged with an earlier
    /// one of the same source; returns whether it is.
    pub(super) fn defer(&mut self, message: &Arc<Message>) -> bool {
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
                event: Event::Loss(sum(&kept.event, new)),
            })),
            // A later summary includes an earlier one.
            _ => self.0.push_back(Arc::clone(message)),
        }
        true
    }

    /// How many events are deferred.
    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The event deferred first.
    pub(super) fn first(&self) -> Option<&Arc<Message>> {
        self.0.front()
    }

    /// Removes it, once it is in the queue.
    pub(super) fn remove_first(&mut self) {
        self.0.pop_front();
    }
}

/// Both lists as one, with those that lost most.
fn merged(kept: &[BrokerLoss], new: &[BrokerLoss]) -> Vec<BrokerLoss> {
    let mut all = new.to_vec();
    for old in kept {
        match all.iter_mut().find(|it| it.broker == old.broker) {
            Some(same) => same.lost += old.lost,
            None => all.push(*old),
        }
    }
    BrokerLoss::most(all)
}

fn sum(kept: &Event, new: &Loss) -> Loss {
    let mut loss = new.clone();
    if let Event::Loss(kept) = kept {
        loss.lost += kept.lost;
        loss.by_broker = merged(&kept.by_broker, &new.by_broker);
    }
    loss
}
