//! Truth against events, one by one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use super::witness::{Account, Direction, Place, Reset};
use crate::{Moment, Side};

/// An event and the segment that it tells of are stamped by two clocks' readings, on a machine
/// that may be busy in between.
const SAME_MOMENT: Duration = Duration::from_secs(1);

/// How long the tracer remembers that it told how a connection ended.
const TOLD: Duration = Duration::from_mins(2);

/// What a tracer that is killed may hold in memory: it waits 60 ms for a reset's company, and on a
/// busy machine for the processor.
const IN_HAND: Duration = Duration::from_secs(2);

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
pub struct Told {
    /// Its id.
    pub id: String,
    /// What it says.
    pub kind: Kind,
    /// Of which connection.
    pub place: Place,
    /// When that was, as it says.
    pub at: Moment,
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
    /// When it was told to end.
    pub until: Moment,
    /// When it had ended.
    pub ended: Moment,
    /// How.
    pub how: End,
}

/// Whether somebody watched when something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cover {
    Watched,
    /// While a tracer began or ended: it may have been seen.
    Perhaps,
    /// In the hands of a tracer that was killed.
    InHand,
    Nobody,
}

fn cover(lives: &[Life], host: Side, at: Moment) -> Cover {
    let Some(life) = lives
        .iter()
        .find(|life| life.host == host && life.began <= at && at <= life.ended)
    else {
        return Cover::Nobody;
    };
    if at < life.watching || at > life.until {
        Cover::Perhaps
    } else if life.how == End::Killed && life.until.since(at) <= IN_HAND {
        Cover::InHand
    } else {
        Cover::Watched
    }
}

/// What became of every reset and every event.
#[derive(Clone, Debug, Default)]
pub struct Reckoning {
    /// Resets that passed a host's wire, each host's counted.
    pub happened: u64,
    /// Told by an event of their own.
    pub told: u64,
    /// Told by the event that told the end of their connection before.
    pub told_by_close: u64,
    /// Answers to segments that were still under way when a reset that was told had ended their
    /// connection.
    pub told_by_reset: u64,
    /// Counted as lost by the tracer.
    pub lost: u64,
    /// Ignored by the kernel, or met no socket; and nobody told of them.
    pub without_effect: u64,
    /// While nobody watched.
    pub unwatched: u64,
    /// While a tracer began or ended, and not told.
    pub at_the_edge: u64,
    /// Within two seconds before a tracer was killed, and not told.
    pub in_hand: u64,
    /// Watched, and not told.
    pub missing: Vec<String>,
    /// Told more often than they happened.
    pub repeated: Vec<String>,
    /// Told, and never on the wire.
    pub invented: Vec<String>,
}

impl Reckoning {
    /// Whether every reset and every event is accounted for.
    pub const fn is_even(&self) -> bool {
        self.missing.is_empty() && self.repeated.is_empty() && self.invented.is_empty()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            client,
            broker,
        } = self;
        write!(f, "{host}'s host, {client} to {broker}")
    }
}

/// Puts the events of all tracers beside the resets of all wires. `lost` is what the tracers of
/// each host counted as lost.
pub fn reckon(
    accounts: &[Account],
    told: &[Told],
    lives: &[Life],
    lost: &BTreeMap<Side, u64>,
) -> Reckoning {
    let mut reckoning = Reckoning::default();
    let mut events: BTreeMap<Place, Vec<&Told>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for event in told {
        if ids.insert(&event.id) {
            events.entry(event.place).or_default().push(event);
        }
    }
    let mut by_place: BTreeMap<Place, Vec<&Account>> = BTreeMap::new();
    for account in accounts {
        by_place.entry(account.place).or_default().push(account);
    }
    let mut lost = lost.clone();
    for (place, mut accounts) in by_place {
        accounts.sort_by_key(|account| account.began);
        let mut left = events.remove(&place).unwrap_or_default();
        // The latest first: an event belongs to the latest connection that had begun.
        for account in accounts.into_iter().rev() {
            let began = account.began;
            let (own, earlier) = left
                .into_iter()
                .partition(|event| event.at >= began || began.since(event.at) < SAME_MOMENT / 10);
            left = earlier;
            settle(account, &own, lives, &mut lost, &mut reckoning);
        }
        reckoning
            .invented
            .extend(left.iter().filter_map(|it| invented(it)));
    }
    for event in events.into_values().flatten() {
        reckoning.invented.extend(invented(event));
    }
    reckoning
}

/// An event without any reset on the wire. The end of a connection needs none.
fn invented(event: &Told) -> Option<String> {
    let Kind::Reset(direction) = event.kind else {
        return None;
    };
    let (place, id) = (event.place, &event.id);
    Some(format!("{place}: a reset {} ({id})", direction.name()))
}

/// Settles one connection.
fn settle(
    account: &Account,
    events: &[&Told],
    lives: &[Life],
    lost: &mut BTreeMap<Side, u64>,
    reckoning: &mut Reckoning,
) {
    let place = account.place;
    let closes = events.iter().filter(|it| it.kind == Kind::Close);
    let closes: Vec<_> = closes.map(|it| it.at).collect();
    if closes.len() > 1 {
        let what = format!("{place}: its end {} times", closes.len());
        reckoning.repeated.push(what);
    }
    // When a reset that was told ended it: what its host answers after that is no news.
    let mut ended = None;
    for direction in [Direction::Received, Direction::Sent] {
        let mut resets: Vec<_> = account
            .resets
            .iter()
            .filter(|reset| reset.direction == direction)
            .collect();
        // An event is of the one that had an effect, if another came at the same moment.
        resets.sort_by_key(|reset| !reset.sure);
        let mut told: Vec<_> = events
            .iter()
            .filter(|it| it.kind == Kind::Reset(direction))
            .collect();
        reckoning.happened += resets.len() as u64;
        // A socket accepts one reset in its life.
        let most = match direction {
            Direction::Received => resets.len().min(1),
            Direction::Sent => resets.len(),
        };
        if resets.is_empty() {
            reckoning
                .invented
                .extend(told.iter().filter_map(|it| invented(it)));
            continue;
        }
        if told.len() > most {
            reckoning.repeated.push(format!(
                "{place}: {} events of {most} resets {}",
                told.len(),
                direction.name()
            ));
        }
        let mut untold = Vec::new();
        for reset in resets {
            let of_it = told.iter().position(|event| is_of(event, reset));
            match of_it {
                Some(position) => {
                    told.remove(position);
                    reckoning.told += 1;
                    ended = ended.or(Some(reset.at));
                }
                None => untold.push(reset),
            }
        }
        for event in told {
            let id = &event.id;
            reckoning.invented.push(format!(
                "{place}: a reset {} at another time ({id})",
                direction.name()
            ));
        }
        for reset in untold {
            // It stands for what its end draws, not for what went before.
            let is_closed = closes
                .iter()
                .any(|closed| closed.since(reset.at) <= SAME_MOMENT);
            let is_answer = direction == Direction::Sent
                && reset.answers
                && ended.is_some_and(|ended| reset.at >= ended && reset.at.since(ended) <= TOLD);
            let stands = is_closed
                .then_some(Stands::Close)
                .or_else(|| is_answer.then_some(Stands::Reset));
            excuse(place, reset, stands, lives, lost, reckoning);
        }
    }
}

fn is_of(event: &Told, reset: &Reset) -> bool {
    event.at.since(reset.at) <= SAME_MOMENT && reset.at.since(event.at) <= SAME_MOMENT
}

/// Which event stands for a reset that has none of its own.
#[derive(Clone, Copy)]
enum Stands {
    Close,
    Reset,
}

/// Finds the reason why nobody told of a reset.
fn excuse(
    place: Place,
    reset: &Reset,
    stands: Option<Stands>,
    lives: &[Life],
    lost: &mut BTreeMap<Side, u64>,
    reckoning: &mut Reckoning,
) {
    if !reset.sure {
        reckoning.without_effect += 1;
        return;
    }
    match cover(lives, place.host, reset.at) {
        Cover::Nobody => reckoning.unwatched += 1,
        Cover::Perhaps => reckoning.at_the_edge += 1,
        Cover::InHand => reckoning.in_hand += 1,
        Cover::Watched => match (stands, lost.get_mut(&place.host)) {
            (Some(Stands::Close), _) => reckoning.told_by_close += 1,
            (Some(Stands::Reset), _) => reckoning.told_by_reset += 1,
            (None, Some(left @ 1..)) => {
                *left -= 1;
                reckoning.lost += 1;
            }
            (None, _) => reckoning.missing.push(format!(
                "{place}: a reset {} at {}",
                reset.direction.name(),
                reset.at
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Side = Side::Client;

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    fn place(port: u16) -> Place {
        Place {
            host: HOST,
            client: format!("10.77.1.2:{port}").parse().expect("an end"),
            broker: "10.77.2.2:9092".parse().expect("an end"),
        }
    }

    fn account(port: u16, resets: &[(u64, Direction, bool)]) -> Account {
        Account {
            place: place(port),
            began: at(1_000),
            resets: resets
                .iter()
                .map(|(ms, direction, sure)| Reset {
                    at: at(*ms),
                    direction: *direction,
                    sure: *sure,
                    answers: false,
                })
                .collect(),
        }
    }

    fn event(id: &str, port: u16, ms: u64, kind: Kind) -> Told {
        Told {
            id: id.to_owned(),
            kind,
            place: place(port),
            at: at(ms),
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
        }
    }

    const RECEIVED: Kind = Kind::Reset(Direction::Received);
    const SENT: Kind = Kind::Reset(Direction::Sent);

    /// One connection, with a tracer that watched from 500 ms to 100 s.
    fn settled(resets: &[(u64, Direction, bool)], told: &[Told], lost: u64) -> Reckoning {
        let lives = [life(0, 100_000, End::Asked)];
        let lost = BTreeMap::from([(HOST, lost)]);
        reckon(&[account(1, resets)], told, &lives, &lost)
    }

    #[test]
    fn what_was_told_once_is_even() {
        let resets = [
            (5_000, Direction::Received, true),
            (6_000, Direction::Sent, true),
        ];
        let told = [event("a", 1, 5_001, RECEIVED), event("b", 1, 6_000, SENT)];
        let reckoning = settled(&resets, &told, 0);
        assert!(reckoning.is_even(), "{reckoning:?}");
        assert_eq!((reckoning.happened, reckoning.told), (2, 2));
    }

    #[test]
    fn what_nobody_told_is_missing() {
        for direction in [Direction::Received, Direction::Sent] {
            let reckoning = settled(&[(5_000, direction, true)], &[], 0);
            assert_eq!(reckoning.missing.len(), 1, "{reckoning:?}");
            assert!(!reckoning.is_even());
        }
        // Of two that a host sent, one was told.
        let resets = [
            (5_000, Direction::Sent, true),
            (5_001, Direction::Sent, true),
        ];
        let reckoning = settled(&resets, &[event("a", 1, 5_000, SENT)], 0);
        assert_eq!(reckoning.missing.len(), 1, "{reckoning:?}");
    }

    #[test]
    fn what_is_told_twice_is_a_repetition_unless_it_has_one_id() {
        let resets = [(5_000, Direction::Received, true)];
        let [once, again] = ["a", "b"].map(|id| event(id, 1, 5_000, RECEIVED));
        let reckoning = settled(&resets, &[once.clone(), again], 0);
        assert_eq!(reckoning.repeated.len(), 1, "{reckoning:?}");
        assert!(settled(&resets, &[once.clone(), once], 0).is_even());
        let closes = ["a", "b"].map(|id| event(id, 1, 5_000, Kind::Close));
        assert_eq!(settled(&resets, &closes, 0).repeated.len(), 1);
    }

    #[test]
    fn what_never_happened_is_invented() {
        let resets = [(5_000, Direction::Received, true)];
        let told = event("a", 1, 5_000, RECEIVED);
        let [elsewhere, otherwise, later] = [
            event("b", 2, 5_000, RECEIVED),
            event("c", 1, 5_000, SENT),
            event("d", 1, 9_000, RECEIVED),
        ];
        for strange in [elsewhere, otherwise] {
            let reckoning = settled(&resets, &[told.clone(), strange], 0);
            assert_eq!(reckoning.invented.len(), 1, "{reckoning:?}");
        }
        let reckoning = settled(&resets, &[later], 0);
        assert_eq!((reckoning.invented.len(), reckoning.missing.len()), (1, 1));
        // Without any reset there is only an end.
        assert!(settled(&resets, &[told, event("e", 2, 5_000, Kind::Close)], 0).is_even());
    }

    #[test]
    fn a_loss_that_was_counted_accounts_for_as_many_and_no_more() {
        let resets = [
            (5_000, Direction::Sent, true),
            (6_000, Direction::Sent, true),
        ];
        let reckoning = settled(&resets, &[], 1);
        assert_eq!((reckoning.lost, reckoning.missing.len()), (1, 1));
        assert!(settled(&resets, &[], 2).is_even());
    }

    #[test]
    fn a_close_that_was_told_stands_for_the_resets_after_it() {
        let resets = [(5_000, Direction::Sent, true)];
        let reckoning = settled(&resets, &[event("a", 1, 4_900, Kind::Close)], 0);
        assert!(reckoning.is_even(), "{reckoning:?}");
        assert_eq!(reckoning.told_by_close, 1);
        let before = settled(&resets, &[event("a", 1, 6_100, Kind::Close)], 0);
        assert_eq!(before.missing.len(), 1, "{before:?}");
    }

    #[test]
    fn a_reset_that_was_told_stands_for_the_answers_after_it() {
        let lives = [life(0, 1_000_000, End::Asked)];
        let after = |first, second: u64, answers: bool| {
            let direction = if first == SENT {
                Direction::Sent
            } else {
                Direction::Received
            };
            let resets = [(5_000, direction, true), (second, Direction::Sent, true)];
            let mut account = account(1, &resets);
            account.resets[1].answers = answers;
            let told = [event("a", 1, 5_000, first)];
            reckon(&[account], &told, &lives, &BTreeMap::new())
        };
        let even = |second, answers| after(SENT, second, answers);
        let reckoning = even(5_001, true);
        assert!(reckoning.is_even(), "{reckoning:?}");
        assert_eq!((reckoning.told, reckoning.told_by_reset), (1, 1));
        let received = after(RECEIVED, 60_000, true);
        assert!(received.is_even(), "{received:?}");
        assert_eq!((received.told, received.told_by_reset), (1, 1));
        // One that a socket sent by itself has an event of its own, and so has a late one.
        assert_eq!(even(5_001, false).missing.len(), 1);
        assert_eq!(even(126_000, true).missing.len(), 1);
    }

    #[test]
    fn what_the_kernel_ignored_need_not_be_told() {
        let resets = [
            (4_500, Direction::Received, false),
            (5_000, Direction::Received, true),
        ];
        let reckoning = settled(&resets, &[event("a", 1, 5_000, RECEIVED)], 0);
        assert!(reckoning.is_even(), "{reckoning:?}");
        assert_eq!((reckoning.told, reckoning.without_effect), (1, 1));
    }

    #[test]
    fn nobody_tells_of_what_nobody_watched() {
        let lives = [
            life(0, 10_000, End::Killed),
            life(20_000, 30_000, End::Asked),
        ];
        let fates = |ms| {
            let account = account(1, &[(ms, Direction::Sent, true)]);
            reckon(&[account], &[], &lives, &BTreeMap::new())
        };
        assert_eq!(fates(5_000).missing.len(), 1);
        assert_eq!(fates(9_000).in_hand, 1);
        assert_eq!(fates(10_300).at_the_edge, 1);
        assert_eq!(fates(15_000).unwatched, 1);
        assert_eq!(fates(20_200).at_the_edge, 1);
        assert_eq!(fates(29_000).missing.len(), 1);
    }

    #[test]
    fn an_event_belongs_to_the_connection_that_had_begun() {
        let mut first = account(1, &[(5_000, Direction::Received, true)]);
        let mut second = first.clone();
        (first.began, second.began) = (at(1_000), at(20_000));
        second.resets[0].at = at(25_000);
        let lives = [life(0, 100_000, End::Asked)];
        let told = [event("a", 1, 5_000, RECEIVED)];
        let reckoning = reckon(&[first, second], &told, &lives, &BTreeMap::new());
        assert_eq!((reckoning.told, reckoning.missing.len()), (1, 1));
    }
}
