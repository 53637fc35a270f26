//! Which records of a spool are missing.

use std::{collections::VecDeque, ops::Range};

/// Ranges of numbers, apart from each other and in order.
#[derive(Debug, Default)]
pub(super) struct Gaps(VecDeque<Range<u64>>);

impl Gaps {
    /// Adds `gap`; returns how many of its numbers are new.
    pub(super) fn add(&mut self, gap: Range<u64>) -> u64 {
        if gap.is_empty() {
            return 0;
        }
        let new = gap.end - gap.start - self.count_within(gap.clone());
        let before = self.0.partition_point(|it| it.end < gap.start);
        let mut whole = gap;
        while let Some(next) = self.0.get(before).filter(|it| it.start <= whole.end) {
            whole = whole.start.min(next.start)..whole.end.max(next.end);
            self.0.remove(before);
        }
        self.0.insert(before, whole);
        new
    }

    /// How many numbers of `range` are missing.
    pub(super) fn count_within(&self, range: Range<u64>) -> u64 {
        let within = |gap: &Range<u64>| {
            let end = gap.end.min(range.end);
            end.saturating_sub(gap.start.max(range.start))
        };
        self.0.iter().map(within).sum()
    }

    /// Forgets the numbers below `number`.
    pub(super) fn forget_below(&mut self, number: u64) {
        while self.0.front().is_some_and(|gap| gap.end <= number) {
            self.0.pop_front();
        }
        if let Some(first) = self.0.front_mut() {
            first.start = first.start.max(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a set of numbers.
        #[test]
        fn each_number_counts_once(
            ranges in prop::collection::vec((0..40_u64, 0..8_u64), 1..20),
            floor in 0..40_u64,
            within in (0..40_u64, 0..20_u64),
        ) {
            let (mut gaps, mut numbers) = (Gaps::default(), BTreeSet::new());
            for (start, length) in ranges {
                let range = start..start + length;
                let new = range.clone().filter(|it| numbers.insert(*it)).count();
                prop_assert_eq!(gaps.add(range), new as u64);
            }
            prop_assert!(gaps.0.iter().is_sorted_by(|a, b| a.end < b.start));
            let within = within.0..within.0 + within.1;
            for forget in [false, true] {
                if forget {
                    gaps.forget_below(floor);
                    numbers.retain(|it| *it >= floor);
                }
                let expected = numbers.range(within.clone()).count();
                prop_assert_eq!(gaps.count_within(within.clone()), expected as u64);
            }
        }
    }
}
