//! A set of numbers that come nearly in order: what was read of a run, and what was not.

use std::{collections::BTreeMap, ops::RangeInclusive};

/// Ranges that are kept at most: each is a gap in what was read.
const RANGES: usize = 1_024;

/// The set, as ranges: first to last.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(BTreeMap<u64, u64>);

impl Numbers {
    /// Adds a number; `false` if it was there.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        // Most come in order: the last range grows.
        if let Some(mut last) = self.0.last_entry()
            && last.get().checked_add(1) == Some(number)
        {
            *last.get_mut() = number;
            return true;
        }
        let before = self.0.range(..=number).next_back();
        let before = before.map(|(first, last)| (*first, *last));
        let joins = match before {
            Some((_, last)) if last >= number => return false,
            Some((first, last)) if last.checked_add(1) == Some(number) => Some(first),
            _ => None,
        };
        let after = number.checked_add(1).and_then(|next| self.0.remove(&next));
        self.0
            .insert(joins.unwrap_or(number), after.unwrap_or(number));
        if self.0.len() > RANGES {
            self.0.pop_first();
        }
        true
    }

    /// Whether all of these are there.
    pub(super) fn has_all(&self, wanted: RangeInclusive<u64>) -> bool {
        let before = self.0.range(..=*wanted.start()).next_back();
        before.is_some_and(|(_, last)| last >= wanted.end())
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
