//! Two hosts know what one cannot: joins the events of any number of hosts, and says for each
//! connection's end what both together prove.
//!
//! Pure: lines in, findings out. Which two events belong together is in `pending`, what an
//! agent would have reported in `agents`, what follows in `table`.

mod agents;
mod clocks;
mod line;
mod numbers;
mod pending;
mod table;
mod tally;
mod wording;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::Duration,
};

use jiff::Timestamp;
use sha1::{Digest as _, Sha1};

use self::{
    agents::{AgentId, Agents, HostId, Watch},
    clocks::Clocks,
    line::{Content, EndKind, Ended},
    pending::{Group, Key, Observation, Pending},
    table::{Conclusion, Pair, conclude, may_be_same, saw},
};
pub use self::{line::Unreadable, tally::Tally};
use crate::event::{
    Direction, Endpoint, Event, FlowId, Host, Id, Message, Missing, PairFinding, PairHost, Role,
    Saw, Time,
};

/// What an agent's next summary may take: three times the interval that it has by default.
const SUMMARY_NS: i64 = 30_000_000_000;
/// A RST that a host sent this close to one that a client received may be what a device between
/// them passed on.
const PASSED_ON_NS: i64 = 1_000_000_000;
/// Events that wait before any has to be judged. While fewer came, order and clocks are of no
/// matter at all.
const AT_LEAST: usize = 100_000;

/// What is to be correlated, and how.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How far out of order events may come.
    pub window: Duration,
    /// Findings before are left out.
    pub since: Option<Timestamp>,
    /// Findings from then on are left out.
    pub until: Option<Timestamp>,
    /// Judge as soon as the window allows, rather than as late as memory does.
    pub follow: bool,
}

/// RSTs that an agent's host sent, by time.
type Sent = BTreeMap<(i64, Id), SentReset>;

/// What names such a RST.
#[derive(Clone, Copy, Debug)]
struct SentReset {
    client: Endpoint,
    broker: Endpoint,
    flow: Option<FlowId>,
    sequence: Option<u32>,
}

/// Joins events as they come.
#[derive(Debug)]
pub struct Correlator {
    settings: Settings,
    agents: Agents,
    clocks: Clocks,
    pending: Pending,
    /// Those that no event of another host was found for.
    sent: HashMap<AgentId, Sent>,
    judged_ns: i64,
    tally: Tally,
}

impl Correlator {
    /// With nothing read yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            agents: Agents::default(),
            clocks: Clocks::default(),
            pending: Pending::default(),
            sent: HashMap::new(),
            judged_ns: i64::MIN,
            tally: Tally::default(),
        }
    }

    /// Reads one line; returns when it happened, nanoseconds since 1970.
    ///
    /// # Errors
    ///
    /// If it is not an event of this version of the contract.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<i64>, Unreadable> {
        let Some(line) = line::read(bytes)? else {
            return Ok(None);
        };
        self.tally.events += 1;
        let Some(agent) = self.agents.of(&line.host, line.origin) else {
            self.tally.repeated += 1;
            return Ok(Some(line.at_ns));
        };
        let (number, at_ns) = (line.origin.number, line.at_ns);
        match line.content {
            Content::Start { degraded } => self.agents.start(agent, number, at_ns, degraded),
            Content::Summary(watched) => self.agents.summary(agent, number, at_ns, *watched),
            Content::Loss => self.agents.loss(agent, at_ns),
            Content::Ended(ended) => self.add(Observation {
                agent,
                at_ns,
                ended: *ended,
            }),
            Content::Other => {}
        }
        Ok(Some(at_ns))
    }

    fn add(&mut self, observation: Observation) {
        if observation.at_ns <= self.judged_ns {
            self.tally.late += 1;
        }
        if let Some(flow) = &observation.ended.flow_id {
            for key in self.pending.of_flow(flow) {
                if let Some(other) = self.pending.get(*key) {
                    learn(&mut self.clocks, &self.agents, &observation, other);
                }
            }
        }
        let ended = &observation.ended;
        if ended.kind == EndKind::Reset && ended.direction == Direction::Sent {
            let sent = self.sent.entry(observation.agent).or_default();
            let reset = SentReset {
                client: ended.client,
                broker: ended.broker,
                flow: ended.flow_id,
                sequence: ended.sequence,
            };
            sent.insert((observation.at_ns, ended.id), reset);
        }
        self.pending.insert(observation);
    }

    /// Judges what is complete: all events before `until_ns` have been read.
    pub fn advance(&mut self, until_ns: i64, out: &mut Vec<Message>) {
        let window_ns = i64::try_from(self.settings.window.as_nanos()).unwrap_or(i64::MAX);
        let wait_ns = window_ns.saturating_add(SUMMARY_NS);
        while self.settings.follow || self.pending.len() > AT_LEAST {
            match self.pending.oldest() {
                Some(key) if key.at_ns.saturating_add(wait_ns) <= until_ns => self.judge(key, out),
                _ => break,
            }
        }
        let before_ns = self
            .pending
            .oldest()
            .map_or(until_ns, |key| key.at_ns)
            .saturating_sub(wait_ns);
        self.forget(before_ns);
    }

    /// Judges all that is left.
    pub fn finish(&mut self, out: &mut Vec<Message>) {
        while let Some(key) = self.pending.oldest() {
            self.judge(key, out);
        }
    }

    /// What was found so far.
    #[must_use]
    pub fn tally(&mut self) -> &Tally {
        let names = |host| self.agents.host_name(host);
        let skews = self.clocks.all().map(|it| {
            let (first, second) = it.hosts;
            (names(first), names(second), it.ahead_ns, it.samples)
        });
        self.tally.skews = skews.collect();
        &self.tally
    }

    fn forget(&mut self, before_ns: i64) {
        self.agents.forget(before_ns);
        for sent in self.sent.values_mut() {
            while sent
                .first_key_value()
                .is_some_and(|((at_ns, _), _)| *at_ns < before_ns)
            {
                sent.pop_first();
            }
        }
    }

    fn judge(&mut self, key: Key, out: &mut Vec<Message>) {
        self.judged_ns = self.judged_ns.max(key.at_ns);
        let group = {
            let (agents, clocks) = (&self.agents, &self.clocks);
            let clock = |it: &Observation, host| at_of(agents, clocks, it, host);
            self.pending
                .take(key, |mine, other| match agents.host(other.agent) {
                    Some(host) => clock(mine, host).saturating_sub(other.at_ns),
                    None => i64::MAX,
                })
        };
        let (client, broker) = principals(&group);
        if client.is_some() && broker.is_some() {
            for observation in group.client.iter().chain(&group.broker) {
                let sent = self.sent.get_mut(&observation.agent);
                sent.and_then(|sent| sent.remove(&(observation.at_ns, observation.ended.id)));
            }
        }
        let client_watch = self.watch(Role::Client, &group, client, broker);
        let broker_watch = self.watch(Role::Broker, &group, broker, client);
        let pair = Pair {
            client: client.map(|it| &it.ended),
            broker: broker.map(|it| &it.ended),
            client_watch: &client_watch,
            broker_watch: &broker_watch,
        };
        let conclusion = conclude(&pair);
        let Some(finding) = self.finding(
            &group,
            [client, broker],
            [&client_watch, &broker_watch],
            conclusion,
        ) else {
            return;
        };
        let at = finding.time.0;
        let asked = self.settings.since.is_none_or(|since| at >= since)
            && self.settings.until.is_none_or(|until| at < until);
        if asked {
            self.tally.count(&finding);
            out.push(Message {
                id: id_of(&finding.event_ids),
                event: Event::Finding(Box::new(finding)),
            });
        }
    }

    /// Whether the host at `role` would have reported a RST that it sent, and that the event of
    /// the other host, `theirs`, is about.
    fn watch(
        &self,
        role: Role,
        group: &Group,
        mine: Option<&Observation>,
        theirs: Option<&Observation>,
    ) -> Watch {
        let end = |ended: &Ended| match role {
            Role::Client => ended.client,
            Role::Broker => ended.broker,
        };
        let mut watch = match (mine, theirs) {
            (Some(mine), theirs) => {
                let host = self.agents.host(mine.agent);
                let known = theirs.zip(host).and_then(|(theirs, host)| {
                    let from = self.agents.host(theirs.agent)?;
                    let skew = self.clocks.skew_ns(from, host)?;
                    Some(theirs.at_ns.saturating_add(skew))
                });
                let at_ns = known.unwrap_or(mine.at_ns);
                let (end, port) = (end(&mine.ended), mine.ended.broker.port);
                self.agents.watch_of(mine.agent, end, port, at_ns)
            }
            (None, Some(theirs)) => {
                let clock = |host| at_of(&self.agents, &self.clocks, theirs, host);
                let (end, port) = (end(&theirs.ended), theirs.ended.broker.port);
                let mut watch = self.agents.watch(end.address, port, clock);
                if group.is_ambiguous {
                    watch.missing.push(Missing::Ambiguous);
                }
                if self.is_other_flow(theirs) || self.is_passed_on(&watch, theirs) {
                    watch.missing.push(Missing::ConnectionUnknown);
                }
                watch
            }
            (None, None) => self.agents.watch(IpAddr::from([0; 4]), 0, |_| 0),
        };
        watch.missing.dedup();
        watch
    }

    /// The other host has these ends with other sequence numbers: something between terminates
    /// TCP, or rewrites them.
    fn is_other_flow(&self, theirs: &Observation) -> bool {
        let ended = &theirs.ended;
        let keys = self.pending.of_tuple((ended.client, ended.broker));
        keys.iter()
            .filter_map(|key| self.pending.get(*key))
            .any(|it| {
                let other = it.ended.role != ended.role;
                let host = self.agents.host(it.agent);
                let near = host.is_some_and(|host| {
                    let at_ns = at_of(&self.agents, &self.clocks, theirs, host);
                    at_ns.abs_diff(it.at_ns) <= PASSED_ON_NS as u64
                });
                other && near && it.ended.flow_id.is_some() && it.ended.flow_id != ended.flow_id
            })
    }

    /// The host sent a RST at that time, and nothing says that it was of another connection than
    /// this one: to an end that no agent reports from, which may be a proxy that this connection
    /// goes through, or without a name.
    fn is_passed_on(&self, watch: &Watch, theirs: &Observation) -> bool {
        let Some(agent) = watch.agent else {
            return false;
        };
        let Some((host, sent)) = self.agents.host(agent).zip(self.sent.get(&agent)) else {
            return false;
        };
        let at_ns = at_of(&self.agents, &self.clocks, theirs, host);
        let (first, last) = (
            at_ns.saturating_sub(PASSED_ON_NS),
            at_ns.saturating_add(PASSED_ON_NS),
        );
        let near = sent.range((first, Id::new())..(last, Id::new()));
        let mut near = near.map(|(_, reset)| reset);
        near.any(|reset| {
            let peer = match theirs.ended.role {
                Role::Client => reset.client,
                Role::Broker => reset.broker,
            };
            let is_named = reset.flow.is_some() || reset.sequence.is_some_and(|it| it != 0);
            let has_these_ends =
                (reset.client, reset.broker) == (theirs.ended.client, theirs.ended.broker);
            !self.has_both_ends(reset.flow)
                && (has_these_ends || !is_named || !self.agents.knows(peer.address))
        })
    }

    /// Events of both ends of the flow wait to be judged together.
    fn has_both_ends(&self, flow: Option<FlowId>) -> bool {
        let keys = flow
            .as_ref()
            .map_or(&[][..], |flow| self.pending.of_flow(flow));
        let of = |role| {
            let mut waiting = keys.iter().filter_map(|key| self.pending.get(*key));
            waiting.any(|it| it.ended.role == role)
        };
        of(Role::Client) && of(Role::Broker)
    }

    fn finding(
        &self,
        group: &Group,
        observations: [Option<&Observation>; 2],
        watches: [&Watch; 2],
        conclusion: Conclusion,
    ) -> Option<PairFinding> {
        let [client, broker] = observations;
        let of = match conclusion.of {
            Role::Client => client.or(broker),
            Role::Broker => broker.or(client),
        }?;
        let skew_ns = match [client, broker].map(|it| self.agents.host(it?.agent)) {
            [Some(client), Some(broker)] => self.clocks.skew_ns(client, broker),
            [Some(client), None] => self.skew_to(client, watches[1]),
            [None, Some(broker)] => self.skew_to(broker, watches[0]).map(|ns| -ns),
            [None, None] => None,
        };
        let hosts = [(client, watches[0]), (broker, watches[1])]
            .map(|(seen, watch)| self.host(seen, watch));
        let [client_host, broker_host] = hosts;
        let mut event_ids: Vec<Id> = group.client.iter().map(|it| it.ended.id).collect();
        event_ids.extend(group.broker.iter().map(|it| it.ended.id));
        let mut finding = PairFinding {
            time: time(of.at_ns),
            host: Host {
                name: self.agents.name(of.agent),
            },
            community_id: of.ended.community_id,
            flow_id: of.ended.flow_id.or_else(|| {
                [client, broker]
                    .into_iter()
                    .flatten()
                    .find_map(|it| it.ended.flow_id)
            }),
            sent_by: conclusion.sent_by,
            summary: "".into(),
            verdict: conclusion.verdict,
            cause: conclusion.cause,
            confidence: conclusion.confidence,
            proof: conclusion.proof,
            missing: conclusion.missing,
            conflict: conclusion.conflict,
            client: of.ended.client,
            broker: of.ended.broker,
            client_host,
            broker_host,
            skew_ms: skew_ns.map(milliseconds),
            wire_idle_ms: of.ended.wire_idle_ms,
            event_ids,
            advice: "".into(),
        };
        finding.advice =
            wording::advice(&finding, &[client, broker].map(|it| it.map(|it| &it.ended)));
        finding.summary = wording::sentence(&finding);
        Some(finding)
    }

    fn skew_to(&self, from: HostId, watch: &Watch) -> Option<i64> {
        let to = self.agents.host(watch.agent?)?;
        self.clocks.skew_ns(from, to)
    }

    /// What a host saw, if it reported something or was watching.
    fn host(&self, seen: Option<&Observation>, watch: &Watch) -> Option<PairHost> {
        let agent = seen.map(|it| it.agent).or(watch.agent)?;
        if seen.is_none() && !watch.is_whole() {
            return None;
        }
        let ended = seen.map(|it| &it.ended);
        let whole = watch.is_whole();
        Some(PairHost {
            name: self.agents.name(agent),
            saw: ended.map_or(Saw::Nothing, saw),
            time: seen.map(|it| time(it.at_ns)),
            client: ended.map(|it| it.client),
            broker: ended.map(|it| it.broker),
            verdict: ended.map(|it| it.verdict),
            cause: ended.and_then(|it| it.cause),
            confidence: ended.map(|it| it.confidence),
            kernel_reason: ended.and_then(|it| it.kernel_reason.clone()),
            watched_from: whole.then(|| time(watch.from_ns)),
            watched_until: whole.then(|| time(watch.until_ns)),
        })
    }
}

/// When an event happened by the clock of `host`, as far as that is known.
fn at_of(agents: &Agents, clocks: &Clocks, it: &Observation, host: HostId) -> i64 {
    let from = agents.host(it.agent);
    let skew_ns = from.and_then(|from| clocks.skew_ns(from, host));
    it.at_ns.saturating_add(skew_ns.unwrap_or(0))
}

/// Learns from one RST that two hosts saw.
fn learn(clocks: &mut Clocks, agents: &Agents, a: &Observation, b: &Observation) {
    let both = a.ended.kind == EndKind::Reset && b.ended.kind == EndKind::Reset;
    let crossed = a.ended.direction != b.ended.direction && a.ended.role != b.ended.role;
    let known = a.ended.sequence.is_some() && b.ended.sequence.is_some();
    if both
        && crossed
        && known
        && may_be_same(&a.ended, &b.ended)
        && let (Some(first), Some(second)) = (agents.host(a.agent), agents.host(b.agent))
    {
        clocks.learn((first, a.at_ns), (second, b.at_ns));
    }
}

/// The event of each end that the finding is about: of several the oldest, and of several RSTs
/// the one that the other host received.
fn principals(group: &Group) -> (Option<&Observation>, Option<&Observation>) {
    let pick = |role| {
        let mine: &Vec<Observation> = group.of(role);
        let theirs = group.of(match role {
            Role::Client => Role::Broker,
            Role::Broker => Role::Client,
        });
        let received = theirs.iter().find(|it| saw(&it.ended) == Saw::Received);
        let sent = received.and_then(|received| {
            mine.iter().find(|it| {
                saw(&it.ended) == Saw::Sent
                    && it.ended.sequence.is_some()
                    && may_be_same(&it.ended, &received.ended)
            })
        });
        let got = || mine.iter().find(|it| saw(&it.ended) == Saw::Received);
        sent.or_else(got).or_else(|| mine.first())
    };
    (pick(Role::Client), pick(Role::Broker))
}

/// The same for the same events, so that a receiver drops repeats.
fn id_of(events: &[Id]) -> Id {
    let mut sorted = events.to_vec();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for id in sorted {
        hash.update(id.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    let mut number = [0; 8];
    number.copy_from_slice(&digest[..8]);
    // `pair-` and 16 digits fit.
    Id::from(&format!("pair-{:016x}", u64::from_be_bytes(number))).unwrap_or_default()
}

/// Nanoseconds as milliseconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact for 104 days of nanoseconds"
)]
const fn milliseconds(ns: i64) -> f64 {
    ns as f64 / 1e6
}

/// A time from nanoseconds since 1970.
fn time(ns: i64) -> Time {
    Timestamp::from_nanosecond(ns.into())
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .into()
}

#[cfg(test)]
mod tests;
