//! What is due, by time: what comes is nearly in order, and a tree of all of it would be searched
//! from its root for each.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use super::pending::{Key, Place};

/// Bits of nanoseconds in which no order is kept: a second.
const SPAN_BITS: u32 = 30;

/// The span that a time is in.
pub(super) const fn span(at_ns: i64) -> i64 {
    at_ns >> SPAN_BITS
}

/// Places with the earliest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Those of spans that were reached, in order.
    reached: BinaryHeap<Reverse<(Key, Place)>>,
    /// The last of these spans.
    last: Option<i64>,
    later: BTreeMap<i64, Vec<Reverse<(Key, Place)>>>,
}

impl Queue {
    /// Adds a place that is due then.
    pub(super) fn insert(&mut self, due: Key, place: Place) {
        let span = span(due.at_ns);
        let entry = Reverse((due, place));
        if self.last.is_some_and(|last| span <= last) {
            self.reached.push(entry);
        } else {
            self.later.entry(span).or_default().push(entry);
        }
    }

    /// The first one that still waits; what does not is dropped on the way.
    pub(super) fn first(&mut self, waits: impl Fn(Place) -> bool) -> Option<(Key, Place)> {
        loop {
            while let Some(Reverse((due, place))) = self.reached.peek() {
                if waits(*place) {
                    return Some((*due, *place));
                }
                self.reached.pop();
            }
            let (span, all) = self.later.pop_first()?;
            self.last = Some(span);
            self.reached = all.into();
        }
    }
}

/// Places that are kept for some time, in no order within a span.
#[derive(Debug, Default)]
pub(super) struct Kept(BTreeMap<i64, Vec<(i64, Place)>>);

impl Kept {
    /// Keeps a place that was due then.
    pub(super) fn insert(&mut self, due_ns: i64, place: Place) {
        let all = self.0.entry(span(due_ns)).or_default();
        all.push((due_ns, place));
    }

    /// Takes some of those that were due before `before_ns`, until there is none.
    pub(super) fn take_before(&mut self, before_ns: i64) -> Option<Vec<(i64, Place)>> {
        let mut first = self.0.first_entry()?;
        if *first.key() < span(before_ns) {
            return Some(first.remove());
        }
        let is_old = |(due_ns, _): &mut (i64, Place)| *due_ns < before_ns;
        let old: Vec<_> = first.get_mut().extract_if(.., is_old).collect();
        if first.get().is_empty() {
            first.remove();
        }
        (!old.is_empty()).then_some(old)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    proptest! {
        /// As a set of all has it, whatever comes late.
        #[test]
        fn the_earliest_is_first(
            steps in prop::collection::vec((prop::option::of(-3 * SECOND_NS..9 * SECOND_NS), any::<prop::sample::Index>()), 1..80),
        ) {
            let (mut queue, mut all) = (Queue::default(), BTreeSet::new());
            for (index, (due_ns, gone)) in steps.into_iter().enumerate() {
                if let Some(at_ns) = due_ns {
                    let entry = (Key::at(at_ns), Place::of(index).unwrap());
                    queue.insert(entry.0, entry.1);
                    all.insert(entry);
                } else if !all.is_empty() {
                    let gone = *all.iter().nth(gone.index(all.len())).unwrap();
                    all.remove(&gone);
                }
                let waits = |place| all.iter().any(|it| it.1 == place);
                prop_assert_eq!(queue.first(waits), all.first().copied());
            }
        }

        #[test]
        fn what_was_due_before_is_taken_once(
            times in prop::collection::vec(-3 * SECOND_NS..9 * SECOND_NS, 0..40),
            mut cuts in prop::collection::vec(-3 * SECOND_NS..9 * SECOND_NS, 1..4),
        ) {
            let (mut kept, mut all) = (Kept::default(), BTreeSet::new());
            for (index, due_ns) in times.into_iter().enumerate() {
                let place = Place::of(index).unwrap();
                kept.insert(due_ns, place);
                all.insert((due_ns, place));
            }
            cuts.sort_unstable();
            for before_ns in cuts {
                let taken: BTreeSet<_> = std::iter::from_fn(|| kept.take_before(before_ns))
                    .flatten()
                    .collect();
                let (old, new): (BTreeSet<_>, _) = all.into_iter().partition(|it| it.0 < before_ns);
                prop_assert_eq!(taken, old);
                all = new;
            }
        }
    }
}
