//! What an agent reported of itself by the clock, in the order of its numbers.

use std::collections::VecDeque;

use super::line::Watched;

/// What an agent had watched until then.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub(super) at_ns: i64,
    pub(super) watched: Watched,
}

/// The start of a run and its summaries, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    all: VecDeque<(u64, Checkpoint)>,
    /// When each of them was made: side by side, since a search looks at many.
    times: VecDeque<i64>,
    /// One is earlier than the one before it: the clock was set back, and times tell no order.
    is_unordered: bool,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    checkpoints: &'a Checkpoints,
    index: usize,
    number: u64,
    checkpoint: &'a Checkpoint,
}

impl Checkpoints {
    /// Adds one; it takes the place of one with the same number.
    pub(super) fn insert(&mut self, number: u64, checkpoint: Checkpoint) {
        let at = match self.all.back() {
            Some((last, _)) if *last >= number => {
                self.all.binary_search_by_key(&number, |(it, _)| *it)
            }
            _ => Err(self.all.len()),
        };
        let at = match at {
            Ok(at) => {
                self.times[at] = checkpoint.at_ns;
                self.all[at].1 = checkpoint;
                at
            }
            Err(at) => {
                self.times.insert(at, checkpoint.at_ns);
                self.all.insert(at, (number, checkpoint));
                at
            }
        };
        let around = at.saturating_sub(1)..self.times.len().min(at + 2);
        if !self.times.range(around).is_sorted() {
            self.is_unordered = true;
        }
    }

    /// Forgets the first ones, but for `kept`, while even the next one is from before `before_ns`.
    pub(super) fn forget(&mut self, before_ns: i64, kept: usize) {
        let is_old = |at_ns: &i64| *at_ns < before_ns;
        while self.all.len() > kept && self.times.get(1).is_some_and(is_old) {
            self.times.pop_front();
            self.all.pop_front();
        }
    }

    /// The first one that is at least `held_ns` after `at_ns`, or that ends the run after it.
    pub(super) fn first_after(&self, at_ns: i64, held_ns: i64) -> Option<Found<'_>> {
        let first = if self.is_unordered {
            0
        } else {
            self.times.partition_point(|it_ns| *it_ns < at_ns)
        };
        let mut after = self.all.range(first..).enumerate();
        let (index, (number, checkpoint)) = after.find(|(_, (_, it))| {
            it.at_ns >= at_ns.saturating_add(held_ns) || (it.watched.end && it.at_ns >= at_ns)
        })?;
        Some(Found {
            checkpoints: self,
            index: first + index,
            number: *number,
            checkpoint,
        })
    }
}

impl<'a> Found<'a> {
    /// Its number, and what it says.
    pub(super) const fn checkpoint(self) -> (u64, &'a Checkpoint) {
        (self.number, self.checkpoint)
    }

    /// The last one before it that is not after `at_ns`.
    pub(super) fn last_before(self, at_ns: i64) -> Option<(u64, &'a Checkpoint)> {
        let mut before = self.checkpoints.all.range(..self.index).rev();
        let (number, checkpoint) = before.find(|(_, it)| it.at_ns <= at_ns)?;
        Some((*number, checkpoint))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const HELD_NS: i64 = 3;
    const KEPT: usize = 4;

    proptest! {
        /// As a search of all of them finds it, with clocks that go on and that are set back.
        #[test]
        fn they_are_found_in_any_order(
            lines in prop::collection::vec((0_u64..30, -2_i64..3, any::<bool>()), 0..40),
            before_ns in 0_i64..40,
            at_ns in -2_i64..45,
        ) {
            let (mut ours, mut theirs) = (Checkpoints::default(), BTreeMap::new());
            for (number, error, end) in lines {
                let at_ns = i64::try_from(number).unwrap() + error;
                let watched = Watched { end, ..Watched::default() };
                ours.insert(number, Checkpoint { at_ns, watched });
                theirs.insert(number, (at_ns, end));
            }
            ours.forget(before_ns, KEPT);
            while theirs.len() > KEPT && theirs.values().nth(1).is_some_and(|it| it.0 < before_ns) {
                theirs.pop_first();
            }
            let after = theirs.iter().find(|(_, (it_ns, end))| {
                *it_ns >= at_ns + HELD_NS || (*end && *it_ns >= at_ns)
            });
            let found = ours.first_after(at_ns, HELD_NS);
            prop_assert_eq!(found.map(|it| it.checkpoint().0), after.map(|it| *it.0));
            if let (Some(found), Some((last, _))) = (found, after) {
                let before = theirs.range(..*last).rev().find(|(_, it)| it.0 <= at_ns);
                prop_assert_eq!(found.last_before(at_ns).map(|it| it.0), before.map(|it| *it.0));
            }
        }
    }
}
