//! A set of numbers that come nearly in order: what was read of a run, and what was not.

use std::{collections::BTreeMap, ops::RangeInclusive};

/// Ranges that are kept at most: each is a gap in what was read.
const RANGES: usize = 1_024;

/// The set, as ranges: first to last.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    /// The greatest range, which nearly every number makes grow.
    last: Option<(u64, u64)>,
    /// Those before it.
    before: BTreeMap<u64, u64>,
}

impl Numbers {
    /// Adds a number; `false` if it was there.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let Some((first, last)) = &mut self.last else {
            self.last = Some((number, number));
            return true;
        };
        if last.checked_add(1) == Some(number) {
            *last = number;
            return true;
        }
        if number > *last {
            self.before.insert(*first, *last);
            (*first, *last) = (number, number);
            self.limit();
            return true;
        }
        if number >= *first {
            return false;
        }
        let before = self.before.range(..=number).next_back();
        let before = before.map(|(first, last)| (*first, *last));
        let joins = match before {
            Some((_, last)) if last >= number => return false,
            Some((first, last)) if last.checked_add(1) == Some(number) => Some(first),
            _ => None,
        };
        // No overflow: it is less than another.
        if number + 1 == *first {
            if let Some(joined) = joins {
                self.before.remove(&joined);
            }
            *first = joins.unwrap_or(number);
            return true;
        }
        let after = self.before.remove(&(number + 1));
        self.before
            .insert(joins.unwrap_or(number), after.unwrap_or(number));
        self.limit();
        true
    }

    fn limit(&mut self) {
        if self.before.len() >= RANGES {
            self.before.pop_first();
        }
    }

    /// Whether all of these are there.
    pub(super) fn has_all(&self, wanted: RangeInclusive<u64>) -> bool {
        let last = match self.last {
            Some((first, last)) if first <= *wanted.start() => Some(last),
            _ => {
                let mut before = self.before.range(..=*wanted.start());
                before.next_back().map(|(_, last)| *last)
            }
        };
        last.is_some_and(|last| last >= *wanted.end())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(numbers in prop::collection::vec(0_u64..40, 0..80), first in 0_u64..40, length in 0_u64..9) {
            let (mut ours, mut theirs) = (Numbers::default(), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(ours.insert(number), theirs.insert(number));
            }
            let wanted = first..=first + length;
            prop_assert_eq!(ours.has_all(wanted.clone()), wanted.into_iter().all(|it| theirs.contains(&it)));
        }
    }

    #[test]
    fn the_last_number_has_none_after_it() {
        let mut numbers = Numbers::default();
        assert!(numbers.insert(u64::MAX) && numbers.insert(u64::MAX - 1));
        assert!(!numbers.insert(u64::MAX) && numbers.has_all(u64::MAX - 1..=u64::MAX));
    }
}
