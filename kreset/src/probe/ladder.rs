//! The silences of the first round.

use std::time::Duration;

/// How far below and above a known timer a silence is tried, as a share of it.
const BESIDE: f64 = 0.015;

/// Two silences that differ by less than this share need only one connection.
const SAME: f64 = 0.004;

/// `count` silences from `from` to a little above `up_to`, shortest first.
///
/// Each of the `timers` (most important first) gets one silence right below and
/// one right above it, as long as that takes no more than half of the
/// connections. The others go where the gap is widest in proportion, so that a
/// timer of an unlisted device is met as closely as possible.
#[must_use]
pub fn silences(
    from: Duration,
    up_to: Duration,
    count: usize,
    timers: &[Duration],
) -> Vec<Duration> {
    let top = up_to.mul_f64(1.0 + BESIDE);
    let mut all = vec![top];
    if count > 1 {
        all.push(from.min(top));
    }
    for timer in timers {
        let beside = [timer.mul_f64(1.0 - BESIDE), timer.mul_f64(1.0 + BESIDE)];
        let fits = beside.iter().all(|it| (from..=top).contains(it));
        if fits && all.len() + beside.len() <= count / 2 + 2 {
            all.extend(beside);
        }
    }
    sort(&mut all);
    while all.len() < count {
        let Some(at) = widest(&all) else {
            break;
        };
        let (low, high) = (all[at].as_secs_f64(), all[at + 1].as_secs_f64());
        all.insert(at + 1, Duration::from_secs_f64((low * high).sqrt()));
    }
    all
}

fn sort(all: &mut Vec<Duration>) {
    all.sort_unstable();
    all.dedup_by(|next, kept| next.as_secs_f64() <= kept.as_secs_f64() * (1.0 + SAME));
}

/// Where the gap is widest in proportion, unless all are as narrow as they may be.
fn widest(all: &[Duration]) -> Option<usize> {
    let gap = |at: usize| all[at + 1].as_secs_f64() / all[at].as_secs_f64().max(1e-3);
    (0..all.len().saturating_sub(1))
        .max_by(|a, b| gap(*a).total_cmp(&gap(*b)))
        .filter(|at| gap(*at) > SAME.mul_add(2.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(list: &[u64]) -> Vec<Duration> {
        list.iter().copied().map(Duration::from_secs).collect()
    }

    #[test]
    fn known_timers_have_a_silence_on_either_side() {
        let timers = seconds(&[350, 240, 300, 600, 900, 1200]);
        let all = silences(
            Duration::from_secs(10),
            Duration::from_mins(20),
            24,
            &timers,
        );
        assert_eq!(all.len(), 24);
        for timer in timers {
            let below = all.iter().filter(|it| **it < timer).max().unwrap();
            let above = all.iter().filter(|it| **it >= timer).min().unwrap();
            let width = (*above).abs_diff(*below);
            assert!(
                width <= timer.mul_f64(0.031),
                "{timer:?}: {below:?} {above:?}"
            );
        }
    }

    #[test]
    fn few_connections_still_reach_the_limit() {
        let (from, up_to) = (Duration::from_secs(10), Duration::from_mins(20));
        assert_eq!(silences(from, up_to, 1, &[]), [Duration::from_secs(1218)]);
        let two = silences(from, up_to, 2, &seconds(&[350]));
        assert_eq!(two, [from, Duration::from_secs(1218)]);
    }

    proptest! {
        #[test]
        fn silences_rise_from_the_first_to_past_the_limit(
            from in 1_000..60_000_u64,
            longer in 1_000..4_000_000_u64,
            count in 2..64_usize,
            timers in proptest::collection::vec(1..4_000_u64, 0..12),
        ) {
            let from = Duration::from_millis(from);
            let up_to = from + Duration::from_millis(longer);
            let all = silences(from, up_to, count, &seconds(&timers));
            prop_assert!(all.len() <= count.max(2));
            prop_assert!(all.is_sorted());
            prop_assert_eq!(all[0], from);
            prop_assert!(all.last().unwrap() > &up_to);
        }
    }
}
