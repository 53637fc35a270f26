//! What was judged in one turn, before it is written: the third end makes an incident of the
//! first two, which are to carry its id as well.

use std::num::NonZeroUsize;

use lru::LruCache;

use crate::{
    classify::incident::Taken,
    event::{Event, Id},
    facts::Facts,
};

/// Events that were written alone and that an incident may still list.
const WRITTEN: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// Incidents whose ids are remembered.
const INCIDENTS: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// An event that was judged.
#[derive(Debug)]
pub(super) struct Staged {
    /// It.
    pub(super) event: Event,
    /// What it is to incidents; `None` for routine closes.
    pub(super) taken: Option<Taken>,
    /// What it was judged on, where the next attempt to connect may correct it.
    pub(super) open: Option<Facts>,
}

/// The events of one turn, and the ids of those before.
#[derive(Debug)]
pub(super) struct Staging {
    staged: Vec<Staged>,
    written: LruCache<u64, Id>,
    incidents: LruCache<u64, (Id, Vec<Id>)>,
    /// The incidents of events that were taken in before those were recognised.
    joined: LruCache<u64, Id>,
}

impl Default for Staging {
    fn default() -> Self {
        Self {
            staged: Vec::new(),
            written: LruCache::new(WRITTEN),
            incidents: LruCache::new(INCIDENTS),
            joined: LruCache::new(WRITTEN),
        }
    }
}

impl Staging {
    pub(super) fn add(&mut self, staged: Staged) {
        self.staged.push(staged);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    pub(super) fn take(&mut self) -> Vec<Staged> {
        std::mem::take(&mut self.staged)
    }

    /// An event was written that is part of no incident yet.
    pub(super) fn wrote(&mut self, member: u64, id: Id) {
        self.written.put(member, id);
    }

    /// An incident began with these members; returns its id, and the ids of those that are
    /// written.
    pub(super) fn begin(&mut self, number: u64, id: Id, members: &[u64]) -> (Id, Vec<Id>) {
        self.incidents.put(number, (id, Vec::new()));
        self.join(number, members);
        self.begun(number).unwrap_or((id, Vec::new()))
    }

    /// Members joined an incident that began before.
    pub(super) fn join(&mut self, number: u64, members: &[u64]) {
        let Some((id, earlier)) = self.incidents.get_mut(&number) else {
            return;
        };
        for member in members {
            match self.written.pop(member) {
                Some(written) => earlier.push(written),
                None => {
                    self.joined.put(*member, *id);
                }
            }
        }
    }

    /// The id of an incident that began, and the events that were written before.
    pub(super) fn begun(&mut self, number: u64) -> Option<(Id, Vec<Id>)> {
        self.incidents.get(&number).cloned()
    }

    /// The id of the incident that an event is part of.
    pub(super) fn incident_of(&mut self, taken: Taken) -> Option<Id> {
        let by_number = taken
            .incident
            .and_then(|number| self.incidents.get(&number));
        let by_number = by_number.map(|(id, _)| *id);
        by_number.or_else(|| self.joined.pop(&taken.member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Ids;

    /// The first was written in an earlier turn, the second and third are of this one.
    #[test]
    fn what_is_not_written_yet_carries_the_id_and_what_is_written_is_listed() {
        let mut ids = Ids::of_this_run();
        let mut staging = Staging::default();
        let first = ids.next_id();
        let taken = |member, incident| Taken { member, incident };
        assert_eq!(staging.incident_of(taken(1, None)), None);
        staging.wrote(1, first);
        let id = ids.next_id();
        assert_eq!(staging.begin(0, id, &[1, 2, 3]), (id, vec![first]));
        assert_eq!(staging.incident_of(taken(2, None)), Some(id));
        assert_eq!(staging.incident_of(taken(3, Some(0))), Some(id));
        assert_eq!(staging.incident_of(taken(4, Some(0))), Some(id));
        assert_eq!(staging.incident_of(taken(5, None)), None);
        assert_eq!(staging.begun(0), Some((id, vec![first])));
        assert_eq!(staging.begun(1), None);

        // More join it: one was written meanwhile, one was not.
        let sixth = ids.next_id();
        staging.wrote(6, sixth);
        staging.join(0, &[6, 7]);
        assert_eq!(staging.begun(0), Some((id, vec![first, sixth])));
        assert_eq!(staging.incident_of(taken(7, None)), Some(id));
    }
}
