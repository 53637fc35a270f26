//! Incidents: ends of connections that have one cause in one broker, device or client within
//! a short time. Pure: time is the events' own.
//!
//! An end is remembered under what it may have in common with others. The third of a kind
//! within its window makes an incident, of which the first two are part as well; what ends
//! under the same key while it lasts is part of it, and it is over after a while of quiet.
//! Everything is bounded: strangers choose how many there are.

mod clients;
mod end;
mod open;
mod outage;
mod rolls;
mod silent;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroUsize,
};

pub use clients::{Client, DISTINCT, LISTED};
pub use end::{End, Place, is_refusal};
use lru::LruCache;
use open::Open;
pub use open::Snapshot;
pub use rolls::InRoll;

use self::{
    clients::{ClientHash, Hashing},
    end::Key,
    outage::Outages,
    rolls::Rolls,
    silent::Shown,
};
use crate::{
    event::{IncidentKind, Role},
    facts::{Facts, Kind},
};

/// So many ends make an incident.
const ENDS: usize = 3;
/// Ends remembered of what is no incident yet.
const RECENT: usize = 64;
/// Keys under which ends are remembered.
const KEYS: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");
/// Open incidents.
const OPEN: usize = 256;
/// Open incidents of one client each; further clients share one for each kind.
const OF_CLIENTS: usize = 16;
/// Clients remembered with when they connected last.
const RETURNED: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

const SECOND_NS: u64 = 1_000_000_000;
/// What ends at once ends within this time: a FIN waits for a second, a client's write after
/// it may take some more.
const AT_ONCE_NS: u64 = 10 * SECOND_NS;
/// Attempts of one kind come within this time: clients wait for up to 10 s in between
/// (`reconnect.backoff.max.ms` of librdkafka).
const ATTEMPTS_NS: u64 = 60 * SECOND_NS;
/// Clients of a broker that does not answer give up one by one, each connection of theirs after
/// `request.timeout.ms`, which is 30 s: three in a row of a single one take over a minute.
const SILENT_NS: u64 = 120 * SECOND_NS;
/// Idle connections end one by one.
const IDLE_NS: u64 = 600 * SECOND_NS;

/// An end that is no part of an incident yet.
#[derive(Clone, Debug)]
struct Recent {
    end: End,
    hash: ClientHash,
    /// The number of its event, where it has one.
    member: Option<u64>,
}

/// What became of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its own number, by which [`Snapshot::earlier`] names it.
    pub member: u64,
    /// The number of the incident that it is part of.
    pub incident: Option<u64>,
}

/// When clients connected last; monotonic ns.
type Returned = LruCache<(Place, ClientHash), u64>;

/// All incidents of one host.
#[derive(Debug)]
pub struct Incidents {
    hashing: Hashing,
    recent: LruCache<Key, VecDeque<Recent>>,
    open: HashMap<Key, Open>,
    outages: Outages,
    rolls: Rolls,
    /// When clients connected last.
    returned: Returned,
    over: Vec<Snapshot>,
    /// What joined incidents that were announced before, by their numbers.
    grown: Vec<(u64, Vec<u64>)>,
    members: u64,
    numbers: u64,
    /// Keys and incidents evicted because a table was full.
    evicted: u64,
}

impl Default for Incidents {
    fn default() -> Self {
        Self {
            hashing: Hashing::default(),
            recent: LruCache::new(KEYS),
            open: HashMap::new(),
            outages: Outages::default(),
            rolls: Rolls::default(),
            returned: LruCache::new(RETURNED),
            over: Vec::new(),
            grown: Vec::new(),
            members: 0,
            numbers: 0,
            evicted: 0,
        }
    }
}

impl Incidents {
    /// Takes in when connections end, are refused and are accepted: to be called for each
    /// record, in their order.
    pub fn observe(&mut self, facts: &Facts) {
        let place = Place::of(facts);
        if let Some(began_ns) = facts.began_ns().filter(|_| facts.established) {
            self.outages.began(place, began_ns);
            self.connected_by(facts, began_ns);
        }
        match facts.kind {
            _ if is_refusal(facts) => {
                let here = facts.netns.filter(|_| facts.role == Role::Broker);
                self.outages.refused(place, facts.at_ns, here);
            }
            Kind::Established if facts.role == Role::Client => {
                self.outages.accepted(place, facts.at_ns);
                self.connected_by(facts, facts.at_ns);
            }
            _ if end::is_brokers(facts) => self.outages.ended(place, facts.at_ns),
            _ => {}
        }
    }

    /// Whether a socket has begun to listen on a port that refused, by how many listen now on
    /// any address. Where several addresses refuse, it may be of any of them.
    pub fn listens_since(&mut self, place: Place, netns: u32, listeners: u32) -> bool {
        self.outages.listens_since(place, netns, listeners)
    }

    /// A socket of this host listens on a port that refused.
    pub fn listens(&mut self, place: Place, at_ns: u64) {
        self.outages.accepted(place, at_ns);
    }

    /// The ports of this host that refuse, each with its network namespace.
    pub fn refusing_here(&self, now_ns: u64) -> impl Iterator<Item = (Place, u32)> {
        self.outages.refusing_here(now_ns)
    }

    /// Takes in the end of a connection, once it was judged. To be called once for each.
    pub fn take(&mut self, end: &End) -> Taken {
        let member = self.members;
        self.members += 1;
        let incident = self
            .key(end)
            .and_then(|key| self.add(key, end, end.is_event.then_some(member)));
        Taken { member, incident }
    }

    /// The open incident that an end is part of; nothing is counted.
    #[must_use]
    pub fn of(&self, end: &End) -> Option<u64> {
        let key = self.key(end)?;
        self.open.get(&key).map(|open| open.number)
    }

    /// What was recognised since the last call.
    pub fn take_begun(&mut self) -> Vec<Snapshot> {
        let outages = &self.outages;
        let begun = self.open.values_mut().filter(|open| !open.is_announced);
        let mut begun: Vec<_> = begun
            .map(|open| {
                open.is_announced = true;
                open.snapshot(outages, false)
            })
            .collect();
        begun.sort_by_key(|it| it.number);
        begun
    }

    /// The ends that joined an incident after it was announced, although they came before it was
    /// known that they are part of it; by its number, since the last call.
    pub fn take_grown(&mut self) -> Vec<(u64, Vec<u64>)> {
        std::mem::take(&mut self.grown)
    }

    /// What is over by `now_ns`, since the last call.
    pub fn take_over(&mut self, now_ns: u64) -> Vec<Snapshot> {
        let quiet: Vec<Key> = self
            .open
            .iter()
            .filter(|(_, open)| open.is_over(&self.outages, now_ns))
            .map(|(key, _)| key.clone())
            .collect();
        self.close_all(&quiet, false)
    }

    /// Ends the run: what is still open, since the last call.
    pub fn finish(&mut self) -> Vec<Snapshot> {
        let keys: Vec<Key> = self.open.keys().cloned().collect();
        self.close_all(&keys, true)
    }

    /// Closes incidents, and takes all that were closed since the last call.
    fn close_all(&mut self, keys: &[Key], still_open: bool) -> Vec<Snapshot> {
        for key in keys {
            self.close(key, still_open);
        }
        let mut over = std::mem::take(&mut self.over);
        over.sort_by_key(|it| it.number);
        over
    }

    /// Whether any is over by `now_ns`.
    #[must_use]
    pub fn are_over(&self, now_ns: u64) -> bool {
        let mut open = self.open.values();
        !self.over.is_empty() || open.any(|open| open.is_over(&self.outages, now_ns))
    }

    /// Entries and incidents evicted because a table was full.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted + self.outages.evicted
    }

    /// What an end may have in common with others; `None` where it is of interest alone.
    fn key(&self, end: &End) -> Option<Key> {
        let key = end.key()?;
        Some(match key {
            // While a device fails over, idle connections end as well; and of those in use
            // some are hard to judge.
            Key::DeviceIdle(role) if self.lasts(&Key::DeviceFast(role), end) => {
                Key::DeviceFast(role)
            }
            Key::Broker(place)
                if end.is_open_question()
                    && !self.open.contains_key(&Key::Broker(place))
                    && self.lasts(&Key::DeviceFast(end.role), end) =>
            {
                Key::DeviceFast(end.role)
            }
            Key::TurnedAway(place) if self.is_ending(place, end) => Key::Broker(place),
            Key::Client(kind, _)
                if !self.open.contains_key(&key) && self.of_clients(kind) >= OF_CLIENTS =>
            {
                Key::Clients(kind)
            }
            key => key,
        })
    }

    /// Whether an incident goes on at the time of `end`.
    fn lasts(&self, key: &Key, end: &End) -> bool {
        let open = self.open.get(key);
        open.is_some_and(|open| end.at_ns.saturating_sub(open.last_ns) <= AT_ONCE_NS)
    }

    /// Whether a broker ends at the time of `end`.
    fn is_ending(&self, place: Place, end: &End) -> bool {
        let key = Key::Broker(place);
        let open = self.open.get(&key);
        open.is_some_and(|it| it.kind == IncidentKind::BrokerEnded) && self.lasts(&key, end)
    }

    fn of_clients(&self, kind: IncidentKind) -> usize {
        let is_one = |key: &&Key| matches!(key, Key::Client(it, _) if *it == kind);
        self.open.keys().filter(is_one).count()
    }

    fn add(&mut self, key: Key, end: &End, member: Option<u64>) -> Option<u64> {
        let hash = self.hashing.of(&end.client);
        if let Some(open) = self.open.get_mut(&key) {
            let was = open.kind;
            add_end(open, end, hash, &self.returned);
            if open.kind != was {
                Self::roll(&mut self.rolls, open, end.place);
            } else if let Some(roll) = open.roll {
                self.rolls.add_client(roll, hash, end.at_ns);
            }
            return Some(open.number);
        }
        if !self.recent.contains(&key) {
            if !end.may_begin() {
                // Anybody can cause them, at any address: what they push out is of others.
                return None;
            }
            self.evicted += u64::from(self.recent.len() == KEYS.get());
        }
        let recent = self.recent.get_or_insert_mut(key.clone(), VecDeque::new);
        let window_ns = key.window_ns();
        recent.retain(|it| end.at_ns.saturating_sub(it.end.at_ns) <= window_ns);
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(Recent {
            end: end.clone(),
            hash,
            member,
        });
        let kind = recognise(&key, recent, end.at_ns)?;
        let members = self.recent.pop(&key).unwrap_or_default();
        Some(self.begin(key, kind, &members))
    }

    fn begin(&mut self, key: Key, kind: IncidentKind, members: &VecDeque<Recent>) -> u64 {
        if self.open.len() >= OPEN {
            self.make_room();
        }
        let number = self.numbers;
        self.numbers += 1;
        let mut open = Open::new(number, key.clone(), kind);
        // A table that was cleared a moment ago may have ended idle connections first, and a
        // broker that ends drops those that are new.
        let other = match key {
            Key::DeviceFast(role) => Some(Key::DeviceIdle(role)),
            Key::Broker(place) if kind == IncidentKind::BrokerEnded => Some(Key::TurnedAway(place)),
            _ => None,
        };
        if let Some(other) = other {
            let began_ns = members.front().map_or(0, |it| it.end.at_ns);
            let is_same = |open: &Open| open.first_ns.abs_diff(began_ns) <= AT_ONCE_NS;
            if self.open.get(&other).is_some_and(is_same)
                && let Some(before) = self.open.remove(&other)
            {
                open = before.turned_into(key.clone(), kind);
            }
        }
        let idle = self.idle_before(&key, members);
        let mut earlier = Vec::new();
        for Recent { end, hash, member } in idle.iter().chain(members) {
            add_end(&mut open, end, *hash, &self.returned);
            earlier.extend(*member);
        }
        if open.is_announced {
            self.grown.push((open.number, earlier));
        } else {
            open.earlier.extend(earlier);
        }
        if let Some(Recent { end, .. }) = members.front() {
            Self::roll(&mut self.rolls, &mut open, end.place);
        }
        let number = open.number;
        self.open.insert(key, open);
        number
    }

    /// The idle connections that ended with those in use of one device.
    fn idle_before(&mut self, key: &Key, members: &VecDeque<Recent>) -> VecDeque<Recent> {
        let Key::DeviceFast(role) = *key else {
            return VecDeque::new();
        };
        let last_ns = members.back().map_or(0, |it| it.end.at_ns);
        let mut idle = self.recent.pop(&Key::DeviceIdle(role)).unwrap_or_default();
        idle.retain(|it| last_ns.saturating_sub(it.end.at_ns) <= AT_ONCE_NS);
        idle
    }

    /// Finds the roll of a broker that ended.
    fn roll(rolls: &mut Rolls, open: &mut Open, place: Place) {
        let rolls_on = matches!(
            open.kind,
            IncidentKind::BrokerEnded | IncidentKind::ListenerDrained
        );
        if !rolls_on || open.roll.is_some() {
            return;
        }
        let roll = rolls.join(place, open.number, open.last_ns, &open.clients);
        for client in open.clients.hashes() {
            rolls.add_client(roll, client, open.last_ns);
        }
        open.roll = Some(roll);
    }

    /// The client of a connection, on this host, made it.
    fn connected_by(&mut self, facts: &Facts, at_ns: u64) {
        if facts.role == Role::Client {
            let client = Client {
                address: facts.local.address,
                name: None,
                pid: facts.owner.pid,
            };
            self.connected(Place::of(facts), &client, at_ns);
        }
    }

    fn connected(&mut self, place: Place, client: &Client, at_ns: u64) {
        let hash = self.hashing.of(client);
        let latest = self.returned.get_or_insert_mut((place, hash), || at_ns);
        *latest = at_ns.max(*latest);
        for open in self.open.values_mut() {
            if open.places.contains(&place) {
                open.clients.back(hash, at_ns);
            }
        }
    }

    fn close(&mut self, key: &Key, still_open: bool) {
        let Some(mut open) = self.open.remove(key) else {
            return;
        };
        if let (Key::Broker(place), Some(roll)) = (key, open.roll)
            && roll.number == 1
        {
            // Its clients may not have been known when it began.
            let (number, last_ns) = (open.number, open.last_ns);
            let joined = self
                .rolls
                .join_again(roll, *place, number, last_ns, &open.clients);
            open.roll = Some(joined);
        }
        if !open.is_announced {
            self.over.push(open.snapshot(&self.outages, false));
        }
        let mut snapshot = open.snapshot(&self.outages, still_open);
        snapshot.is_end = true;
        self.over.push(snapshot);
    }

    /// Gives up the incident that has been quiet for longest.
    fn make_room(&mut self) {
        let oldest = self.open.iter().min_by_key(|(_, open)| open.last_ns);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.evicted += 1;
            self.close(&key, true);
        }
    }
}

/// Adds an end, whose client may have connected since.
fn add_end(open: &mut Open, end: &End, hash: ClientHash, returned: &Returned) {
    open.add(end, hash);
    if let Some(at_ns) = returned.peek(&(end.place, hash)) {
        open.clients.back(hash, *at_ns);
    }
}

/// What ends under one key come to by now.
fn recognise(key: &Key, recent: &VecDeque<Recent>, now_ns: u64) -> Option<IncidentKind> {
    let triggers = recent.iter().filter(|it| it.end.may_begin()).count();
    let kind = match key {
        Key::Broker(_) => return of_broker(recent, now_ns),
        Key::Silent(_) if !is_silent(recent) => return None,
        Key::Silent(_) => IncidentKind::Unresponsive,
        Key::DeviceFast(_) => IncidentKind::DeviceFailover,
        Key::DeviceIdle(_) => IncidentKind::DeviceIdleTimer,
        Key::TurnedAway(_) => IncidentKind::TurnedAway,
        Key::Client(kind, _) | Key::Clients(kind) => *kind,
    };
    (triggers >= ENDS).then_some(kind)
}

/// A broker ended if connections did and a sign shows that it was the broker: its process
/// exited, nothing listens, new ones are refused, or an end was judged so. Where none does, it
/// may have closed them at once for another reason.
fn of_broker(recent: &VecDeque<Recent>, now_ns: u64) -> Option<IncidentKind> {
    let near = |it: &&Recent| now_ns.saturating_sub(it.end.at_ns) <= AT_ONCE_NS;
    let ends: Vec<_> = recent
        .iter()
        .filter(near)
        .map(|it| &it.end)
        .filter(|it| !it.is_refusal && it.may_begin())
        .collect();
    let refused_now = recent.iter().filter(near).any(|it| it.end.is_refusal);
    let refusals = recent.iter().filter(|it| it.end.is_refusal).count();
    let lost = ends.iter().filter(|it| it.is_lost()).count();
    let is_shown = ends.iter().any(|it| it.shows_shutdown());
    let ended = is_shown || (!ends.is_empty() && refused_now) || lost >= ENDS;
    if ended && ends.len() + refusals >= ENDS {
        let is_drained = refusals == 0 && ends.iter().any(|it| it.shows_drain());
        return Some(if is_drained {
            IncidentKind::ListenerDrained
        } else {
            IncidentKind::BrokerEnded
        });
    }
    if are_closed_at_once(&ends) {
        return Some(IncidentKind::ListenerDrained);
    }
    (ends.is_empty() && refusals >= ENDS).then_some(IncidentKind::Refusals)
}

/// Clients gave up, and something shows that the broker did not answer. On its own host what a
/// client can make up has to come from two of them.
fn is_silent(recent: &VecDeque<Recent>) -> bool {
    let shows = |least| {
        let ends = recent.iter();
        ends.filter(move |it| it.end.gave_up.is_some_and(|shown| shown >= least))
    };
    let mut unanswered = shows(Shown::Unanswered);
    let Some(first) = unanswered.next() else {
        return false;
    };
    let is_of_another = |it: &Recent| it.end.client.address != first.end.client.address;
    first.end.role == Role::Client
        || shows(Shown::Stopped).next().is_some()
        || unanswered.any(is_of_another)
}

/// The broker closed connections within a second, of which at least three have neither a
/// silence nor an age in common: no timer of its does that, nor the end of their logins.
fn are_closed_at_once(ends: &[&End]) -> bool {
    let Some(last) = ends.iter().filter(|it| it.is_fin).map(|it| it.at_ns).max() else {
        return false;
    };
    let closed = ends
        .iter()
        .filter(|it| it.is_fin && last.saturating_sub(it.at_ns) <= SECOND_NS)
        .filter(|it| it.age_ms.is_some_and(|age_ms| age_ms >= LEAST_AGE_MS));
    let (mut silences, mut ages) = (Vec::new(), Vec::new());
    for end in closed {
        silences.extend(end.fin_silence_ms);
        ages.extend(end.age_ms);
    }
    unlike(silences, BUSY_MS) >= ENDS && unlike(ages, 0.0) >= ENDS
}

/// Checks ask once and are closed.
const LEAST_AGE_MS: f64 = 10_000.0;
/// Silent for less than this, a connection was in use, and no timer ended it.
const BUSY_MS: f64 = 1_000.0;

/// How many of these spans differ from each other, beyond what one timer is late; those below
/// `least` all do.
fn unlike(mut spans: Vec<f64>, least: f64) -> usize {
    const ONE_TIMER: f64 = 0.05;
    spans.sort_by(f64::total_cmp);
    let mut count = 0;
    let mut of_timer = f64::NEG_INFINITY;
    for span in spans {
        if span < least || span > of_timer * (1.0 + ONE_TIMER) {
            count += 1;
            of_timer = span;
        }
    }
    count
}
