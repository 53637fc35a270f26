//! Between which two silences the timer lies.

use std::time::Duration;

use super::rung::Rung;

/// Chance that a connection dies of something else than the timer that is looked
/// for, such as a broker's own decision.
const STRAY_DEATH: f64 = 0.005;

/// Chance that only some of the connections pass the device, as with several
/// equal paths of which one has it.
const SOME_PATHS: f64 = 0.05;

/// More connections than any round has.
const MOST: usize = 1_000;

/// A silence that is longer by this factor is clearly above a timer.
pub(super) const BEYOND: f64 = 1.05;

/// What the connections so far say of the timer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bracket {
    /// The longest silence below the timer that a connection came through.
    pub survived: Option<Duration>,
    /// The shortest silence that a connection died of; `None` if none did.
    pub died: Option<Duration>,
    /// The shortest silence that a connection died of for no reason that is known:
    /// not of the timer.
    pub stray: Option<Duration>,
    /// How exactly `died` itself is known.
    pub blur: Duration,
    /// Connections that died of silences from `died` on.
    pub deaths: usize,
    /// Connections that came through silences clearly above `died`.
    pub survivors: usize,
    /// Connections that came through silences above `died`, if only a little: the
    /// timer is coarse, or they passed beside the device.
    pub passed: usize,
}

/// A silence and whether the connection died of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The least that the wire can have been silent.
    pub least: Duration,
    /// The most.
    pub most: Duration,
    /// Whether the connection was dead then.
    pub died: bool,
}

/// The samples of `rungs`; those that say nothing of a timer are left out.
pub fn samples(rungs: &[Rung]) -> Vec<Sample> {
    rungs
        .iter()
        .filter_map(|rung| {
            Some(Sample {
                least: rung.silent.least,
                most: rung.silent.most,
                died: rung.outcome.died()?,
            })
        })
        .collect()
}

/// Finds the step from surviving to dying that explains `samples` best.
///
/// Where one connection died for another reason, or some pass beside the device,
/// no step explains all; the likeliest is taken.
#[must_use]
pub fn bracket(samples: &[Sample]) -> Bracket {
    let steps = samples.iter().filter(|it| it.died).map(|it| it.most);
    let likeliest = steps
        .map(|step| (surprise(samples, Some(step)), Some(step)))
        .chain([(surprise(samples, None), None)])
        .min_by(|(a, one), (b, other)| {
            // Of two as likely, the shorter one: it is the one to be careful about.
            a.total_cmp(b)
                .then_with(|| one.is_none().cmp(&other.is_none()))
                .then_with(|| one.cmp(other))
        });
    let died = likeliest.and_then(|(_, step)| step);
    let beyond = |it: &&Sample| died.is_some_and(|died| it.most >= died);
    let mut lived: Vec<Duration> = samples
        .iter()
        .filter(|it| !it.died && died.is_none_or(|died| it.least < died))
        .map(|it| it.least)
        .collect();
    lived.sort_unstable();
    let mut found = Bracket {
        survived: None,
        died,
        stray: samples
            .iter()
            .filter(|it| it.died && died.is_none_or(|died| it.most < died))
            .map(|it| it.most)
            .min(),
        blur: samples
            .iter()
            .filter(|it| it.died && Some(it.most) == died)
            .map(|it| it.most.saturating_sub(it.least))
            .min()
            .unwrap_or_default(),
        deaths: samples.iter().filter(|it| it.died).filter(beyond).count(),
        survivors: samples
            .iter()
            .filter(|it| !it.died && died.is_some_and(|died| it.least > died.mul_f64(BEYOND)))
            .count(),
        passed: samples
            .iter()
            .filter(|it| !it.died && died.is_some_and(|died| it.least > died))
            .count(),
    };
    if let Some(stray) = found.stray.filter(|_| found.passed > 0) {
        // The device may have been the reason for that one, too.
        lived.retain(|it| *it < stray);
    }
    found.survived = lived.iter().rev().nth(found.doubted()).copied();
    found
}

/// How unlikely the samples are if the timer is right below `step`; in nats.
fn surprise(samples: &[Sample], step: Option<Duration>) -> f64 {
    // A survivor contradicts the step only if it was surely silent for longer.
    let beyond = |it: &&Sample| {
        step.is_some_and(|step| {
            if it.died {
                it.most >= step
            } else {
                it.least > step
            }
        })
    };
    let count = |died: bool| {
        let all = samples.iter().filter(beyond).filter(|it| it.died == died);
        f64::from(u32::try_from(all.count()).unwrap_or(u32::MAX))
    };
    let stray = samples.iter().filter(|it| it.died && !beyond(it)).count();
    let stray = f64::from(u32::try_from(stray).unwrap_or(u32::MAX)) * -STRAY_DEATH.ln();
    let (died, survived) = (count(true), count(false));
    if survived == 0.0 {
        return stray;
    }
    let all = died + survived;
    let share = |part: f64| -part * (part / all).ln();
    stray - SOME_PATHS.ln() + share(survived) + if died > 0.0 { share(died) } else { 0.0 }
}

impl Bracket {
    /// Its width, from nothing if no silence is known to survive.
    #[must_use]
    pub fn width(&self) -> Option<Duration> {
        Some(self.died?.saturating_sub(self.survived.unwrap_or_default()))
    }

    /// How many connections right below `died` can have lived only because they
    /// passed beside the device, as those above it did, but for a chance of one in a
    /// hundred.
    fn doubted(&self) -> usize {
        if self.passed == 0 {
            return 0;
        }
        let all = self.deaths + self.passed;
        let beside = share_at_most(self.passed, all);
        let mut chance = beside;
        let mut row = 0;
        while chance > 0.01 && row < MOST {
            chance *= beside;
            row += 1;
        }
        row
    }

    /// Whether only some of the connections pass the device: too many came through
    /// a silence that killed others to be chance.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        let are_some = self.survivors >= 2 || self.survivors == 1 && self.passed >= 3;
        are_some && self.passed * 10 >= self.deaths
    }
}

/// The largest share that `part` of `all` may stand for, but for a chance of one
/// in twenty: the upper end of the interval of Agresti and Coull (1998).
///
/// A handful of connections says little of the share itself: of two equal paths
/// one may well have got four connections of fourteen.
fn share_at_most(part: usize, all: usize) -> f64 {
    const ONE_IN_TWENTY: f64 = 1.645;
    let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let squared = ONE_IN_TWENTY * ONE_IN_TWENTY;
    let all = number(all) + squared;
    let share = (number(part) + squared / 2.0) / all;
    let deviation = (share * (1.0 - share) / all).sqrt();
    ONE_IN_TWENTY.mul_add(deviation, share).min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(seconds: f64, died: bool) -> Sample {
        let silence = Duration::from_secs_f64(seconds);
        Sample {
            least: silence,
            most: silence,
            died,
        }
    }

    fn bracket_of(alive: &[f64], dead: &[f64]) -> (Option<f64>, Option<f64>) {
        let alive = alive.iter().map(|it| sample(*it, false));
        let samples: Vec<_> = alive
            .chain(dead.iter().map(|it| sample(*it, true)))
            .collect();
        let found = bracket(&samples);
        let seconds = |it: Option<Duration>| it.map(|it| it.as_secs_f64());
        (seconds(found.survived), seconds(found.died))
    }

    #[test]
    fn nothing_died() {
        assert_eq!(bracket_of(&[10.0, 20.0], &[]), (Some(20.0), None));
        assert_eq!(bracket(&[]), Bracket::default());
    }

    #[test]
    fn a_stray_death_is_no_timer() {
        let alive = [10.0, 15.0, 30.0, 60.0, 120.0, 240.0, 340.0];
        let found = bracket_of(&alive, &[20.0, 360.0, 380.0]);
        assert_eq!(found, (Some(340.0), Some(360.0)));
        assert_eq!(bracket_of(&alive, &[20.0]), (Some(340.0), None));
    }

    #[test]
    fn a_device_on_one_of_two_paths_is_found() {
        let alive = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 12.0, 14.0, 16.0];
        let dead = [11.0, 13.0, 15.0, 17.0];
        // Three of seven pass beside it, so up to seven of ten may: all of those that
        // lived may have, too.
        assert_eq!(bracket_of(&alive, &dead), (None, Some(11.0)));
        let samples: Vec<_> = alive
            .iter()
            .map(|it| sample(*it, false))
            .chain(dead.iter().map(|it| sample(*it, true)))
            .collect();
        assert!(bracket(&samples).is_partial());
    }

    #[test]
    fn a_run_of_connections_beside_the_device_is_not_taken_for_survival() {
        // The timer is 6 s on one of two equal paths; by chance the five that came
        // right after it and four of the rest passed beside it.
        let alive = [
            2.0, 3.0, 4.0, 5.0, 5.5, 6.01, 6.02, 6.03, 6.04, 6.05, 7.0, 8.0, 9.0, 10.0,
        ];
        let dead = [
            6.06, 6.5, 7.5, 8.5, 9.5, 10.5, 11.0, 11.2, 11.4, 11.6, 11.8, 12.0,
        ];
        let (survived, died) = bracket_of(&alive, &dead);
        assert_eq!(died, Some(6.06));
        assert!(survived.is_none_or(|it| it < 6.0), "{survived:?}");
    }

    #[test]
    fn a_few_that_came_through_right_above_others_are_doubted_as_well() {
        // The timer is 6 s; nothing was tried clearly above it yet.
        let alive = [2.0, 3.0, 4.0, 5.0, 6.1, 6.2];
        let (survived, died) = bracket_of(&alive, &[6.15, 6.17, 6.3, 6.31]);
        assert_eq!(died, Some(6.15));
        assert!(survived.is_none_or(|it| it < 6.0), "{survived:?}");
    }

    #[test]
    fn a_share_of_few_is_known_less_exactly() {
        for (part, all) in [(1, 2), (4, 14), (12, 24), (400, 1_400)] {
            let at_most = share_at_most(part, all);
            #[expect(clippy::cast_precision_loss, reason = "small counts")]
            let seen = part as f64 / all as f64;
            assert!(
                seen < at_most && at_most <= 1.0,
                "{part} of {all}: {at_most}"
            );
        }
        assert!(share_at_most(4, 14) > 0.45);
        assert!(share_at_most(400, 1_400) < 0.31);
    }

    proptest! {
        #[test]
        fn the_timer_lies_in_the_bracket(
            timer in 1.0..1_000.0_f64,
            silences in proptest::collection::vec(0.5..1_500.0_f64, 0..64),
        ) {
            let samples: Vec<_> = silences.iter().map(|it| sample(*it, *it >= timer)).collect();
            let found = bracket(&samples);
            if let Some(survived) = found.survived {
                prop_assert!(survived.as_secs_f64() < timer + 1e-6);
            }
            prop_assert_eq!(found.died.is_some(), silences.iter().any(|it| *it >= timer));
            if let Some(died) = found.died {
                prop_assert!(died.as_secs_f64() > timer - 1e-6);
            }
            prop_assert_eq!(found.survivors, 0);
        }
    }
}
