//! What the observations come to.

use std::collections::BTreeMap;

use super::observation::{Observation, Outcome, SURE};

/// What a tracer has to reach on the cases held out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bars {
    /// Least share of right ones among the decided.
    pub(crate) right: f64,
    /// Greatest share of abstentions among those that one host can decide.
    pub(crate) abstained: f64,
    /// Greatest part of the calibration error by which more was stated than observed. The rest is
    /// wanted: a verdict keeps a part for causes that no drawn case has.
    pub(crate) overconfidence: f64,
}

/// The bars of a release.
pub(crate) const BARS: Bars = Bars {
    right: 0.99,
    abstained: 0.05,
    overconfidence: 0.01,
};

/// Counts over some of the observations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Score {
    counts: BTreeMap<Outcome, usize>,
    /// Wrong, or sure where one host cannot be, with a confidence of [`SURE`] or more.
    pub(crate) wrong_and_sure: usize,
    /// Stated and observed confidence.
    pub(crate) calibration: Calibration,
    /// The same of what one host can decide.
    pub(crate) of_decidable: Calibration,
}

impl Score {
    /// Counts.
    pub(crate) fn of<'a, I: Iterator<Item = &'a Observation>>(observations: I) -> Self {
        let mut score = Self::default();
        for one in observations {
            *score.counts.entry(one.outcome).or_default() += 1;
            let bad = matches!(one.outcome, Outcome::Wrong | Outcome::Overconfident);
            if bad && one.is_sure() {
                score.wrong_and_sure += 1;
            }
            if one.is_named()
                && let Some(confidence) = one.confidence
            {
                score.calibration.add(confidence, one.right);
                if one.decidable {
                    score.of_decidable.add(confidence, one.right);
                }
            }
        }
        score
    }

    /// How many came to this.
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.counts.get(&outcome).copied().unwrap_or_default()
    }

    /// Labels that one host can decide.
    pub(crate) fn decidable(&self) -> usize {
        [
            Outcome::Right,
            Outcome::Wrong,
            Outcome::Abstained,
            Outcome::Missed,
        ]
        .map(|outcome| self.count(outcome))
        .iter()
        .sum()
    }

    /// Share of right ones among the decided; what was missed counts as wrong.
    pub(crate) fn right(&self) -> f64 {
        let decided = self.decidable() - self.count(Outcome::Abstained);
        share(self.count(Outcome::Right), decided)
    }

    /// Share of abstentions among those that one host can decide.
    pub(crate) fn abstained(&self) -> f64 {
        share(self.count(Outcome::Abstained), self.decidable().max(1))
    }

    /// Which bars are missed, in words.
    pub(crate) fn missed(&self, bars: Bars) -> Vec<String> {
        let mut missed = Vec::new();
        if self.right() < bars.right {
            missed.push(format!(
                "{} of the decided are right, {} are wanted",
                percent(self.right()),
                percent(bars.right)
            ));
        }
        if self.wrong_and_sure > 0 {
            missed.push(format!(
                "{} wrong at a confidence of {SURE} or more",
                self.wrong_and_sure
            ));
        }
        if self.abstained() > bars.abstained {
            missed.push(format!(
                "{} abstained, {} are the most",
                percent(self.abstained()),
                percent(bars.abstained)
            ));
        }
        let error = self.calibration.overconfidence();
        if error > bars.overconfidence {
            missed.push(format!(
                "{error:.3} more confidence stated than observed, {} is the most",
                bars.overconfidence
            ));
        }
        let noise = self.count(Outcome::Noise);
        if noise > 0 {
            missed.push(format!("{noise} events where there should be none"));
        }
        missed
    }
}

/// Lower bounds of the buckets of stated confidence.
pub(crate) const BUCKETS: [f64; 8] = [0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];

/// Stated against observed confidence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calibration {
    buckets: [Bucket; BUCKETS.len()],
}

/// What was said with about the same confidence.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// How many.
    pub(crate) count: usize,
    /// How many of them were right.
    pub(crate) right: usize,
    sum: f64,
}

impl Bucket {
    /// The mean confidence stated.
    pub(crate) fn stated(&self) -> f64 {
        self.sum / real(self.count)
    }

    /// The share that was right.
    pub(crate) fn observed(&self) -> f64 {
        share(self.right, self.count)
    }
}

impl Calibration {
    fn add(&mut self, confidence: f64, right: bool) {
        let above = BUCKETS.iter().filter(|bound| confidence >= **bound).count();
        if let Some(bucket) = self.buckets.get_mut(above.saturating_sub(1)) {
            bucket.count += 1;
            bucket.right += usize::from(right);
            bucket.sum += confidence;
        }
    }

    /// Each bucket's lower bound, and what is in it.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (f64, &Bucket)> {
        BUCKETS.into_iter().zip(&self.buckets)
    }

    /// The expected calibration error: how far what was stated is from what was observed, over
    /// the buckets by their size.
    pub(crate) fn error(&self) -> f64 {
        self.over_buckets(f64::abs)
    }

    /// The part of it by which more was stated than observed.
    pub(crate) fn overconfidence(&self) -> f64 {
        self.over_buckets(|error| error.max(0.0))
    }

    fn over_buckets(&self, error: impl Fn(f64) -> f64) -> f64 {
        let total: usize = self.buckets.iter().map(|bucket| bucket.count).sum();
        let filled = self.buckets.iter().filter(|bucket| bucket.count > 0);
        filled
            .map(|bucket| share(bucket.count, total) * error(bucket.stated() - bucket.observed()))
            .sum()
    }
}

/// 0 of 0 is all of them: none failed.
pub(crate) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        return 1.0;
    }
    real(part) / real(whole)
}

fn real(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// With one decimal.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(outcome: Outcome, confidence: f64) -> Observation {
        Observation {
            case: String::new(),
            port: 40_000,
            host: "client",
            held_out: true,
            unseen: false,
            decidable: true,
            truth: "a/b".to_owned(),
            said: Some("a/b".to_owned()),
            confidence: Some(confidence),
            right: outcome == Outcome::Right,
            outcome,
            event: None,
        }
    }

    #[test]
    fn who_is_right_as_often_as_stated_has_no_error() {
        let mut all = vec![said(Outcome::Right, 0.75); 3];
        all.push(said(Outcome::Wrong, 0.75));
        let score = Score::of(all.iter());
        assert!(score.calibration.error() < 1e-9);
        assert!((score.right() - 0.75).abs() < 1e-9);
        assert_eq!(score.wrong_and_sure, 0);
    }

    #[test]
    fn who_states_less_than_is_observed_misses_no_bar() {
        let score = Score::of([said(Outcome::Right, 0.85)].iter());
        assert!((score.calibration.error() - 0.15).abs() < 1e-9);
        assert_eq!(score.missed(BARS), [""; 0]);
    }

    #[test]
    fn who_is_sure_and_wrong_misses_every_bar() {
        let all = [said(Outcome::Wrong, 0.95), said(Outcome::Right, 0.95)];
        let score = Score::of(all.iter());
        assert_eq!(score.missed(BARS).len(), 3);
    }

    #[test]
    fn silence_about_a_reset_is_as_bad_as_a_wrong_name() {
        let mut missed = said(Outcome::Missed, 0.0);
        (missed.said, missed.confidence) = (None, None);
        let all = [missed, said(Outcome::Right, 1.0)];
        assert!((Score::of(all.iter()).right() - 0.5).abs() < 1e-9);
    }
}
