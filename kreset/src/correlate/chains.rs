//! Which events have something in common: a chain of places for each hash of what that is.
//!
//! A window has hundreds of thousands of events, found by their flow, their number and their
//! ends. A table of lists has the key and the list in each entry, and each entry is a miss of the
//! cache; here an entry has twelve bytes, and the chains are beside it, in the order of places.
//! Two events of one chain may have only the hash in common, so a walk along it compares them.

use std::collections::hash_map::Entry;

use foldhash::HashMap;

use super::pending::Place;

/// Chains of places, each in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Chains {
    ends: HashMap<u32, Ends>,
    /// By place.
    links: Vec<Link>,
}

/// The ends of a chain.
#[derive(Clone, Copy, Debug)]
struct Ends {
    first: Place,
    last: Place,
}

/// What a place stands between.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    before: Option<Place>,
    after: Option<Place>,
}

impl Chains {
    /// Adds a place, which is in no chain, to the end of one.
    pub(super) fn insert(&mut self, hash: u32, place: Place) {
        let mut link = Link::default();
        match self.ends.entry(hash) {
            Entry::Occupied(mut ends) => {
                let last = std::mem::replace(&mut ends.get_mut().last, place);
                link.before = Some(last);
                if let Some(last) = self.links.get_mut(last.index()) {
                    last.after = Some(place);
                }
            }
            Entry::Vacant(none) => {
                none.insert(Ends {
                    first: place,
                    last: place,
                });
            }
        }
        if self.links.len() <= place.index() {
            self.links.resize(place.index() + 1, Link::default());
        }
        if let Some(slot) = self.links.get_mut(place.index()) {
            *slot = link;
        }
    }

    /// Takes a place out of the chain that it was added to.
    pub(super) fn remove(&mut self, hash: u32, place: Place) {
        let Some(link) = self.links.get_mut(place.index()).map(std::mem::take) else {
            return;
        };
        if let Some(before) = link.before.and_then(|it| self.links.get_mut(it.index())) {
            before.after = link.after;
        }
        if let Some(after) = link.after.and_then(|it| self.links.get_mut(it.index())) {
            after.before = link.before;
        }
        if link.before.is_some() && link.after.is_some() {
            return;
        }
        let Entry::Occupied(mut ends) = self.ends.entry(hash) else {
            return;
        };
        match (link.before, link.after) {
            (None, Some(first)) => ends.get_mut().first = first,
            (Some(last), None) => ends.get_mut().last = last,
            _ => {
                ends.remove();
            }
        }
    }

    /// The places of a chain.
    pub(super) fn of(&self, hash: u32) -> impl Iterator<Item = Place> {
        let first = self.ends.get(&hash).map(|ends| ends.first);
        std::iter::successors(first, |place| self.links.get(place.index())?.after)
    }

    /// Whether there is no chain.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As lists of places have it.
        #[test]
        fn each_chain_has_its_places_in_order(
            changes in prop::collection::vec((0_usize..12, 0_u32..3), 0..60),
        ) {
            let mut chains = Chains::default();
            let (mut lists, mut hashes) = (BTreeMap::<u32, Vec<Place>>::new(), BTreeMap::new());
            for (index, hash) in changes {
                let place = Place::of(index).unwrap();
                if let Some(hash) = hashes.remove(&place) {
                    chains.remove(hash, place);
                    lists.entry(hash).or_default().retain(|it| *it != place);
                } else {
                    chains.insert(hash, place);
                    lists.entry(hash).or_default().push(place);
                    hashes.insert(place, hash);
                }
                for hash in 0..3 {
                    let list = lists.get(&hash).cloned().unwrap_or_default();
                    prop_assert_eq!(chains.of(hash).collect::<Vec<_>>(), list);
                }
                prop_assert_eq!(chains.is_empty(), hashes.is_empty());
            }
        }
    }
}
