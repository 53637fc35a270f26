//! Events that wait for those of the other host, and what belongs together.
//!
//! What belongs together follows from the events alone, never from the order in which they
//! came: a database that has all of them at once has to come to the same findings.

use std::collections::{BTreeMap, hash_map::Entry};

use foldhash::HashMap;
use smallvec::SmallVec;

use super::{
    agents::AgentId,
    line::{EndKind, Ended, Flow, Origin},
    table::may_be_same,
};
use crate::event::{Direction, Endpoint, Role};

/// How far apart two events without a flow may be to belong together, by one clock.
const NEAR_NS: u64 = 5_000_000_000;

/// An event of a connection's end.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    pub(super) agent: AgentId,
    pub(super) at_ns: i64,
    pub(super) origin: Origin,
    /// What of the event it is.
    pub(super) part: Part,
    /// From when on its partners are waited for: later than `at_ns` if it came later.
    pub(super) due_ns: i64,
    /// When it came, what others said of that time had been forgotten.
    pub(super) is_late: bool,
    pub(super) ended: Ended,
}

/// What of its event an observation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// Of an event of both ends, the end that it is of.
    One,
    /// The other end.
    Other,
}

/// What observations have in common that are of one connection whatever else they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Common {
    Flow(Flow),
    /// The event of both ends.
    Event(Origin),
}

impl Observation {
    const fn key(&self) -> Key {
        Key {
            at_ns: self.at_ns,
            origin: self.origin,
            part: self.part,
        }
    }

    const fn due(&self) -> Key {
        Key {
            at_ns: self.due_ns,
            origin: self.origin,
            part: self.part,
        }
    }

    const fn common(&self) -> Option<Common> {
        match (self.ended.flow, self.part) {
            (Some(flow), _) => Some(Common::Flow(flow)),
            (None, Part::Whole) => None,
            (None, Part::One | Part::Other) => Some(Common::Event(self.origin)),
        }
    }

    const fn tuple(&self) -> (Endpoint, Endpoint) {
        (self.ended.client, self.ended.broker)
    }

    fn is_sent(&self) -> bool {
        self.ended.direction == Direction::Sent
    }

    fn is_sent_reset(&self) -> bool {
        self.is_sent() && self.ended.kind == EndKind::Reset
    }
}

/// An order of events: by time, then by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at_ns: i64,
    origin: Origin,
    part: Part,
}

/// Where an event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place(u32);

type Places = SmallVec<[Place; 2]>;

/// The events, and how they are found.
#[derive(Debug, Default)]
pub(super) struct Pending {
    events: Vec<Option<Observation>>,
    free: Vec<Place>,
    waiting: BTreeMap<Key, Place>,
    /// Judged, and kept for those that are judged next.
    judged: BTreeMap<Key, Place>,
    common: HashMap<Common, Places>,
    sequences: HashMap<u32, Places>,
    tuples: HashMap<(Endpoint, Endpoint), Places>,
    /// RSTs that an agent's host sent, by its clock.
    sent: HashMap<AgentId, BTreeMap<Key, Place>>,
}

/// What belongs to one end of a connection.
#[derive(Debug, Default)]
pub(super) struct Group<'a> {
    /// Events of the client's host, oldest first.
    pub(super) client: SmallVec<[&'a Observation; 2]>,
    /// Events of the broker's host, likewise.
    pub(super) broker: SmallVec<[&'a Observation; 2]>,
    /// More than one event of the other host fits, so none was taken.
    pub(super) is_ambiguous: bool,
}

impl<'a> Group<'a> {
    /// The events of one end.
    pub(super) fn of(&self, role: Role) -> &[&'a Observation] {
        match role {
            Role::Client => &self.client,
            Role::Broker => &self.broker,
        }
    }
}

/// What an event, and the other events of its flow, belong to.
#[derive(Debug, Default)]
pub(super) struct Members {
    places: Places,
    is_ambiguous: bool,
}

/// What fits the events of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Partner {
    None,
    /// The events of which this is the oldest.
    One(Place),
    Several,
}

impl Pending {
    /// Events that wait to be judged.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.events.iter().all(Option::is_none) && self.common.is_empty()
    }

    /// The oldest of them, and since when it waits.
    pub(super) fn oldest(&self) -> Option<(i64, Place)> {
        let (due, place) = self.waiting.first_key_value()?;
        Some((due.at_ns, *place))
    }

    /// The event at a place.
    pub(super) fn get(&self, place: Place) -> Option<&Observation> {
        self.events.get(place.0 as usize)?.as_ref()
    }

    /// Adds an event, and says where.
    pub(super) fn insert(&mut self, observation: Observation) -> Place {
        let next = Place(u32::try_from(self.events.len()).unwrap_or(u32::MAX));
        let place = self.free.pop().unwrap_or(next);
        let ended = &observation.ended;
        if let Some(common) = observation.common() {
            self.common.entry(common).or_default().push(place);
        }
        if let Some(sequence) = usable(ended.sequence) {
            self.sequences.entry(sequence).or_default().push(place);
        }
        self.tuples
            .entry(observation.tuple())
            .or_default()
            .push(place);
        if observation.is_sent_reset() {
            let sent = self.sent.entry(observation.agent).or_default();
            sent.insert(observation.key(), place);
        }
        self.waiting.insert(observation.due(), place);
        match self.events.get_mut(place.0 as usize) {
            Some(slot) => *slot = Some(observation),
            None => self.events.push(Some(observation)),
        }
        place
    }

    /// Marks the events of a group as judged.
    pub(super) fn judge(&mut self, members: &Members) {
        for place in &members.places {
            let due = self.get(*place).map(Observation::due);
            if let Some(due) = due
                && self.waiting.remove(&due).is_some()
            {
                self.judged.insert(due, *place);
            }
        }
    }

    /// Forgets judged events that were due before `before_ns`.
    pub(super) fn forget(&mut self, before_ns: i64) {
        while let Some(oldest) = self.judged.first_entry() {
            if oldest.key().at_ns >= before_ns {
                break;
            }
            let place = oldest.remove();
            self.remove(place);
        }
    }

    fn remove(&mut self, place: Place) {
        let slot = self.events.get_mut(place.0 as usize);
        let Some(observation) = slot.and_then(Option::take) else {
            return;
        };
        self.free.push(place);
        if observation.is_sent_reset()
            && let Entry::Occupied(mut sent) = self.sent.entry(observation.agent)
        {
            sent.get_mut().remove(&observation.key());
            if sent.get().is_empty() {
                sent.remove();
            }
        }
        if let Some(common) = observation.common() {
            drop_place(self.common.entry(common), place);
        }
        if let Some(sequence) = usable(observation.ended.sequence) {
            drop_place(self.sequences.entry(sequence), place);
        }
        drop_place(self.tuples.entry(observation.tuple()), place);
    }

    /// Events of a flow.
    pub(super) fn of_flow(&self, flow: Flow) -> impl Iterator<Item = &Observation> {
        let common = self.common.get(&Common::Flow(flow));
        let places = common.map_or(&[][..], SmallVec::as_slice);
        places.iter().filter_map(|place| self.get(*place))
    }

    /// Events of the same client's and broker's end, as some host saw them.
    pub(super) fn of_tuple(
        &self,
        tuple: (Endpoint, Endpoint),
    ) -> impl Iterator<Item = &Observation> {
        let places = self.tuples.get(&tuple).map_or(&[][..], SmallVec::as_slice);
        places.iter().filter_map(|place| self.get(*place))
    }

    /// RSTs that an agent's host sent from `first_ns` to `last_ns`, by its clock.
    pub(super) fn sent(
        &self,
        agent: AgentId,
        first_ns: i64,
        last_ns: i64,
    ) -> impl Iterator<Item = (Place, &Observation)> {
        let first = Key {
            at_ns: first_ns,
            origin: Origin::default(),
            part: Part::Whole,
        };
        let last = Key {
            at_ns: last_ns,
            origin: Origin::LAST,
            part: Part::Other,
        };
        let sent = self.sent.get(&agent).into_iter();
        let places = sent.flat_map(move |sent| sent.range(first..=last).map(|(_, place)| *place));
        places.filter_map(|place| Some((place, self.get(place)?)))
    }

    /// What an event belongs to. `apart` gives the nanoseconds between two events by one clock.
    pub(super) fn members(
        &self,
        place: Place,
        apart: &impl Fn(&Observation, &Observation) -> u64,
    ) -> Members {
        let mut members = Members {
            places: self.same_flow(place),
            is_ambiguous: false,
        };
        if !self.has_both(&members.places) {
            match self.partner(&members.places, apart) {
                Partner::One(head) => {
                    let theirs = self.same_flow(head);
                    let mine = self.head(&members.places);
                    if self.partner(&theirs, apart) == mine.map_or(Partner::None, Partner::One) {
                        members.places.extend(theirs);
                    } else {
                        members.is_ambiguous = true;
                    }
                }
                Partner::Several => members.is_ambiguous = true,
                Partner::None => {}
            }
        }
        members
    }

    /// The events of a group.
    pub(super) fn group(&self, members: &Members) -> Group<'_> {
        let mut group = Group {
            is_ambiguous: members.is_ambiguous,
            ..Group::default()
        };
        let events = members.places.iter().filter_map(|place| self.get(*place));
        let mut sorted: SmallVec<[&Observation; 4]> = events.collect();
        sorted.sort_unstable_by_key(|it| it.key());
        for observation in sorted {
            match observation.ended.role {
                Role::Client => group.client.push(observation),
                Role::Broker => group.broker.push(observation),
            }
        }
        group
    }

    /// Events of both hosts belong to this one's connection.
    pub(super) fn is_joined(
        &self,
        place: Place,
        apart: &impl Fn(&Observation, &Observation) -> u64,
    ) -> bool {
        self.has_both(&self.members(place, apart).places)
    }

    /// All of an observation's flow, or of its event, or only itself.
    fn same_flow(&self, place: Place) -> Places {
        let common = self.get(place).and_then(Observation::common);
        let places = common.and_then(|common| self.common.get(&common));
        places
            .cloned()
            .unwrap_or_else(|| SmallVec::from_slice(&[place]))
    }

    fn has_both(&self, places: &[Place]) -> bool {
        let mut roles = places
            .iter()
            .filter_map(|place| self.get(*place))
            .map(|it| it.ended.role);
        let first = roles.next();
        roles.any(|role| Some(role) != first)
    }

    /// The oldest, which stands for all.
    fn head(&self, places: &[Place]) -> Option<Place> {
        let keyed = places
            .iter()
            .filter_map(|place| Some((self.get(*place)?.key(), *place)));
        keyed.min_by_key(|(key, _)| *key).map(|(_, place)| place)
    }

    /// The events of the other host that belong to these, whose flow no event of the other host
    /// has: by the number of the RST, else by both ends.
    fn partner(
        &self,
        places: &[Place],
        apart: &impl Fn(&Observation, &Observation) -> u64,
    ) -> Partner {
        let events = || places.iter().filter_map(|place| self.get(*place));
        let fits = |it: &Observation, mine: &Observation| {
            it.ended.role != mine.ended.role
                && (it.ended.flow.is_none() || mine.ended.flow.is_none())
                && apart(mine, it) <= NEAR_NS
        };
        let mut found = Partner::None;
        for mine in events() {
            let same = usable(mine.ended.sequence).and_then(|it| self.sequences.get(&it));
            self.add_fitting(&mut found, same, |it| {
                fits(it, mine) && it.is_sent() != mine.is_sent()
            });
        }
        if found != Partner::None {
            return found;
        }
        for mine in events() {
            self.add_fitting(&mut found, self.tuples.get(&mine.tuple()), |it| {
                let (sent, received) = if it.is_sent() { (it, mine) } else { (mine, it) };
                let crosses = it.is_sent() != mine.is_sent();
                fits(it, mine) && (!crosses || may_be_same(&sent.ended, &received.ended))
            });
        }
        found
    }

    fn add_fitting(
        &self,
        found: &mut Partner,
        places: Option<&Places>,
        fits: impl Fn(&Observation) -> bool,
    ) {
        for place in places.into_iter().flatten() {
            if !self.get(*place).is_some_and(&fits) {
                continue;
            }
            let group = self.same_flow(*place);
            if self.has_both(&group) {
                continue;
            }
            *found = match (*found, self.head(&group)) {
                (Partner::None, Some(head)) => Partner::One(head),
                (Partner::One(known), Some(head)) if known == head => *found,
                (_, Some(_)) => Partner::Several,
                (_, None) => *found,
            };
        }
    }
}

/// A RST to a SYN has the number 0, as every other one.
fn usable(sequence: Option<u32>) -> Option<u32> {
    sequence.filter(|it| *it != 0)
}

fn drop_place<K>(entry: Entry<'_, K, Places>, place: Place) {
    if let Entry::Occupied(mut entry) = entry {
        entry.get_mut().retain(|it| *it != place);
        if entry.get().is_empty() {
            entry.remove();
        }
    }
}
