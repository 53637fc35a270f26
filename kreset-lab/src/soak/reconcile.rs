//! Reconciles the truth with the events, one by one.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use crate::{
    Moment, Side,
    trace::follow::{Connection, Direction, Flow, Reset},
};

/// An event and the segment that it is about are stamped by two clocks' readings, on a machine
/// that may be busy in between.
const SAME_MOMENT: Duration = Duration::from_secs(1);

/// How long the tracer remembers that it reported how a connection ended.
const REPORTED: Duration = Duration::from_mins(2);

/// What a tracer that is killed may hold in memory, counted from the latest event that it
/// reported: it waits up to 250 ms for concurrent resets and reconnects. On a busy machine it is
/// behind, but reports everything in order all the same.
const IN_MEMORY: Duration = Duration::from_secs(2);

/// What a tracer said of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A reset.
    Reset(Direction),
    /// An end without one.
    Close,
}

/// One event, however often it was delivered.
#[derive(Clone, Debug)]
pub struct Reported {
    /// Its id.
    pub id: String,
    /// What it says.
    pub kind: Kind,
    /// Of which connection.
    pub flow: Flow,
    /// When that was, as it says.
    pub at: Moment,
    /// All that it says.
    pub line: String,
}

/// How a tracer was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order, with SIGTERM.
    Asked,
    /// With SIGKILL.
    Killed,
}

/// One tracer, from its start to its end.
#[derive(Clone, Debug)]
pub struct Life {
    /// The host that it watched.
    pub host: Side,
    /// When it was started.
    pub began: Moment,
    /// When it was heard to watch.
    pub watching: Moment,
    /// When it was asked to end.
    pub until: Moment,
    /// When it had ended.
    pub ended: Moment,
    /// How.
    pub how: End,
    /// The time of the latest event that it reported, as the event says it.
    pub reported_until: Moment,
    /// Which of its host's events it reported, in the order in which they were heard.
    pub events: Range<usize>,
    /// Those before this one had left its memory when it was killed.
    pub firm: usize,
}

impl Life {
    /// Whether it ran on a host at a time.
    fn was_on(&self, host: Side, at: Moment) -> bool {
        self.host == host && self.began <= at && at <= self.ended
    }

    /// Whether it was killed before it reported anything that happened well after `at`.
    fn had_still_to_report(&self, at: Moment) -> bool {
        self.how == End::Killed && self.reported_until.since(at) <= IN_MEMORY
    }
}

named_enum! {
    /// What became of a reset that passed a host's wire.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Fate all {
        /// It has an event of its own.
        Reported = "reported by an event each",
        /// The event that reported the end of its connection before stands for it.
        ByClose = "reported as the end of their connection",
        /// It answers a segment that was still under way when a reset that was reported had ended
        /// its connection.
        ByReset = "answers to what was under way when one that was reported had ended it",
        /// The tracer counted one as lost.
        Lost = "counted as lost",
        /// The kernel ignored it, or it met no socket; and it was not reported.
        WithoutEffect = "ignored by the kernel, or met no socket",
        /// No tracer watched.
        Unwatched = "while no tracer ran",
        /// It was not reported, and came while a tracer began or ended.
        AtTheEdge = "while one began or ended",
        /// It was not reported, and a tracer was killed that had reported nothing that happened more
        /// than two seconds later.
        InMemory = "in the memory of one that was killed",
        /// It was watched, and not reported.
        Missing = "unaccounted for",
    }
}

/// Why a reset at that moment need not have been reported, by whether a tracer watched.
fn unwatched(lives: &[Life], host: Side, at: Moment) -> Option<Fate> {
    let Some(life) = lives.iter().find(|life| life.was_on(host, at)) else {
        return Some(Fate::Unwatched);
    };
    if at < life.watching || at > life.until {
        Some(Fate::AtTheEdge)
    } else {
        life.had_still_to_report(at).then_some(Fate::InMemory)
    }
}

/// A reset that was watched, and not reported.
#[derive(Clone, Debug)]
pub struct Unreported {
    /// Of which connection.
    pub flow: Flow,
    /// When that was.
    pub at: Moment,
    /// Which way it went, and all else that is known of the connection.
    pub what: String,
}

/// What became of every reset and every event.
#[derive(Clone, Debug, Default)]
pub struct Reconciliation {
    fates: BTreeMap<Fate, u64>,
    /// Those that are [`Fate::Missing`].
    pub missing: Vec<Unreported>,
    /// Reported more often than they happened.
    pub repeated: Vec<String>,
    /// Reported, and never on the wire.
    pub invented: Vec<String>,
}

impl Reconciliation {
    /// How many resets came to this.
    pub fn count(&self, fate: Fate) -> u64 {
        self.fates.get(&fate).copied().unwrap_or_default()
    }

    /// Resets that passed a host's wire, each host's counted.
    pub fn happened(&self) -> u64 {
        self.fates.values().sum()
    }

    fn add(&mut self, fate: Fate) {
        *self.fates.entry(fate).or_default() += 1;
    }
}

/// Puts the events of all tracers beside the resets of all wires. `lost` is what the tracers of
/// each host counted as lost.
pub fn reconcile(
    connections: &[Connection],
    reported: &[Reported],
    lives: &[Life],
    lost: &BTreeMap<Side, u64>,
) -> Reconciliation {
    let mut reconciliation = Reconciliation::default();
    let mut events: BTreeMap<Flow, Vec<&Reported>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for event in reported {
        if ids.insert(&event.id) {
            events.entry(event.flow).or_default().push(event);
        }
    }
    let mut by_place: BTreeMap<Flow, Vec<&Connection>> = BTreeMap::new();
    for connection in connections {
        by_place
            .entry(connection.flow)
            .or_default()
            .push(connection);
    }
    let mut lost = lost.clone();
    for (flow, mut connections) in by_place {
        connections.sort_by_key(|connection| connection.began);
        let mut left = events.remove(&flow).unwrap_or_default();
        // The latest first: an event belongs to the latest connection that had begun.
        for connection in connections.into_iter().rev() {
            let began = connection.began;
            let (own, earlier) = left
                .into_iter()
                .partition(|event| event.at >= began || began.since(event.at) < SAME_MOMENT / 10);
            left = earlier;
            settle(connection, &own, lives, &mut lost, &mut reconciliation);
        }
        reconciliation
            .invented
            .extend(left.iter().filter_map(|it| invented(it)));
    }
    for event in events.into_values().flatten() {
        reconciliation.invented.extend(invented(event));
    }
    reconciliation
}

/// An event without any reset on the wire. The end of a connection needs none.
fn invented(event: &Reported) -> Option<String> {
    let Kind::Reset(direction) = event.kind else {
        return None;
    };
    let Reported { flow, at, line, .. } = event;
    let way = direction.name();
    Some(format!("{flow}: a reset {way} at {at} ({line})"))
}

/// Settles one connection.
fn settle(
    connection: &Connection,
    events: &[&Reported],
    lives: &[Life],
    lost: &mut BTreeMap<Side, u64>,
    reconciliation: &mut Reconciliation,
) {
    let flow = connection.flow;
    let closes = events.iter().filter(|it| it.kind == Kind::Close);
    if closes.clone().count() > 1 {
        let all: Vec<_> = closes.clone().map(|it| it.line.as_str()).collect();
        let what = format!("{flow}: its end {} times: {}", all.len(), all.join(" "));
        reconciliation.repeated.push(what);
    }
    let closes: Vec<_> = closes.map(|it| it.at).collect();
    // When a reset that was reported ended it: what its host answers after that is no news.
    let mut ended = None;
    for direction in [Direction::Received, Direction::Sent] {
        let mut resets: Vec<_> = connection
            .resets
            .iter()
            .filter(|reset| reset.direction == direction)
            .collect();
        // An event is of the one that had an effect, if another came at the same moment.
        resets.sort_by_key(|reset| !reset.sure);
        let mut reported: Vec<_> = events
            .iter()
            .filter(|it| it.kind == Kind::Reset(direction))
            .collect();
        // A socket accepts one reset in its life.
        let most = match direction {
            Direction::Received => resets.len().min(1),
            Direction::Sent => resets.len(),
        };
        if resets.is_empty() {
            reconciliation
                .invented
                .extend(reported.iter().filter_map(|it| invented(it)));
            continue;
        }
        if reported.len() > most {
            let all: Vec<_> = reported.iter().map(|it| it.line.as_str()).collect();
            reconciliation.repeated.push(format!(
                "{flow}: {} events of {most} resets {}: {}",
                reported.len(),
                direction.name(),
                all.join(" ")
            ));
        }
        let mut unreported = Vec::new();
        for reset in resets {
            let of_it = reported.iter().position(|event| is_of(event, reset));
            match of_it {
                Some(position) => {
                    reported.remove(position);
                    reconciliation.add(Fate::Reported);
                    ended = ended.or(Some(reset.at));
                }
                None => unreported.push(reset),
            }
        }
        for event in reported {
            reconciliation
                .invented
                .extend(invented(event).map(|it| format!("at another time: {it}")));
        }
        for reset in unreported {
            // It stands for what its end draws, not for what went before.
            let is_closed = closes
                .iter()
                .any(|closed| closed.since(reset.at) <= SAME_MOMENT);
            let is_answer = direction == Direction::Sent
                && reset.answers
                && ended
                    .is_some_and(|ended| reset.at >= ended && reset.at.since(ended) <= REPORTED);
            let stands = is_closed
                .then_some(Fate::ByClose)
                .or_else(|| is_answer.then_some(Fate::ByReset));
            let fate = excuse(flow, reset, stands, lives, lost);
            reconciliation.add(fate);
            if fate == Fate::Missing {
                let (way, at) = (direction.name(), reset.at);
                let others = others(connection, reset, events);
                let watched = lives.iter().find(|it| it.was_on(flow.host, at));
                let watched = watched.map_or_else(String::new, |life| {
                    format!("; watched from {} to {}", life.watching, life.until)
                });
                let what = format!("{flow}: a reset {way} at {at}{others}{watched}");
                reconciliation.missing.push(Unreported { flow, at, what });
            }
        }
    }
}

/// The other resets of a connection and its events, in the order of their times.
fn others(connection: &Connection, reset: &Reset, events: &[&Reported]) -> String {
    let resets = connection.resets.iter().filter(|it| *it != reset);
    let resets = resets.map(|it| (it.at, format!("a reset {}", it.direction.name())));
    let events = events.iter().map(|it| {
        let what = match it.kind {
            Kind::Reset(direction) => format!("a reset {}", direction.name()),
            Kind::Close => "its end".to_owned(),
        };
        (it.at, format!("the event of {what} ({})", it.line))
    });
    let mut all: Vec<_> = resets.chain(events).collect();
    all.sort();
    let began = format!("; it began at {}", connection.began);
    all.into_iter()
        .fold(began, |text, (at, what)| format!("{text}, {what} at {at}"))
}

fn is_of(event: &Reported, reset: &Reset) -> bool {
    event.at.since(reset.at) <= SAME_MOMENT && reset.at.since(event.at) <= SAME_MOMENT
}

/// Why a reset was not reported; `stands` if another event stands for it.
fn excuse(
    flow: Flow,
    reset: &Reset,
    stands: Option<Fate>,
    lives: &[Life],
    lost: &mut BTreeMap<Side, u64>,
) -> Fate {
    if !reset.sure {
        return Fate::WithoutEffect;
    }
    let counted = || {
        let left = lost.get_mut(&flow.host).filter(|left| **left > 0)?;
        *left -= 1;
        Some(Fate::Lost)
    };
    unwatched(lives, flow.host, reset.at)
        .or(stands)
        .or_else(counted)
        .unwrap_or(Fate::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{net::packet::Segment, trace::wire::Sighting};

    const HOST: Side = Side::Client;

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    fn flow(port: u16) -> Flow {
        Flow {
            host: HOST,
            client: format!("10.77.1.2:{port}").parse().expect("an end"),
            broker: "10.77.2.2:9092".parse().expect("an end"),
        }
    }

    fn connection(port: u16, resets: &[(u64, Direction, bool)]) -> Connection {
        let syn = Segment::made_up(HOST, "S");
        let first = Sighting::made_up(1_000, HOST, false, syn);
        let mut connection = Connection::new(&first, flow(port));
        let resets = resets.iter().map(|(ms, direction, sure)| Reset {
            at: at(*ms),
            direction: *direction,
            sure: *sure,
            answers: false,
        });
        connection.resets.extend(resets);
        connection
    }

    fn event(id: &str, port: u16, ms: u64, kind: Kind) -> Reported {
        Reported {
            id: id.to_owned(),
            kind,
            flow: flow(port),
            at: at(ms),
            line: String::new(),
        }
    }

    fn life(began: u64, until: u64, how: End) -> Life {
        Life {
            host: HOST,
            began: at(began),
            watching: at(began + 500),
            until: at(until),
            ended: at(until + 500),
            how,
            reported_until: at(until),
            events: 0..0,
            firm: 0,
        }
    }

    /// What ends a connection, by the host and by its peer.
    const fn sent(ms: u64) -> (u64, Direction, bool) {
        (ms, Direction::Sent, true)
    }

    const fn received(ms: u64) -> (u64, Direction, bool) {
        (ms, Direction::Received, true)
    }

    const RECEIVED: Kind = Kind::Reset(Direction::Received);
    const SENT: Kind = Kind::Reset(Direction::Sent);

    impl Reconciliation {
        /// Whether every reset and every event is accounted for.
        const fn is_even(&self) -> bool {
            self.missing.is_empty() && self.repeated.is_empty() && self.invented.is_empty()
        }
    }

    /// One connection, with a tracer that watched from 500 ms to 100 s.
    fn settled(
        resets: &[(u64, Direction, bool)],
        reported: &[Reported],
        lost: u64,
    ) -> Reconciliation {
        let lives = [life(0, 100_000, End::Asked)];
        let lost = BTreeMap::from([(HOST, lost)]);
        reconcile(&[connection(1, resets)], reported, &lives, &lost)
    }

    #[test]
    fn what_was_reported_once_is_even() {
        let resets = [received(5_000), sent(6_000)];
        let reported = [event("a", 1, 5_001, RECEIVED), event("b", 1, 6_000, SENT)];
        let found = settled(&resets, &reported, 0);
        assert!(found.is_even(), "{found:?}");
        assert_eq!((found.happened(), found.count(Fate::Reported)), (2, 2));
    }

    #[test]
    fn what_was_not_reported_is_missing() {
        for direction in [Direction::Received, Direction::Sent] {
            let found = settled(&[(5_000, direction, true)], &[], 0);
            assert_eq!(found.missing.len(), 1, "{found:?}");
            assert!(!found.is_even());
        }
        // Of two that a host sent, one was reported.
        let resets = [sent(5_000), sent(5_001)];
        let found = settled(&resets, &[event("a", 1, 5_000, SENT)], 0);
        assert_eq!(found.missing.len(), 1, "{found:?}");
    }

    #[test]
    fn what_is_reported_twice_is_a_repetition_unless_it_has_one_id() {
        let resets = [received(5_000)];
        let [once, again] = ["a", "b"].map(|id| event(id, 1, 5_000, RECEIVED));
        let found = settled(&resets, &[once.clone(), again], 0);
        assert_eq!(found.repeated.len(), 1, "{found:?}");
        assert!(settled(&resets, &[once.clone(), once], 0).is_even());
        let closes = ["a", "b"].map(|id| event(id, 1, 5_000, Kind::Close));
        assert_eq!(settled(&resets, &closes, 0).repeated.len(), 1);
    }

    #[test]
    fn what_never_happened_is_invented() {
        let resets = [received(5_000)];
        let reported = event("a", 1, 5_000, RECEIVED);
        let [elsewhere, otherwise, later] = [
            event("b", 2, 5_000, RECEIVED),
            event("c", 1, 5_000, SENT),
            event("d", 1, 9_000, RECEIVED),
        ];
        for strange in [elsewhere, otherwise] {
            let found = settled(&resets, &[reported.clone(), strange], 0);
            assert_eq!(found.invented.len(), 1, "{found:?}");
        }
        let found = settled(&resets, &[later], 0);
        assert_eq!((found.invented.len(), found.missing.len()), (1, 1));
        // Without any reset there is only an end.
        assert!(settled(&resets, &[reported, event("e", 2, 5_000, Kind::Close)], 0).is_even());
    }

    #[test]
    fn a_loss_that_was_counted_accounts_for_as_many_and_no_more() {
        let resets = [sent(5_000), sent(6_000)];
        let found = settled(&resets, &[], 1);
        assert_eq!((found.count(Fate::Lost), found.missing.len()), (1, 1));
        assert!(settled(&resets, &[], 2).is_even());
    }

    #[test]
    fn a_close_that_was_reported_stands_for_the_resets_after_it() {
        let resets = [sent(5_000)];
        let found = settled(&resets, &[event("a", 1, 4_900, Kind::Close)], 0);
        assert!(found.is_even(), "{found:?}");
        assert_eq!(found.count(Fate::ByClose), 1);
        let before = settled(&resets, &[event("a", 1, 6_100, Kind::Close)], 0);
        assert_eq!(before.missing.len(), 1, "{before:?}");
    }

    #[test]
    fn a_reset_that_was_reported_stands_for_the_answers_after_it() {
        let lives = [life(0, 1_000_000, End::Asked)];
        let after = |first, second: u64, answers: bool| {
            let direction = if first == SENT {
                Direction::Sent
            } else {
                Direction::Received
            };
            let resets = [(5_000, direction, true), (second, Direction::Sent, true)];
            let mut connection = connection(1, &resets);
            connection.resets[1].answers = answers;
            let reported = [event("a", 1, 5_000, first)];
            reconcile(&[connection], &reported, &lives, &BTreeMap::new())
        };
        let even = |second, answers| after(SENT, second, answers);
        let found = even(5_001, true);
        assert!(found.is_even(), "{found:?}");
        assert_eq!(
            [Fate::Reported, Fate::ByReset].map(|it| found.count(it)),
            [1, 1]
        );
        let received = after(RECEIVED, 60_000, true);
        assert!(received.is_even(), "{received:?}");
        assert_eq!(
            [Fate::Reported, Fate::ByReset].map(|it| received.count(it)),
            [1, 1]
        );
        // One that a socket sent by itself has an event of its own, and so has a late one.
        assert_eq!(even(5_001, false).missing.len(), 1);
        assert_eq!(even(126_000, true).missing.len(), 1);
    }

    #[test]
    fn what_the_kernel_ignored_need_not_be_told() {
        let resets = [(4_500, Direction::Received, false), received(5_000)];
        let found = settled(&resets, &[event("a", 1, 5_000, RECEIVED)], 0);
        assert!(found.is_even(), "{found:?}");
        assert_eq!(
            [Fate::Reported, Fate::WithoutEffect].map(|it| found.count(it)),
            [1, 1]
        );
    }

    #[test]
    fn what_no_tracer_watched_is_not_missing() {
        let lives = [
            life(0, 10_000, End::Killed),
            life(20_000, 30_000, End::Asked),
        ];
        let fates = |ms| {
            let connection = connection(1, &[sent(ms)]);
            reconcile(&[connection], &[], &lives, &BTreeMap::new())
        };
        assert_eq!(fates(5_000).missing.len(), 1);
        assert_eq!(fates(9_000).count(Fate::InMemory), 1);
        assert_eq!(fates(10_300).count(Fate::AtTheEdge), 1);
        assert_eq!(fates(15_000).count(Fate::Unwatched), 1);
        assert_eq!(fates(20_200).count(Fate::AtTheEdge), 1);
        assert_eq!(fates(29_000).missing.len(), 1);
    }

    /// On a busy machine a tracer was 5 s behind when it was killed, and what it had not come to
    /// counted as missing.
    #[test]
    fn what_a_killed_tracer_had_not_come_to_is_not_missing_and_what_it_passed_over_is() {
        let fates = |ms, how| {
            let connection = connection(1, &[sent(ms)]);
            let life = Life {
                reported_until: at(60_000),
                ..life(0, 66_000, how)
            };
            reconcile(&[connection], &[], &[life], &BTreeMap::new())
        };
        for ms in [59_000, 61_000, 65_000] {
            assert_eq!(fates(ms, End::Killed).count(Fate::InMemory), 1, "{ms}");
            assert_eq!(fates(ms, End::Asked).missing.len(), 1, "{ms}");
        }
        assert_eq!(fates(57_900, End::Killed).missing.len(), 1);
    }

    #[test]
    fn an_event_belongs_to_the_connection_that_had_begun() {
        let mut first = connection(1, &[received(5_000)]);
        let mut second = first.clone();
        (first.began, second.began) = (at(1_000), at(20_000));
        second.resets[0].at = at(25_000);
        let lives = [life(0, 100_000, End::Asked)];
        let reported = [event("a", 1, 5_000, RECEIVED)];
        let found = reconcile(&[first, second], &reported, &lives, &BTreeMap::new());
        assert_eq!((found.count(Fate::Reported), found.missing.len()), (1, 1));
    }
}
