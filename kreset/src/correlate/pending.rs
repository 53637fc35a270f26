//! Events that wait for those of the other host.

use std::collections::{BTreeMap, HashMap};

use smallvec::SmallVec;

use super::{agents::AgentId, line::Ended, table::may_be_same};
use crate::event::{Direction, Endpoint, FlowId, Role};

/// How far apart two events without a flow may be to belong together, by one clock.
const NEAR_NS: i64 = 5_000_000_000;

/// An event of a connection's end.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    pub(super) agent: AgentId,
    pub(super) at_ns: i64,
    pub(super) ended: Ended,
}

impl Observation {
    fn is_sent(&self) -> bool {
        self.ended.direction == Direction::Sent
    }
}

/// The order in which events are judged: by time, then as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) at_ns: i64,
    arrival: u64,
}

type Keys = SmallVec<[Key; 2]>;

/// The events, and how they are found.
#[derive(Debug, Default)]
pub(super) struct Pending {
    events: BTreeMap<Key, Observation>,
    arrivals: u64,
    flows: HashMap<FlowId, Keys>,
    sequences: HashMap<u32, Keys>,
    tuples: HashMap<(Endpoint, Endpoint), Keys>,
}

/// What belongs to one end of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// Events of the client's host, oldest first.
    pub(super) client: Vec<Observation>,
    /// Events of the broker's host, likewise.
    pub(super) broker: Vec<Observation>,
    /// More than one event of the other host fits, so none was taken.
    pub(super) is_ambiguous: bool,
}

impl Group {
    /// The events of one end.
    pub(super) const fn of(&self, role: Role) -> &Vec<Observation> {
        match role {
            Role::Client => &self.client,
            Role::Broker => &self.broker,
        }
    }

    fn add(&mut self, observation: Observation) {
        match observation.ended.role {
            Role::Client => self.client.push(observation),
            Role::Broker => self.broker.push(observation),
        }
    }
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn oldest(&self) -> Option<Key> {
        self.events.first_key_value().map(|(key, _)| *key)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Observation> {
        self.events.get(&key)
    }

    pub(super) fn insert(&mut self, observation: Observation) {
        let key = Key {
            at_ns: observation.at_ns,
            arrival: self.arrivals,
        };
        self.arrivals += 1;
        let ended = &observation.ended;
        if let Some(flow) = ended.flow_id {
            self.flows.entry(flow).or_default().push(key);
        }
        if let Some(sequence) = usable(ended.sequence) {
            self.sequences.entry(sequence).or_default().push(key);
        }
        let tuple = (ended.client, ended.broker);
        self.tuples.entry(tuple).or_default().push(key);
        self.events.insert(key, observation);
    }

    fn remove(&mut self, key: Key) -> Option<Observation> {
        let observation = self.events.remove(&key)?;
        let ended = &observation.ended;
        if let Some(flow) = &ended.flow_id {
            drop_key(&mut self.flows, flow, key);
        }
        if let Some(sequence) = usable(ended.sequence) {
            drop_key(&mut self.sequences, &sequence, key);
        }
        drop_key(&mut self.tuples, &(ended.client, ended.broker), key);
        Some(observation)
    }

    /// Keys of the same flow.
    pub(super) fn of_flow(&self, flow: &FlowId) -> &[Key] {
        self.flows.get(flow).map_or(&[], SmallVec::as_slice)
    }

    /// Keys of the same client's and broker's end, as some host saw them.
    pub(super) fn of_tuple(&self, tuple: (Endpoint, Endpoint)) -> &[Key] {
        self.tuples.get(&tuple).map_or(&[], SmallVec::as_slice)
    }

    /// Takes an event and all that belongs to it. `apart` gives the nanoseconds between two
    /// events by one clock.
    pub(super) fn take(
        &mut self,
        key: Key,
        apart: impl Fn(&Observation, &Observation) -> i64,
    ) -> Group {
        let mut group = Group::default();
        let mut keys: Vec<Key> = match self.get(key).and_then(|it| it.ended.flow_id) {
            Some(flow) => self.of_flow(&flow).to_vec(),
            None => vec![key],
        };
        let has_both = |keys: &[Key]| {
            let roles = keys.iter().filter_map(|key| self.get(*key));
            let mut roles = roles.map(|it| it.ended.role);
            let first = roles.next();
            roles.any(|role| Some(role) != first)
        };
        if !has_both(&keys) {
            match self.partner(key, &apart) {
                Partner::One(found) => match self.get(found).and_then(|it| it.ended.flow_id) {
                    Some(flow) => keys.extend(self.of_flow(&flow)),
                    None => keys.push(found),
                },
                Partner::Several => group.is_ambiguous = true,
                Partner::None => {}
            }
        }
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            if let Some(observation) = self.remove(key) {
                group.add(observation);
            }
        }
        group
    }

    /// The event of the other host that belongs to an event whose flow no event of the other
    /// host has.
    fn partner(&self, key: Key, apart: &impl Fn(&Observation, &Observation) -> i64) -> Partner {
        let Some(mine) = self.get(key) else {
            return Partner::None;
        };
        let near = |it: &Observation| apart(mine, it).abs() <= NEAR_NS;
        let fits = |it: &Observation| {
            it.ended.role != mine.ended.role && near(it) && self.is_alone(it, mine)
        };
        if let Some(sequence) = usable(mine.ended.sequence) {
            let keys = self.sequences.get(&sequence).map_or(&[][..], |it| it);
            let found = self.only(keys, |it| fits(it) && it.is_sent() != mine.is_sent());
            if found != Partner::None {
                return found;
            }
        }
        let keys = self.of_tuple((mine.ended.client, mine.ended.broker));
        self.only(keys, |it| {
            let (sent, received) = if it.is_sent() { (it, mine) } else { (mine, it) };
            let crosses = it.is_sent() != mine.is_sent();
            fits(it) && (!crosses || may_be_same(&sent.ended, &received.ended))
        })
    }

    /// Whether `it` may belong to `mine`: it does not name another flow, and no event of the
    /// other host has its flow.
    fn is_alone(&self, it: &Observation, mine: &Observation) -> bool {
        match (it.ended.flow_id, mine.ended.flow_id) {
            (Some(its), Some(mines)) => its == mines,
            (Some(its), None) => self.of_flow(&its).iter().all(|key| {
                self.get(*key)
                    .is_some_and(|other| other.ended.role == it.ended.role)
            }),
            (None, _) => true,
        }
    }

    fn only(&self, keys: &[Key], fits: impl Fn(&Observation) -> bool) -> Partner {
        let mut found = keys.iter().filter(|key| self.get(**key).is_some_and(&fits));
        match (found.next(), found.next()) {
            (Some(key), None) => Partner::One(*key),
            (Some(_), Some(_)) => Partner::Several,
            (None, _) => Partner::None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Partner {
    None,
    One(Key),
    Several,
}

/// A RST to a SYN has the number 0, as every other one.
fn usable(sequence: Option<u32>) -> Option<u32> {
    sequence.filter(|it| *it != 0)
}

fn drop_key<K: Eq + std::hash::Hash>(index: &mut HashMap<K, Keys>, at: &K, key: Key) {
    if let Some(keys) = index.get_mut(at) {
        keys.retain(|it| *it != key);
        if keys.is_empty() {
            index.remove(at);
        }
    }
}
