//! Medians, ratios and how far they can be trusted. Pure.

/// How often the rounds are drawn anew for an interval.
const DRAWS: usize = 2_000;

/// A median, and the interval that holds it with 95% confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Median.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// The median of `values`, with its bootstrap interval (percentile method). `None` of nothing.
    pub fn of(values: &[f64]) -> Option<Self> {
        let median_of = |values: &mut [f64]| quantile(values, 0.5);
        let median = median_of(&mut values.to_vec())?;
        // Seeded: the same samples always give the same interval.
        let mut random = fastrand::Rng::with_seed(1);
        let mut medians = Vec::with_capacity(DRAWS);
        let mut drawn = vec![0.0; values.len()];
        for _ in 0..DRAWS {
            for slot in &mut drawn {
                *slot = values[random.usize(..values.len())];
            }
            medians.extend(median_of(&mut drawn));
        }
        Some(Self {
            median,
            low: quantile(&mut medians, 0.025)?,
            high: quantile(&mut medians, 0.975)?,
        })
    }

    /// Whether the interval holds `value`.
    pub fn holds(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// The `share` quantile, interpolated; sorts `values`. `None` of nothing.
pub fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = share.clamp(0.0, 1.0) * last as f64;
    let (below, rest) = (at.floor(), at.fract());
    let low = values[below as usize];
    let high = values[last.min(below as usize + 1)];
    Some((high - low).mul_add(rest, low))
}

/// `samples` over `base`, round by round: what a round's moment does to both cancels out.
pub fn ratios(samples: &[f64], base: &[f64]) -> Vec<f64> {
    samples
        .iter()
        .zip(base)
        .filter(|(_, base)| **base > 0.0)
        .map(|(sample, base)| sample / base)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let mut values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&mut values, 0.5), Some(2.5));
        assert_eq!(quantile(&mut values, 0.0), Some(1.0));
        assert_eq!(quantile(&mut values, 1.0), Some(4.0));
        assert_eq!(quantile(&mut [], 0.5), None);
        assert_eq!(quantile(&mut [7.0], 0.99), Some(7.0));
    }

    #[test]
    fn an_interval_holds_its_median_and_shrinks_with_rounds() {
        let noisy = |count: u32| -> Vec<f64> {
            (0..count)
                .map(|round| 100.0 + f64::from(round * 37 % 11))
                .collect()
        };
        let few = Estimate::of(&noisy(5)).expect("samples");
        let many = Estimate::of(&noisy(99)).expect("samples");
        for estimate in [few, many] {
            assert!(estimate.holds(estimate.median), "{estimate:?}");
        }
        assert!(many.high - many.low < few.high - few.low);
        assert_eq!(Estimate::of(&[]), None);
    }

    #[test]
    fn what_both_of_a_round_share_cancels_out() {
        let base = [100.0, 50.0, 200.0];
        let slower = base.map(|value| value * 0.98);
        let estimate = Estimate::of(&ratios(&slower, &base)).expect("samples");
        assert!((estimate.median - 0.98).abs() < 1e-9);
        assert!(estimate.high - estimate.low < 1e-9);
        assert!(!estimate.holds(1.0));
    }
}
