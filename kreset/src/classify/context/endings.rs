//! Per broker: which connections ended lately, and what became of new ones.

use std::{collections::VecDeque, num::NonZeroUsize};

use lru::LruCache;

use super::Closing;
use crate::{
    classify::phase::Phase,
    event::{AgeKind, Endpoint, ProvokedBy, Role},
    facts::{Facts, Had, Kind, State, Trigger},
};

/// Brokers remembered.
const BROKERS: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// Endings remembered of each.
const ENDINGS: usize = 64;
/// Endings this close are concurrent.
const TOGETHER_NS: u64 = 1_000_000_000;
/// A refusal this close says that the broker is down.
pub const REFUSAL_NS: u64 = 3_000_000_000;
/// The end of a broker's process explains what its host answers so long after: to
/// the last packet of a handshake, sent again after 1 and 2 s (kernel:
/// `TCP_TIMEOUT_INIT`).
const STOP_NS: u64 = 3_500_000_000;
/// Connections that went unanswered from the same moment on are given up so close together:
/// their limits and the last silence of each differ.
const GIVEN_UP_NS: u64 = 5_000_000_000;
/// Silent for less than this, a connection was in use.
const BUSY_MS: f64 = 1_000.0;
/// So many connections closed after the same silence are no coincidence.
const CLOSED_ALIKE: usize = 2;
/// Younger connections have other reasons to end than a limit on their age.
const LEAST_AGE_MS: f64 = 5_000.0;
/// Silences that differ by less than this share are alike.
const ALIKE: f64 = 0.05;
/// Silences that differ by more than this share are not of one timer: devices
/// sweep their tables every few seconds, for timers of a minute and more.
const ONE_TIMER: f64 = 0.25;

/// Concurrent endings, and what else happened at the same broker at about the time of
/// an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Concurrent {
    /// Other connections that ended within a second.
    pub count: usize,
    /// Mixed idle times: some of them (or this one) were in use, or ended
    /// unprovoked after different silences. No idle timer explains that.
    pub mixed_idle: bool,
    /// Other connections that the broker closed by FIN within a second, after
    /// other silences than this one's.
    pub closed_mixed: usize,
    /// An unprovoked RST ended this one and at least two others within a second,
    /// and their silences differ too much for one timer.
    pub idle_spread: bool,
    /// Other connections that ended within a second with a worker process of the
    /// broker's host.
    pub workers: usize,
    /// Other connections that this host answered for within a second and never had.
    pub strangers: usize,
    /// Other connections in use that the other side ended within a second.
    pub used: usize,
    /// The broker closed connections in use by FIN in pauses before: two or more at
    /// silences like this one's, and fewer at others. One alone may be chance.
    pub closes_alike: bool,
    /// At least two earlier connections of the broker ended at the age of this one.
    pub same_age: bool,
    /// A new connection was refused about then.
    pub refused: bool,
    /// One was refused within seconds after this one had ended.
    pub refused_since: bool,
    /// A new connection was established right after.
    pub accepted: bool,
    /// The broker is on this host, and its process ended about then.
    pub process_ended: bool,
    /// Another connection of the broker went unanswered within seconds, while it was in use.
    pub unanswered_in_use: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ending {
    at_ns: u64,
    client: Endpoint,
    silence_ms: f64,
    by_itself: bool,
    fin: bool,
    /// It was in use, and the other side ended it.
    used: bool,
    /// Its age, ms, where that is known and worth a limit.
    age_ms: Option<f64>,
    /// See [`Facts::worker_exited`].
    worker: bool,
    /// This host never had it.
    stranger: bool,
}

/// Endings that nothing drew: a failover of a device, or one idle timer?
#[derive(Debug, Default)]
struct Fallen {
    count: usize,
    /// Shortest and longest silence.
    silences: Option<(f64, f64)>,
}

impl Fallen {
    fn add(&mut self, ending: &Ending) {
        if ending.fell() {
            self.count += 1;
            let ms = ending.silence_ms;
            let (least, most) = self.silences.unwrap_or((ms, ms));
            self.silences = Some((least.min(ms), most.max(ms)));
        }
    }

    /// At least three, whose silences differ too much for one timer.
    fn are_spread(&self) -> bool {
        let differ = |(least, most): (f64, f64)| most - least > ONE_TIMER * most;
        self.count > 2 && self.silences.is_some_and(differ)
    }
}

#[derive(Debug, Default)]
struct Broker {
    endings: VecDeque<Ending>,
    refused_ns: Option<u64>,
    accepted_ns: Option<u64>,
    process_ended_ns: Option<u64>,
    /// The latest connection in use that went unanswered: its client, and when it was given up.
    unanswered: Option<(Endpoint, u64)>,
}

impl Broker {
    /// Whether silences before FINs, at other times and before `this`, are mostly
    /// like its own.
    fn closes_alike(&self, this: &Ending) -> bool {
        let earlier = |other: &&Ending| {
            other.fin
                && other.used
                && other.silence_ms >= BUSY_MS
                && other.at_ns.saturating_add(TOGETHER_NS) < this.at_ns
        };
        // Most events are of no FIN, and need no look at all endings.
        if !this.fin || this.silence_ms.is_infinite() {
            return false;
        }
        let (mut like, mut unlike) = (0, 0);
        for other in self.endings.iter().filter(earlier) {
            if alike(other.silence_ms, this.silence_ms) {
                like += 1;
            } else {
                unlike += 1;
            }
        }
        like >= CLOSED_ALIKE && like > unlike
    }
}

impl Broker {
    /// Connections that ended at other times and at the age of `this`, as one timer ends
    /// them.
    fn same_age(&self, this: &Ending) -> bool {
        const SEVERAL: usize = 2;
        const ONE_AGE: f64 = 0.03;
        let Some(age_ms) = this.age_ms else {
            return false;
        };
        let earlier = |other: &&Ending| other.at_ns.saturating_add(TOGETHER_NS) < this.at_ns;
        let like = |other: &Ending| {
            let other_ms = other.age_ms?;
            ((other_ms - age_ms).abs() <= ONE_AGE * age_ms).then_some(())
        };
        let endings = self.endings.iter().filter(earlier);
        endings.filter_map(like).count() >= SEVERAL
    }
}

type BrokerKey = (u32, Endpoint);

/// All brokers.
#[derive(Debug)]
pub struct Endings {
    brokers: LruCache<BrokerKey, Broker>,
    /// Brokers evicted because the table was full.
    pub evicted: u64,
}

impl Default for Endings {
    fn default() -> Self {
        Self {
            brokers: LruCache::new(BROKERS),
            evicted: 0,
        }
    }
}

impl Endings {
    /// A connection ended, by RST or by the broker's FIN.
    pub fn ended(&mut self, facts: &Facts) {
        if is_routine(facts) {
            return;
        }
        let ending = Ending::of(facts);
        let broker = self.broker(facts);
        if facts.broker_exited() {
            broker.process_ended_ns = Some(facts.at_ns);
        }
        let again = broker
            .endings
            .iter_mut()
            .find(|seen| seen.client == ending.client);
        if let Some(seen) = again
            && ending.at_ns.saturating_sub(seen.at_ns) < TOGETHER_NS
        {
            // A FIN and its RST are one ending.
            return;
        }
        if broker.endings.len() == ENDINGS {
            broker.endings.pop_front();
        }
        broker.endings.push_back(ending);
    }

    /// What a connection in use sent went unanswered until it was given up.
    pub fn unanswered(&mut self, facts: &Facts) {
        let in_use = facts.idle.is_some_and(|idle| idle.wire_ms < BUSY_MS);
        if in_use && facts.state != Some(State::SynSent) {
            self.broker(facts).unanswered = Some((facts.client(), facts.at_ns));
        }
    }

    /// A new connection was refused.
    pub fn refused(&mut self, facts: &Facts) {
        self.broker(facts).refused_ns = Some(facts.at_ns);
    }

    /// A new connection was established.
    pub fn accepted(&mut self, facts: &Facts) {
        self.broker(facts).accepted_ns = Some(facts.at_ns);
    }

    /// What happened at the broker of an event at about its time or, for the answer to
    /// a late packet, at about the time of the FIN that closed the connection.
    #[must_use]
    pub fn concurrent(&mut self, facts: &Facts, closing: Option<&Closing>) -> Concurrent {
        let Some(broker) = self.brokers.get(&key(facts)) else {
            return Concurrent::default();
        };
        let mut this = Ending::of(facts);
        if let Some(closing) = closing.filter(|_| !this.fin) {
            this.at_ns = closing.at_ns;
            this.silence_ms = closing.silence_ms;
            this.by_itself = true;
            this.fin = true;
        }
        let mut concurrent = Concurrent {
            mixed_idle: this.silence_ms < BUSY_MS,
            ..Concurrent::default()
        };
        let others = broker.endings.iter().filter(|other| {
            other.at_ns.abs_diff(this.at_ns) <= TOGETHER_NS && other.client != this.client
        });
        let mut fell = Fallen::default();
        fell.add(&this);
        for other in others {
            fell.add(other);
            let is_alike = alike(other.silence_ms, this.silence_ms);
            concurrent.count += 1;
            concurrent.used += usize::from(other.used);
            concurrent.workers += usize::from(other.worker);
            concurrent.strangers += usize::from(other.stranger);
            concurrent.mixed_idle |=
                other.silence_ms < BUSY_MS || (other.by_itself && this.by_itself && !is_alike);
            concurrent.closed_mixed += usize::from(other.fin && !is_alike);
        }
        // Refused while this one was silent, its broker was down: it is of before that.
        let silence_ns = facts.idle.map_or(0, |idle| ms_to_ns(idle.wire_ms));
        let silent_since = facts.at_ns.saturating_sub(silence_ns);
        let meanwhile = |at: u64| (silent_since..=facts.at_ns).contains(&at);
        let soon_after = |at: u64| at >= this.at_ns && at - this.at_ns <= REFUSAL_NS;
        Concurrent {
            idle_spread: this.fell() && fell.are_spread(),
            closes_alike: broker.closes_alike(&this),
            same_age: broker.same_age(&this),
            refused_since: broker.refused_ns.is_some_and(soon_after),
            refused: broker
                .refused_ns
                .is_some_and(|at| at.abs_diff(this.at_ns) <= REFUSAL_NS || meanwhile(at)),
            accepted: broker.accepted_ns.is_some_and(soon_after),
            process_ended: broker
                .process_ended_ns
                .is_some_and(|at| at.abs_diff(this.at_ns) <= STOP_NS),
            unanswered_in_use: broker.unanswered.is_some_and(|(client, at_ns)| {
                client != this.client && at_ns.abs_diff(this.at_ns) <= GIVEN_UP_NS
            }),
            ..concurrent
        }
    }

    fn broker(&mut self, facts: &Facts) -> &mut Broker {
        let key = key(facts);
        if self.brokers.len() == BROKERS.get() && !self.brokers.contains(&key) {
            self.evicted += 1;
        }
        self.brokers.get_or_insert_mut(key, Broker::default)
    }
}

impl Ending {
    fn of(facts: &Facts) -> Self {
        let fin = facts
            .fin
            .filter(|fin| fin.by_peer == (facts.role == Role::Client));
        let idle = facts.idle;
        Self {
            at_ns: fin.map_or(facts.at_ns, |fin| {
                facts.at_ns.saturating_sub(ms_to_ns(fin.ago_ms))
            }),
            client: facts.client(),
            silence_ms: fin
                .map(|fin| fin.silence_ms)
                .or_else(|| idle.map(|idle| idle.wire_ms))
                .unwrap_or(f64::INFINITY),
            by_itself: fin.is_some()
                || idle.is_some_and(|idle| idle.provoked_by == ProvokedBy::Nothing),
            fin: fin.is_some() || facts.kind == Kind::Fin,
            used: Phase::of(facts) == Phase::InUse
                && (fin.is_some() || matches!(facts.kind, Kind::Fin | Kind::ResetReceived)),
            age_ms: facts
                .age
                .filter(|age| age.kind == AgeKind::Exact && age.ms >= LEAST_AGE_MS)
                .map(|age| age.ms),
            worker: facts.worker_exited(),
            stranger: facts.is_answer() && matches!(facts.had, Had::NotWithin(_)),
        }
    }

    /// A RST that nothing drew ended it.
    const fn fell(&self) -> bool {
        self.by_itself && !self.fin
    }
}

/// The client closed in order, reset it, or never used it: clients do that all the time
/// (librdkafka with its bootstrap connections), whatever happens at the broker.
fn is_routine(facts: &Facts) -> bool {
    let is_client = facts.role == Role::Client;
    let closed_by_client = facts.fin.is_some_and(|fin| fin.by_peer != is_client);
    let reset_by_client = is_client && facts.kind == Kind::ResetSent;
    let stray = facts.is_answer() && facts.trigger.is_some_and(Trigger::is_stray);
    let ended_in_order = facts.had == Had::InOrder;
    let probe = Phase::of(facts) == Phase::Silent
        && facts.fin.is_none()
        && (facts.kind == Kind::ResetSent) == is_client;
    closed_by_client || reset_by_client || stray || ended_in_order || probe
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a span in the past"
)]
fn ms_to_ns(ms: f64) -> u64 {
    (ms.max(0.0) * 1e6) as u64
}

fn alike(a: f64, b: f64) -> bool {
    (a - b).abs() <= ALIKE * a.max(b)
}

fn key(facts: &Facts) -> BrokerKey {
    (facts.netns.unwrap_or(0), facts.broker())
}
