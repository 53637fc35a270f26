//! The silences of the rounds after the first.

use std::time::Duration;

use super::bracket::{BEYOND, Bracket};

/// The finest that is asked for: what timers of user space keep on a busy host.
const FINEST: Duration = Duration::from_millis(20);

/// Connections for each silence where only some of them pass the device.
const COPIES: usize = 6;

/// So many silences at least: what each of them shows is no point either.
const FEW: usize = 8;

/// How exactly a timer of this length is to be known: as asked, but at most one
/// hundredth of it.
#[must_use]
pub fn precision(asked: Duration, timer: Duration) -> Duration {
    asked.min(timer / 100).max(FINEST)
}

/// The silences of the next round, shortest first; `None` if nothing is left to
/// narrow.
///
/// As many as it takes to narrow the bracket to the precision, or as there are
/// connections. In the first of these rounds, a third of them show clearly above the
/// timer whether all connections pass the device: if some do not, one that lived
/// says little. Nothing else is looked for where a single one died.
#[must_use]
pub fn further(
    bracket: &Bracket,
    asked: Duration,
    connections: usize,
    is_first: bool,
) -> Option<Vec<Duration>> {
    if bracket.is_partial() {
        return next(bracket, asked, connections, COPIES);
    }
    if !is_first {
        return next(bracket, asked, connections, 1);
    }
    let Some(died) = bracket.died else {
        return bracket.stray.map(|stray| beyond(stray, connections));
    };
    let most = connections - connections / 3;
    let mut silences = next(bracket, asked, most, 1).unwrap_or_default();
    silences.extend(beyond(died, connections - silences.len()));
    Some(silences)
}

/// `count` silences clearly above one that was fatal, each of which can be distinguished from
/// the next.
fn beyond(died: Duration, count: usize) -> Vec<Duration> {
    const APART: f64 = 0.005;
    let number = (0..count).map(|it| f64::from(u32::try_from(it).unwrap_or(u32::MAX)));
    number
        .map(|it| died.mul_f64(it.mul_add(APART, BEYOND + APART)))
        .collect()
}

/// The silences of the next round: the last one is that which was fatal, once more.
/// `copies` connections are spent on each silence.
#[must_use]
pub fn next(
    bracket: &Bracket,
    asked: Duration,
    connections: usize,
    copies: usize,
) -> Option<Vec<Duration>> {
    let died = bracket.died?;
    let precision = precision(asked, died);
    let width = bracket.width()?;
    // What a busy host does not know of a connection, another one does not show.
    if width <= precision.max(bracket.blur * 2) {
        return None;
    }
    // Silences come out a little longer than planned: steps shorter than what is
    // asked for save a round.
    let step = precision.mul_f64(0.7);
    let wanted = width.as_nanos().div_ceil(step.as_nanos());
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let steps = wanted.max(FEW).min(connections / copies.max(1)).max(2);
    let low = bracket.survived.unwrap_or_default();
    let part = |number: usize| {
        let share = u32::try_from(number).unwrap_or(u32::MAX);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        low + width.mul_f64(f64::from(share) / f64::from(steps))
    };
    let silences = (1..=steps).map(part);
    Some(
        silences
            .flat_map(|silence| std::iter::repeat_n(silence, copies.max(1)))
            .take(connections)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{
            bracket::{Sample, bracket},
            ladder,
        },
        *,
    };

    /// Connections that a device with this timer is tried with, and the most that
    /// the wait of each round exceeds its silence by.
    fn measure(timer: Duration, connections: usize, asked: Duration) -> (Bracket, u32) {
        let sample = |silence: Duration| Sample {
            least: silence,
            most: silence,
            died: silence >= timer,
        };
        let (from, up_to) = (Duration::from_secs(10), Duration::from_mins(20));
        let mut samples: Vec<_> = ladder::silences(from, up_to, connections, &[])
            .into_iter()
            .map(sample)
            .collect();
        let mut rounds = 1;
        while let Some(silences) = next(&bracket(&samples), asked, connections, 1) {
            rounds += 1;
            samples.extend(silences.into_iter().map(sample));
        }
        (bracket(&samples), rounds)
    }

    #[test]
    fn a_narrow_bracket_needs_no_round() {
        let bracket = Bracket {
            survived: Some(Duration::from_secs(349)),
            died: Some(Duration::from_secs(350)),
            ..Bracket::default()
        };
        let two = Duration::from_secs(2);
        assert_eq!(next(&bracket, two, 24, 1), None);
        assert_eq!(next(&Bracket::default(), two, 24, 1), None);
    }

    #[test]
    fn the_fatal_silence_is_tried_again() {
        let bracket = Bracket {
            survived: Some(Duration::from_secs(340)),
            died: Some(Duration::from_mins(6)),
            ..Bracket::default()
        };
        let silences = next(&bracket, Duration::from_secs(5), 24, 2).unwrap();
        let seconds: Vec<_> = silences.iter().map(Duration::as_secs).collect();
        let each = [342, 345, 347, 350, 352, 355, 357, 360];
        assert_eq!(seconds, each.map(|it| [it, it]).concat());
    }

    /// Draws whether a connection passes beside the device, for a share of them.
    fn beside(seed: &mut u64, share: f64) -> bool {
        // SplitMix64.
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let part = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap();
        f64::from(part) / f64::from(u32::MAX) < share
    }

    /// Measures a timer that some of the connections do not meet.
    fn measure_partly(timer: Duration, share: f64, seed: &mut u64) -> Bracket {
        let (from, up_to) = (Duration::from_secs(10), Duration::from_mins(20));
        let asked = Duration::from_secs(2);
        let mut samples = Vec::new();
        let mut sample = |silence: Duration| Sample {
            least: silence,
            most: silence,
            died: silence >= timer && !beside(seed, share),
        };
        // As soon as one has died, four of those that are as silent are used.
        let mut silences = ladder::silences(from, up_to, 24, &[]).into_iter();
        while let Some(silence) = silences.next() {
            samples.push(sample(silence));
            if samples.iter().any(|it: &Sample| it.died) {
                let as_silent = silence + Duration::from_millis(20);
                let confirming: Vec<_> = silences.by_ref().rev().take(4).collect();
                samples.extend(confirming.into_iter().map(|_| sample(as_silent)));
                if samples.iter().filter(|it| it.died).count() > 1 {
                    break;
                }
            }
        }
        for round in 2..=5 {
            let bracket = bracket(&samples);
            let Some(silences) = further(&bracket, asked, 24, round == 2) else {
                break;
            };
            samples.extend(silences.into_iter().map(&mut sample));
        }
        bracket(&samples)
    }

    #[test]
    fn what_passes_beside_the_device_makes_few_false_claims() {
        const RUNS: usize = 400;
        let mut seed = 1;
        for share in [0.25, 0.5] {
            let (mut found, mut false_claims) = (0, 0);
            for number in 0..RUNS {
                let timer = Duration::from_secs(30 + number as u64 / 2);
                let bracket = measure_partly(timer, share, &mut seed);
                found += usize::from(bracket.died.is_some());
                let is_false = bracket.survived.is_some_and(|it| it >= timer)
                    || bracket.died.is_some_and(|it| it < timer);
                false_claims += usize::from(is_false);
            }
            assert!(found * 100 >= RUNS * 99, "{share}: {found}");
            assert!(false_claims * 100 <= RUNS * 2, "{share}: {false_claims}");
        }
    }

    proptest! {
        #[test]
        fn two_rounds_or_three_find_any_timer(
            timer in 1_000..1_200_000_u64,
            connections in 8..64_usize,
        ) {
            let timer = Duration::from_millis(timer);
            let asked = Duration::from_secs(2);
            let (found, rounds) = measure(timer, connections, asked);
            let died = found.died.unwrap();
            let survived = found.survived.unwrap_or_default();
            prop_assert!(survived < timer && timer <= died);
            prop_assert!(died.saturating_sub(survived) <= precision(asked, died));
            prop_assert!(rounds <= if connections >= 24 { 3 } else { 6 }, "{}", rounds);
        }
    }
}
