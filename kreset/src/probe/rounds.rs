//! The silences of the rounds after the first.

use std::time::Duration;

use super::bracket::Bracket;

/// The finest that is asked for: what timers of user space keep on a busy host.
const FINEST: Duration = Duration::from_millis(20);

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
/// connections. The last one is the silence that was fatal, once more. `copies` connections are spent on each silence.
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
    if width <= precision {
        return None;
    }
    // Silences come out a little longer than planned: steps shorter than what is
    // asked for save a round.
    let step = precision.mul_f64(0.7);
    let wanted = width.as_nanos().div_ceil(step.as_nanos());
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let steps = wanted.min(connections / copies.max(1)).max(2);
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
