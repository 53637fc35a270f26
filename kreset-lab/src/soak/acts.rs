//! Resets of every cause, at random: the cases of the accuracy matrix, one after the other.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use fastrand::Rng;

use super::faults::pause;
use crate::{
    Moment, Side, Stop,
    case::{self, Case, Testbed},
    error::{Error, Result},
    judge::Expected,
    trace::follow::{Connection, Direction},
    util::lock::lock,
};

/// Ends that a case left open stay so for as long.
const KEPT: Duration = Duration::from_secs(5);

/// What was done.
#[derive(Debug, Default)]
pub struct Journal {
    /// Cases that ran to their end.
    pub done: u64,
    /// Those that went otherwise than they should have, and the first few reasons.
    pub failed: u64,
    /// Why some of them did.
    pub reasons: Vec<String>,
    /// Which port a case used, and when.
    used: Vec<(String, u16, Moment, Moment)>,
    /// Resets that the lab caused: the host that got them, the client's port, and when.
    caused: Vec<Caused>,
}

#[derive(Clone, Copy, Debug)]
struct Caused {
    victim: Side,
    port: u16,
    from: Moment,
    to: Moment,
}

impl Journal {
    fn note(&mut self, case: &Case, from: Moment, acted: Result<Vec<Expected>>) {
        const REASONS: usize = 10;
        match acted {
            Ok(all) => {
                self.done += 1;
                let to = Moment::now();
                for expected in all {
                    self.used.push((case.id.clone(), expected.port, from, to));
                    let resets = expected.resets.iter().flatten();
                    self.caused.extend(resets.map(|(victim, _)| Caused {
                        victim: *victim,
                        port: expected.port,
                        from,
                        to,
                    }));
                }
            }
            // Cut short.
            Err(Error::Stopped) => {}
            Err(error) => {
                self.failed += 1;
                if self.reasons.len() < REASONS {
                    self.reasons.push(format!("{}: {error}", case.id));
                }
            }
        }
    }

    /// Resets that the lab caused and the tap did not see.
    pub fn unseen(&self, connections: &[Connection]) -> Vec<String> {
        let mut seen: BTreeMap<(Side, u16), Vec<Moment>> = BTreeMap::new();
        for connection in connections {
            let resets = connection.resets.iter();
            let received = resets.filter(|reset| reset.direction == Direction::Received);
            seen.entry((connection.flow.host, connection.flow.client.port()))
                .or_default()
                .extend(received.map(|reset| reset.at));
        }
        let is_seen = |caused: &Caused| {
            let times = seen.get(&(caused.victim, caused.port));
            times.is_some_and(|times| {
                times
                    .iter()
                    .any(|at| (caused.from..=caused.to).contains(at))
            })
        };
        let unseen = self.caused.iter().filter(|caused| !is_seen(caused));
        unseen
            .map(|caused| format!("port {} of the {}", caused.port, caused.victim))
            .collect()
    }

    /// The case that used a client's port at a time, if it ran to its end.
    pub fn case_of(&self, port: u16, at: Moment) -> Option<&str> {
        let mut used = self.used.iter();
        let found = used.find(|(_, used, from, to)| *used == port && (*from..=*to).contains(&at));
        found.map(|(case, ..)| case.as_str())
    }

    /// Resets that the lab knows it caused.
    pub const fn caused(&self) -> usize {
        self.caused.len()
    }
}

/// Acts cases out until `stop`, each drawn from `cases`.
pub(crate) fn act(
    testbed: &Testbed<'_>,
    cases: &[Case],
    rng: &mut Rng,
    journal: &Mutex<Journal>,
    stop: &Stop,
) {
    while stop.sleep(pause(rng, 0..2)).is_ok() {
        let Some(case) = rng.choice(cases) else {
            return;
        };
        let from = Moment::now();
        let acted = case::play_one(testbed, case, rng.u64(..));
        lock(journal).note(case, from, acted);
        testbed.release(KEPT);
    }
}
