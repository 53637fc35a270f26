//! Whether each sink got every event.

use std::{collections::BTreeSet, time::Duration};

use super::reconcile::{End, Life};
use crate::Moment;

/// How long a sink may hold an event before its file or spool has it. Where a machine is busy the
/// lab waits for a spool to have it before it kills a tracer.
pub const IN_MEMORY: Duration = Duration::from_secs(2);

/// A sink that fails tries again after half a minute at most, and the machine may be busy.
const TRIED_AGAIN: Duration = Duration::from_secs(35);

/// An event of any type, as some sink has it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its id.
    pub id: String,
    /// When what it is about happened, as it says.
    pub at: Moment,
    /// When the lab heard it on standard output: on a busy machine long after that.
    pub heard: Moment,
}

/// What became of the events of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Those that it has.
    pub delivered: u64,
    /// Not there, and the tracer counted as many as lost.
    pub lost: u64,
    /// Not there: the tracer was killed with them in its memory. The sink has none that came
    /// after them.
    pub in_memory: u64,
    /// Not there: the tracer was ended while the sink was full.
    pub when_full: u64,
    /// Not there, for no known reason.
    pub missing: Vec<String>,
}

/// Whether each of these receivers has all of these events, of which there are some.
pub fn is_delivered(sent: &[Sent], receivers: &[BTreeSet<String>]) -> bool {
    let has_it = |event: &Sent| receivers.iter().all(|has| has.contains(&event.id));
    !sent.is_empty() && sent.iter().all(has_it)
}

/// What keeps a tracer's events while its sink cannot deliver them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// A spool, in which the lab looked before it killed.
    Spool,
    /// Its memory.
    Memory,
}

/// Looks for every event of a host's tracers in one of their sinks. `full` is when that
/// sink was full, and `lost` what the tracers counted.
pub fn balance(
    sent: &[Sent],
    has: &BTreeSet<String>,
    lives: &[Life],
    keeps: Keeps,
    full: &[(Moment, Moment)],
    mut lost: u64,
) -> Balance {
    let mut balance = Balance::default();
    // A sink has its events in order: none comes after one that was in memory at the end.
    let last = |life: &Life| {
        let of_it = sent.get(life.events.clone()).unwrap_or_default();
        let last = of_it.iter().rposition(|event| has.contains(&event.id));
        last.map(|index| life.events.start + index)
    };
    let lasts: Vec<_> = lives.iter().map(last).collect();
    for (index, event) in sent.iter().enumerate() {
        let place = lives.iter().position(|life| life.events.contains(&index));
        let life = place.and_then(|place| lives.get(place));
        let last = place.and_then(|place| lasts[place]);
        let killed = life.is_some_and(|life| {
            let was_in_memory = match keeps {
                Keeps::Spool => index >= life.firm,
                Keeps::Memory => life.until.since(event.heard) <= IN_MEMORY,
            };
            life.how == End::Killed && was_in_memory && last.is_none_or(|last| index > last)
        });
        let when_full = life.is_some_and(|life| {
            full.iter().any(|(from, to)| {
                *from <= life.until
                    && life.until.since(*to) <= TRIED_AGAIN
                    && from.since(event.at) <= IN_MEMORY
            })
        });
        if has.contains(&event.id) {
            balance.delivered += 1;
        } else if killed {
            balance.in_memory += 1;
        } else if when_full {
            balance.when_full += 1;
        } else if lost > 0 {
            lost -= 1;
            balance.lost += 1;
        } else {
            let life = life.map_or_else(
                || "outside of every life".to_owned(),
                |life| {
                    format!(
                        "heard {:.1} s before its tracer was {}",
                        life.until.since(event.heard).as_secs_f64(),
                        match life.how {
                            End::Asked => "asked to end",
                            End::Killed => "killed",
                        }
                    )
                },
            );
            balance
                .missing
                .push(format!("{} of {}, {life}", event.id, event.at));
        }
    }
    balance
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::Side;

    const fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000_000)
    }

    /// Two tracers: one that was killed after 100 s, and one that was asked after 200 s. Each
    /// reported one event, and the first one's was in its spool if `firm`.
    fn lives(firm: bool, by_second: bool) -> [Life; 2] {
        let life = |began, until, how, events: Range<usize>| Life {
            host: Side::Client,
            began: at(began),
            watching: at(began + 1),
            until: at(until),
            ended: at(until + 5),
            how,
            reported_until: at(until),
            firm: events.start + usize::from(firm),
            events,
        };
        let border = usize::from(!by_second);
        [
            life(0, 100, End::Killed, 0..border),
            life(105, 200, End::Asked, border..1),
        ]
    }

    fn balance_of(seconds: u64, has: bool, full: &[(u64, u64)], lost: u64) -> Balance {
        let sent = [sent(seconds, seconds)];
        let has = has.then(|| "a".to_owned()).into_iter().collect();
        let full: Vec<_> = full.iter().map(|(from, to)| (at(*from), at(*to))).collect();
        let lives = lives(false, seconds > 100);
        balance(&sent, &has, &lives, Keeps::Memory, &full, lost)
    }

    fn sent(happened: u64, heard: u64) -> Sent {
        Sent {
            id: "a".to_owned(),
            at: at(happened),
            heard: at(heard),
        }
    }

    #[test]
    fn what_is_there_is_delivered() {
        assert_eq!(balance_of(50, true, &[], 0).delivered, 1);
    }

    #[test]
    fn what_is_not_there_is_missing_unless_it_was_counted() {
        let missing = balance_of(50, false, &[], 0).missing;
        assert!(missing[0].ends_with("heard 50.0 s before its tracer was killed"));
        assert_eq!(balance_of(199, false, &[], 0).missing.len(), 1);
        assert_eq!(balance_of(50, false, &[], 1).lost, 1);
    }

    #[test]
    fn what_a_killed_tracer_held_is_excused_and_nothing_before() {
        assert_eq!(balance_of(99, false, &[], 0).in_memory, 1);
        assert_eq!(balance_of(95, false, &[], 0).missing.len(), 1);
    }

    /// On a busy machine a tracer tells what happened many seconds ago.
    #[test]
    fn what_a_killed_tracer_reported_late_was_in_its_memory_since_then() {
        let balance = |happened, heard| {
            let has = BTreeSet::new();
            let lives = lives(false, false);
            balance(
                &[sent(happened, heard)],
                &has,
                &lives,
                Keeps::Memory,
                &[],
                0,
            )
        };
        assert_eq!(balance(80, 99).in_memory, 1);
        assert_eq!(balance(80, 95).missing.len(), 1);
    }

    /// On a starved machine a spool got its events minutes after standard output did.
    #[test]
    fn what_a_spool_had_when_its_tracer_was_killed_is_due_however_late_that_was() {
        let balance = |heard, firm| {
            let (has, lives) = (BTreeSet::new(), lives(firm, false));
            balance(&[sent(heard, heard)], &has, &lives, Keeps::Spool, &[], 0)
        };
        assert_eq!(balance(20, false).in_memory, 1);
        assert_eq!(balance(99, false).in_memory, 1);
        assert_eq!(balance(20, true).missing.len(), 1);
        assert_eq!(balance(99, true).missing.len(), 1);
    }

    #[test]
    fn what_is_missing_before_an_event_that_is_there_was_not_in_memory() {
        for keeps in [Keeps::Spool, Keeps::Memory] {
            let events = ["a", "b", "c"].map(|id| Sent {
                id: id.to_owned(),
                ..sent(99, 99)
            });
            let has = BTreeSet::from(["b".to_owned()]);
            let [mut killed, _] = lives(false, false);
            killed.events = 0..3;
            let balance = balance(&events, &has, &[killed], keeps, &[], 0);
            assert_eq!((balance.delivered, balance.in_memory), (1, 1), "{keeps:?}");
            assert!(balance.missing[0].starts_with("a of"), "{balance:?}");
        }
    }

    #[test]
    fn what_one_receiver_lacks_is_not_delivered() {
        let has = |ids: &[&str]| {
            ids.iter()
                .map(|id| (*id).to_owned())
                .collect::<BTreeSet<_>>()
        };
        let sent = [sent(199, 199)];
        assert!(is_delivered(&sent, &[has(&["a", "b"]), has(&["a"])]));
        assert!(!is_delivered(&sent, &[has(&["a"]), has(&["b"])]));
        assert!(!is_delivered(&[], &[has(&["a"])]), "nothing was said yet");
    }

    #[test]
    fn a_full_disk_excuses_what_came_then_if_the_tracer_ended() {
        assert_eq!(balance_of(190, false, &[(185, 195)], 0).when_full, 1);
        assert_eq!(balance_of(180, false, &[(185, 195)], 0).missing.len(), 1);
        // Long before the end: it was tried again.
        assert_eq!(balance_of(125, false, &[(120, 130)], 0).missing.len(), 1);
    }
}
