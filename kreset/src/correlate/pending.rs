//! Events that wait for those of the other host, and what belongs together.
//!
//! What belongs together follows from the events alone, never from the order in which they
//! came: a database that has all of them at once has to come to the same findings.

use std::{
    hash::{BuildHasher as _, Hash},
    net::IpAddr,
    num::NonZero,
};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::{
    agents::AgentId,
    chains::Chains,
    due::{Kept, Queue, span},
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
pub(super) struct Key {
    pub(super) at_ns: i64,
    origin: Origin,
    part: Part,
}

impl Key {
    /// Of the first event at that time.
    #[cfg(test)]
    pub(super) fn at(at_ns: i64) -> Self {
        Self {
            at_ns,
            origin: Origin::default(),
            part: Part::Whole,
        }
    }
}

/// Where an event is kept: the index, and one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place(NonZero<u32>);

impl Place {
    /// The place at an index; `None` if it does not fit.
    pub(super) fn of(index: usize) -> Option<Self> {
        let number = u32::try_from(index).ok()?.checked_add(1)?;
        NonZero::new(number).map(Self)
    }

    pub(super) const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

type Places = SmallVec<[Place; 2]>;

/// The events, and how they are found.
#[derive(Debug, Default)]
pub(super) struct Pending {
    events: Vec<Option<Slot>>,
    free: Vec<Place>,
    queue: Queue,
    /// Events that are in the queue and wait.
    waiting: usize,
    /// Judged, and kept for those that are judged next.
    judged: Kept,
    hasher: RandomState,
    common: Chains,
    sequences: Chains,
    tuples: Chains,
    /// RSTs that an agent's host sent, by its clock: by span.
    sent: Chains,
}

/// An event that is kept.
#[derive(Debug)]
struct Slot {
    observation: Observation,
    waits: bool,
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
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Nothing is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let chains = [&self.common, &self.sequences, &self.tuples, &self.sent];
        self.events.iter().all(Option::is_none) && chains.into_iter().all(Chains::is_empty)
    }

    /// The oldest of them, and since when it waits.
    pub(super) fn oldest(&mut self) -> Option<(i64, Place)> {
        let events = &self.events;
        let waits = |place: Place| {
            let slot = events.get(place.index());
            slot.is_some_and(|slot| slot.as_ref().is_some_and(|it| it.waits))
        };
        let (due, place) = self.queue.first(waits)?;
        Some((due.at_ns, place))
    }

    /// The event at a place.
    pub(super) fn get(&self, place: Place) -> Option<&Observation> {
        let slot = self.events.get(place.index())?.as_ref()?;
        Some(&slot.observation)
    }

    /// Adds an event, if there is a place for it.
    pub(super) fn insert(&mut self, observation: Observation) {
        let Some(place) = self.free.pop().or_else(|| Place::of(self.events.len())) else {
            return;
        };
        let hashes = self.hashes(&observation);
        for (chains, hash) in self.chains().into_iter().zip(hashes) {
            if let Some(hash) = hash {
                chains.insert(hash, place);
            }
        }
        self.queue.insert(observation.due(), place);
        self.waiting += 1;
        let slot = Some(Slot {
            observation,
            waits: true,
        });
        match self.events.get_mut(place.index()) {
            Some(free) => *free = slot,
            None => self.events.push(slot),
        }
    }

    /// Marks the events of a group as judged.
    pub(super) fn judge(&mut self, members: &Members) {
        for place in &members.places {
            if let Some(Some(slot)) = self.events.get_mut(place.index())
                && slot.waits
            {
                slot.waits = false;
                self.waiting -= 1;
                self.judged.insert(slot.observation.due_ns, *place);
            }
        }
    }

    /// Forgets judged events that were due before `before_ns`.
    pub(super) fn forget(&mut self, before_ns: i64) {
        while let Some(old) = self.judged.take_before(before_ns) {
            for (_, place) in old {
                self.remove(place);
            }
        }
    }

    fn remove(&mut self, place: Place) {
        let slot = self.events.get_mut(place.index());
        let Some(slot) = slot.and_then(Option::take) else {
            return;
        };
        self.free.push(place);
        let hashes = self.hashes(&slot.observation);
        for (chains, hash) in self.chains().into_iter().zip(hashes) {
            if let Some(hash) = hash {
                chains.remove(hash, place);
            }
        }
    }

    const fn chains(&mut self) -> [&mut Chains; 4] {
        [
            &mut self.common,
            &mut self.sequences,
            &mut self.tuples,
            &mut self.sent,
        ]
    }

    /// Which of [`Self::chains`] an event belongs to.
    fn hashes(&self, it: &Observation) -> [Option<u32>; 4] {
        [
            it.common().map(|common| self.hash(common)),
            usable(it.ended.sequence),
            Some(self.hash_of_tuple(it.tuple())),
            it.is_sent_reset()
                .then(|| self.hash((it.agent, span(it.at_ns)))),
        ]
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "half of a hash is one, too"
    )]
    fn hash(&self, value: impl Hash) -> u32 {
        self.hasher.hash_one(value) as u32
    }

    fn hash_of_tuple(&self, (client, broker): (Endpoint, Endpoint)) -> u32 {
        let ports = (u32::from(client.port) << 16) | u32::from(broker.port);
        let bits = |address| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        self.hash((ports, bits(client.address), bits(broker.address)))
    }

    /// Events of a flow.
    pub(super) fn of_flow(&self, flow: Flow) -> impl Iterator<Item = &Observation> {
        let places = self.common.of(self.hash(Common::Flow(flow)));
        let all = places.filter_map(|place| self.get(place));
        all.filter(move |it| it.ended.flow == Some(flow))
    }

    /// Events of the same client's and broker's end, as some host saw them.
    pub(super) fn of_tuple(
        &self,
        tuple: (Endpoint, Endpoint),
    ) -> impl Iterator<Item = &Observation> {
        let places = self.tuples.of(self.hash_of_tuple(tuple));
        let all = places.filter_map(|place| self.get(place));
        all.filter(move |it| it.tuple() == tuple)
    }

    /// RSTs that an agent's host sent from `first_ns` to `last_ns`, by its clock.
    pub(super) fn sent(
        &self,
        agent: AgentId,
        first_ns: i64,
        last_ns: i64,
    ) -> impl Iterator<Item = (Place, &Observation)> {
        let spans = span(first_ns)..=span(last_ns);
        let places = spans.flat_map(move |span| self.sent.of(self.hash((agent, span))));
        let all = places.filter_map(|place| Some((place, self.get(place)?)));
        all.filter(move |(_, it)| {
            it.agent == agent && (first_ns..=last_ns).contains(&it.at_ns) && it.is_sent_reset()
        })
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
        let Some(common) = self.get(place).and_then(Observation::common) else {
            return SmallVec::from_slice(&[place]);
        };
        let places = self.common.of(self.hash(common));
        let is_such = |it: &Observation| it.common() == Some(common);
        places
            .filter(|place| self.get(*place).is_some_and(is_such))
            .collect()
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
            let Some(sequence) = usable(mine.ended.sequence) else {
                continue;
            };
            self.add_fitting(&mut found, self.sequences.of(sequence), |it| {
                fits(it, mine) && it.is_sent() != mine.is_sent()
            });
        }
        if found != Partner::None {
            return found;
        }
        for mine in events() {
            let same = self.tuples.of(self.hash_of_tuple(mine.tuple()));
            self.add_fitting(&mut found, same, |it| {
                let (sent, received) = if it.is_sent() { (it, mine) } else { (mine, it) };
                let crosses = it.is_sent() != mine.is_sent();
                it.tuple() == mine.tuple()
                    && fits(it, mine)
                    && (!crosses || may_be_same(&sent.ended, &received.ended))
            });
        }
        found
    }

    fn add_fitting(
        &self,
        found: &mut Partner,
        places: impl Iterator<Item = Place>,
        fits: impl Fn(&Observation) -> bool,
    ) {
        for place in places {
            if !self.get(place).is_some_and(&fits) {
                continue;
            }
            let group = self.same_flow(place);
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
