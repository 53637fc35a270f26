//! Two hosts know what one cannot: joins the events of any number of hosts, and says for each
//! connection's end what both together prove.
//!
//! Pure: lines in, findings out. Which two events belong together is in `pending`, what an
//! agent would have reported in `agents`, what follows in `table`.

mod agents;
mod chains;
mod checkpoints;
mod clocks;
mod coverage;
mod due;
mod line;
mod numbers;
mod pending;
mod probes;
mod quick;
mod scan;
mod table;
mod tally;
mod texts;
mod wording;

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;
use sha1::{Digest as _, Sha1};

use self::{
    agents::{AgentId, Agents, HostId, Watch},
    clocks::Clocks,
    line::{Content, EndKind, Ended, Flow, Origin, Reader},
    pending::{Group, Members, Observation, Part, Pending, Place},
    probes::Probes,
    table::{Conclusion, Pair, conclude, may_be_same, saw},
};
pub use self::{line::Unreadable, tally::Tally};
use crate::event::{
    Direction, Event, Host, Id, Message, Missing, Noise, PairFinding, PairHost, Role, Saw, Time,
};

/// What an agent's next summary may take: three times the interval that it has by default.
const SUMMARY_NS: i64 = 30_000_000_000;
/// A RST that a host sent this close to one that a client received may be what a device between
/// them passed on.
const PASSED_ON_NS: i64 = 1_000_000_000;
/// Clocks that agree, or whose distance was learned, agree to this much.
const AGREE_NS: i64 = 50_000_000;
/// Events that wait before any has to be judged. While fewer came, order and clocks are of no
/// matter at all.
const AT_LEAST: usize = 100_000;

/// Events that are judged before their findings have to be taken: so few that the heap gives
/// each finding the room of one before it.
const AT_ONCE: usize = 4;

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
    /// Write findings about connections of `kreset-trace probe`, and of routine closes, too.
    pub all: bool,
}

/// How often events that are no longer needed are looked for.
const TIDY_NS: i64 = 10_000_000_000;

/// Joins events as they come.
#[derive(Debug)]
pub struct Correlator {
    settings: Settings,
    agents: Agents,
    clocks: Clocks,
    pending: Pending,
    probes: Probes,
    reader: Reader,
    window_ns: i64,
    /// All before has been read.
    read_ns: i64,
    /// All before has been forgotten, but for the latest word of each agent.
    forgotten_ns: i64,
    judged_ns: i64,
    tally: Tally,
}

impl Correlator {
    /// With nothing read yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let window_ns = i64::try_from(settings.window.as_nanos()).unwrap_or(i64::MAX);
        Self {
            settings,
            agents: Agents::default(),
            clocks: Clocks::new(window_ns),
            pending: Pending::default(),
            probes: Probes::default(),
            reader: Reader::default(),
            window_ns,
            read_ns: i64::MIN,
            forgotten_ns: i64::MIN,
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
        let Some(line) = self.reader.read(bytes)? else {
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
            Content::Summary(watched) => self.agents.summary(agent, number, at_ns, watched),
            Content::Loss => self.agents.loss(agent, at_ns),
            Content::Ended(ended) => {
                self.ended(agent, line.origin, at_ns, Part::Whole, ended);
            }
            Content::EndedBoth(both, other_ns) => {
                let [ended, other] = *both;
                self.ended(agent, line.origin, at_ns, Part::One, ended);
                self.ended(agent, line.origin, other_ns, Part::Other, other);
            }
            Content::Probe(listed) => {
                if let Some(host) = self.agents.host(agent) {
                    self.probes.add(host, &listed);
                }
            }
            Content::Other => {}
        }
        Ok(Some(at_ns))
    }

    fn ended(&mut self, agent: AgentId, origin: Origin, at_ns: i64, part: Part, ended: Ended) {
        self.add(Observation {
            agent,
            at_ns,
            origin,
            part,
            due_ns: if self.settings.follow {
                at_ns.max(self.read_ns)
            } else {
                at_ns
            },
            is_late: at_ns < self.forgotten_ns,
            ended,
        });
    }

    fn add(&mut self, observation: Observation) {
        if observation.at_ns <= self.judged_ns {
            self.tally.late += 1;
        }
        if let Some(flow) = observation.ended.flow {
            for other in self.pending.of_flow(flow) {
                learn(&mut self.clocks, &self.agents, &observation, other);
            }
        }
        self.pending.insert(observation);
    }

    /// Judges what is complete: all events before `until_ns` have been read.
    pub fn advance(&mut self, until_ns: i64, out: &mut Vec<Message>) {
        while self.advance_some(until_ns, out) {}
    }

    /// Judges some of what is complete; whether there may be more.
    pub fn advance_some(&mut self, until_ns: i64, out: &mut Vec<Message>) -> bool {
        self.read_ns = self.read_ns.max(until_ns);
        // RSTs that tell clocks count until a window after an event, and come up to a window later.
        let wait_ns = self
            .window_ns
            .saturating_add(SUMMARY_NS.max(self.window_ns));
        for _ in 0..AT_ONCE {
            let oldest = self.pending.oldest();
            match oldest {
                Some((due_ns, place))
                    if due_ns.saturating_add(wait_ns) <= until_ns
                        && (self.settings.follow || self.pending.waiting() > AT_LEAST) =>
                {
                    self.judge(due_ns, place, out);
                }
                _ => {
                    let oldest_ns = oldest.map_or(until_ns, |(due_ns, _)| due_ns);
                    let before_ns = oldest_ns.saturating_sub(wait_ns);
                    if before_ns >= self.forgotten_ns.saturating_add(TIDY_NS) {
                        self.forget(before_ns);
                    }
                    return false;
                }
            }
        }
        true
    }

    /// Judges all that is left.
    pub fn finish(&mut self, out: &mut Vec<Message>) {
        while self.finish_some(out) {}
    }

    /// Judges some of what is left, so that not all findings have to be kept at once; whether
    /// there was any.
    pub fn finish_some(&mut self, out: &mut Vec<Message>) -> bool {
        let mut is_any = false;
        for _ in 0..AT_ONCE {
            let Some((due_ns, place)) = self.pending.oldest() else {
                break;
            };
            self.judge(due_ns, place, out);
            is_any = true;
        }
        is_any
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
        self.forgotten_ns = before_ns;
        self.agents.forget(before_ns);
        self.probes.forget(before_ns);
        self.clocks.forget(before_ns);
        self.pending.forget(before_ns);
    }

    fn judge(&mut self, due_ns: i64, place: Place, out: &mut Vec<Message>) {
        self.judged_ns = self.judged_ns.max(due_ns);
        let members = self.pending.members(place, &self.apart());
        if let Some(finding) = self.judged(&members) {
            let at = finding.time.0;
            let asked = self.settings.since.is_none_or(|since| at >= since)
                && self.settings.until.is_none_or(|until| at < until);
            if asked && finding.kreset_probe.is_some() && !self.settings.all {
                self.tally.probe += 1;
            } else if asked && is_routine(&finding) && !self.settings.all {
                self.tally.routine += 1;
            } else if asked {
                self.tally.count(&finding);
                out.push(Message {
                    id: id_of(&finding.event_ids),
                    event: Event::Finding(Box::new(finding)),
                });
            }
        }
        self.pending.judge(&members);
    }

    fn judged(&self, members: &Members) -> Option<PairFinding> {
        let group = self.pending.group(members);
        let (client, broker) = principals(&group);
        let client_watch = self.watch(Role::Client, &group, client, broker);
        let broker_watch = self.watch(Role::Broker, &group, broker, client);
        let pair = Pair {
            client: client.map(|it| &it.ended),
            broker: broker.map(|it| &it.ended),
            client_watch: &client_watch,
            broker_watch: &broker_watch,
            is_sent_just_before: client
                .zip(broker)
                .is_some_and(|(client, broker)| self.is_sent_just_before(client, broker)),
        };
        self.finding(
            &group,
            [client, broker],
            [&client_watch, &broker_watch],
            conclude(&pair),
        )
    }

    /// Of two events one is of a RST that was sent, and the other of one that was received at
    /// that time or just after.
    fn is_sent_just_before(&self, client: &Observation, broker: &Observation) -> bool {
        let (sent, received) = if saw(&client.ended) == Saw::Sent {
            (client, broker)
        } else {
            (broker, client)
        };
        let Some(host) = self.agents.host(sent.agent) else {
            return false;
        };
        let later_ns = self.at_of(received, host).saturating_sub(sent.at_ns);
        (-AGREE_NS..=PASSED_ON_NS).contains(&later_ns)
    }

    /// Nanoseconds between two events, by one clock.
    fn apart(&self) -> impl Fn(&Observation, &Observation) -> u64 {
        |a, b| {
            let hosts = self.agents.host(a.agent).zip(self.agents.host(b.agent));
            hosts.map_or(u64::MAX, |(from, to)| {
                let about_ns = a.at_ns.min(b.at_ns);
                let skew_ns = self.clocks.skew_ns(from, to, about_ns).unwrap_or(0);
                a.at_ns.saturating_add(skew_ns).abs_diff(b.at_ns)
            })
        }
    }

    /// Whether the host at `role` would have reported a RST that it sent, and that the event of
    /// the other host, `theirs`, is about.
    fn watch(
        &self,
        role: Role,
        group: &Group<'_>,
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
                    let skew = self.clocks.skew_ns(from, host, theirs.at_ns)?;
                    Some(theirs.at_ns.saturating_add(skew))
                });
                let at_ns = known.unwrap_or(mine.at_ns);
                let (end, port) = (end(&mine.ended), mine.ended.broker.port);
                self.agents.watch_of(mine.agent, end, port, at_ns)
            }
            (None, Some(theirs)) => {
                let clock = |host| self.at_of(theirs, host);
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
        if theirs.is_some_and(|theirs| theirs.is_late) {
            watch.missing.push(Missing::Late);
        }
        watch.missing.dedup();
        watch
    }

    /// The other host has these ends with other sequence numbers: something between terminates
    /// TCP, or rewrites them.
    fn is_other_flow(&self, theirs: &Observation) -> bool {
        let ended = &theirs.ended;
        let mut of_ends = self.pending.of_tuple((ended.client, ended.broker));
        of_ends.any(|it| {
            let host = self.agents.host(it.agent);
            let near = || {
                host.is_some_and(|host| {
                    self.at_of(theirs, host).abs_diff(it.at_ns) <= PASSED_ON_NS.unsigned_abs()
                })
            };
            it.ended.role != ended.role
                && it.ended.flow.is_some()
                && it.ended.flow != ended.flow
                && near()
        })
    }

    /// The host sent a RST at that time, and nothing says that it was of another connection than
    /// this one: to an end that no agent reports from, which may be a proxy that this connection
    /// goes through, or without a name and to the address of this connection's other end. A proxy
    /// that hides behind that address keeps it.
    fn is_passed_on(&self, watch: &Watch, theirs: &Observation) -> bool {
        let Some(agent) = watch.agent else {
            return false;
        };
        let Some(host) = self.agents.host(agent) else {
            return false;
        };
        let at_ns = self.at_of(theirs, host);
        let (first, last) = (
            at_ns.saturating_sub(PASSED_ON_NS),
            at_ns.saturating_add(PASSED_ON_NS),
        );
        let mut near = self.pending.sent(agent, first, last);
        near.any(|(place, reset)| {
            let reset = &reset.ended;
            let (peer, own_peer) = match theirs.ended.role {
                Role::Client => (reset.client, theirs.ended.client),
                Role::Broker => (reset.broker, theirs.ended.broker),
            };
            let is_named = reset.flow.is_some() || reset.sequence.is_some_and(|it| it != 0);
            let has_these_ends =
                (reset.client, reset.broker) == (theirs.ended.client, theirs.ended.broker);
            let may_be_of_it = !is_named && peer.address == own_peer.address;
            (has_these_ends || may_be_of_it || !self.agents.knows(peer.address))
                && !self.pending.is_joined(place, &self.apart())
        })
    }

    /// When an event happened by the clock of `host`, as far as that is known.
    fn at_of(&self, it: &Observation, host: HostId) -> i64 {
        let from = self.agents.host(it.agent);
        let skew_ns = from.and_then(|from| self.clocks.skew_ns(from, host, it.at_ns));
        it.at_ns.saturating_add(skew_ns.unwrap_or(0))
    }

    fn finding(
        &self,
        group: &Group<'_>,
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
            [Some(client), Some(broker)] => self.clocks.skew_ns(client, broker, of.at_ns),
            [Some(client), None] => self.skew_to(client, watches[1], of.at_ns),
            [None, Some(broker)] => {
                let skew_ns = self.skew_to(broker, watches[0], of.at_ns);
                skew_ns.map(i64::saturating_neg)
            }
            [None, None] => None,
        };
        let hosts = [(client, watches[0]), (broker, watches[1])]
            .map(|(seen, watch)| self.host(seen, watch));
        let [client_host, broker_host] = hosts;
        let events = group.client.iter().chain(&group.broker);
        let mut event_ids: Vec<Id> = Vec::new();
        for it in events {
            // One of both ends is there twice.
            if it.part == Part::Whole || !event_ids.contains(&it.ended.id) {
                event_ids.push(it.ended.id);
            }
        }
        let mut finding = PairFinding {
            time: time(of.at_ns),
            host: Host {
                name: self.agents.name(of.agent),
            },
            community_id: of.ended.community_id,
            flow_id: of
                .ended
                .flow
                .or_else(|| {
                    let mut both = [client, broker].into_iter().flatten();
                    both.find_map(|it| it.ended.flow)
                })
                .map(Flow::id),
            sent_by: conclusion.sent_by,
            summary: "".into(),
            kreset_probe: self.probes.of(group, |it, host| self.at_of(it, host)),
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

    fn skew_to(&self, from: HostId, watch: &Watch, at_ns: i64) -> Option<i64> {
        let to = self.agents.host(watch.agent?)?;
        self.clocks.skew_ns(from, to, at_ns)
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
            wrote: None,
            watched_from: whole.then(|| time(watch.from_ns)),
            watched_until: whole.then(|| time(watch.until_ns)),
        })
    }
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
        let sent = if a.ended.direction == Direction::Sent {
            a
        } else {
            b
        };
        clocks.learn(sent.origin, (first, a.at_ns), (second, b.at_ns));
    }
}

/// The event of each end that the finding is about: of several the oldest, and of several RSTs
/// the one that the other host received.
fn principals<'a>(group: &Group<'a>) -> (Option<&'a Observation>, Option<&'a Observation>) {
    let pick = |role: Role| -> Option<&'a Observation> {
        let mine = group.of(role);
        let theirs = group.of(role.other());
        let received = theirs.iter().find(|it| saw(&it.ended) == Saw::Received);
        let sent = received.and_then(|received| {
            mine.iter().find(|it| {
                saw(&it.ended) == Saw::Sent
                    && it.ended.sequence.is_some()
                    && may_be_same(&it.ended, &received.ended)
            })
        });
        let got = || mine.iter().find(|it| saw(&it.ended) == Saw::Received);
        sent.or_else(got).or_else(|| mine.first()).copied()
    };
    (pick(Role::Client), pick(Role::Broker))
}

/// A close that does no harm, as a tracer shows it with `--all` alone.
const fn is_routine(finding: &PairFinding) -> bool {
    Noise::of(finding.verdict, finding.cause).is_some()
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
