//! Subjects side by side: in each round each of them once, in an order that is drawn anew, so that
//! neither what came before nor the hour favours one.

use anyhow::Result;

use crate::bench::{
    stats::{Estimate, ratios},
    subject::Subject,
};
use crate::util::table::Table;

/// What is read of each sample.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The head of its column.
    name: &'static str,
    /// How many of its unit are one of the column's.
    scale: f64,
}

impl Metric {
    /// One of which `scale` of the sample's unit are one of the column's.
    pub const fn new(name: &'static str, scale: f64) -> Self {
        Self { name, scale }
    }

    /// One that is shown as it is.
    pub const fn plain(name: &'static str) -> Self {
        Self::new(name, 1.0)
    }
}

/// The samples of all subjects.
#[derive(Debug)]
pub struct Comparison {
    metrics: Vec<Metric>,
    /// By subject: rounds, each with its metrics.
    samples: Vec<(Subject, Vec<Vec<f64>>)>,
    /// Who cannot run here, and why.
    unable: Vec<(Subject, String)>,
}

/// The order of one round.
fn order(subjects: &[Subject], random: &mut fastrand::Rng) -> Vec<Subject> {
    let mut order = subjects.to_vec();
    random.shuffle(&mut order);
    order
}

impl Comparison {
    /// Takes `rounds` samples of each of `subjects`. One that cannot run here is not asked again.
    pub fn run(
        metrics: &[Metric],
        subjects: &[Subject],
        rounds: usize,
        mut sample: impl FnMut(Subject) -> Result<Vec<f64>>,
    ) -> Result<Self> {
        let mut comparison = Self {
            metrics: metrics.to_vec(),
            samples: subjects.iter().map(|it| (*it, Vec::new())).collect(),
            unable: Vec::new(),
        };
        let mut random = fastrand::Rng::new();
        for _ in 0..rounds {
            for subject in order(subjects, &mut random) {
                if comparison.unable.iter().any(|(it, _)| *it == subject) {
                    continue;
                }
                match sample(subject) {
                    Ok(values) => comparison.add(subject, values),
                    Err(error) if is_peer(subject) => {
                        comparison.unable.push((subject, format!("{error:#}")));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(comparison)
    }

    fn add(&mut self, subject: Subject, values: Vec<f64>) {
        if let Some((_, rounds)) = self.samples.iter_mut().find(|(it, _)| *it == subject) {
            rounds.push(values);
        }
    }

    /// Metric number `metric` of `subject`, round by round.
    pub fn values(&self, subject: Subject, metric: usize) -> Vec<f64> {
        self.samples
            .iter()
            .filter(|(it, _)| *it == subject)
            .flat_map(|(_, rounds)| rounds)
            .filter_map(|values| values.get(metric).copied())
            .collect()
    }

    /// Metric number `metric` of `subject`.
    pub fn estimate(&self, subject: Subject, metric: usize) -> Option<Estimate> {
        Estimate::of(&self.values(subject, metric))
    }

    /// The same in relation to [`Subject::Off`] of the same round.
    pub fn ratio(&self, subject: Subject, metric: usize) -> Option<Estimate> {
        let base = self.values(Subject::Off, metric);
        Estimate::of(&ratios(&self.values(subject, metric), &base))
    }

    /// How much more metric number `metric` of `subject` is than that of [`Subject::Off`], round by
    /// round.
    pub fn over(&self, subject: Subject, metric: usize) -> Vec<f64> {
        let base = self.values(Subject::Off, metric);
        let values = self.values(subject, metric);
        values
            .iter()
            .zip(base)
            .map(|(value, base)| value - base)
            .collect()
    }

    /// All of it in relation to no tracer: who watches, and each metric as percent more or
    /// less.
    pub fn ratio_table(&self) -> String {
        let names = self.metrics.iter().map(|metric| metric.name);
        let heads: Vec<&str> = std::iter::once("who watches").chain(names).collect();
        let mut table = Table::new(&heads);
        for (subject, rounds) in &self.samples {
            if rounds.is_empty() {
                continue;
            }
            let cells = (0..self.metrics.len()).map(|metric| {
                if *subject == Subject::Off {
                    self.cell(*subject, metric)
                } else {
                    self.ratio(*subject, metric)
                        .map_or_else(String::new, percent)
                }
            });
            table.row(std::iter::once(subject.to_string()).chain(cells));
        }
        self.add_unable(&mut table);
        table.markdown()
    }

    fn cell(&self, subject: Subject, metric: usize) -> String {
        let scale = self.metrics.get(metric).map_or(1.0, |metric| metric.scale);
        self.estimate(subject, metric)
            .map_or_else(String::new, |it| number(it.median / scale))
    }

    /// Adds a row for each of those that cannot run here.
    pub fn add_unable(&self, table: &mut Table) {
        for (subject, reason) in &self.unable {
            table.row([subject.to_string(), format!("not measured: {reason}")]);
        }
    }
}

const fn is_peer(subject: Subject) -> bool {
    !subject.is_kreset() && !matches!(subject, Subject::Off | Subject::OffAgain | Subject::Floor)
}

/// A ratio as percent more or less, with its interval.
pub fn percent(ratio: Estimate) -> String {
    let percent = |value: f64| (value - 1.0) * 100.0;
    format!(
        "{:+.1}% ({:+.1} to {:+.1})",
        percent(ratio.median),
        percent(ratio.low),
        percent(ratio.high)
    )
}

/// A number with three digits that count.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    const METRICS: [Metric; 1] = [Metric::plain("answers/s")];

    #[test]
    fn each_round_has_every_subject_once_in_an_order_of_its_own() {
        let subjects = [Subject::Off, Subject::Kreset, Subject::Tcpdump];
        let mut random = fastrand::Rng::with_seed(7);
        let mut firsts = Vec::new();
        for _ in 0..20 {
            let order = order(&subjects, &mut random);
            for subject in subjects {
                assert_eq!(order.iter().filter(|it| **it == subject).count(), 1);
            }
            if !firsts.contains(&order[0]) {
                firsts.push(order[0]);
            }
        }
        assert_eq!(firsts.len(), 3);
    }

    #[test]
    fn a_peer_that_cannot_run_is_named_and_asked_once() {
        let mut asked = 0;
        let subjects = [Subject::Off, Subject::Kreset, Subject::Tcpstates];
        let comparison = Comparison::run(&METRICS, &subjects, 4, |subject| match subject {
            Subject::Tcpstates => {
                asked += 1;
                bail!("no kernel headers")
            }
            Subject::Off => Ok(vec![1_000.0]),
            _ => Ok(vec![990.0]),
        })
        .expect("it runs");
        assert_eq!(asked, 1);
        let table = comparison.ratio_table();
        assert!(table.contains("| off | 1000 |"), "{table}");
        assert!(
            table.contains("| kreset | -1.0% (-1.0 to -1.0) |"),
            "{table}"
        );
        assert!(
            table.contains("| tcpstates | not measured: no kernel headers |"),
            "{table}"
        );
    }

    #[test]
    fn kreset_that_cannot_run_is_an_error() {
        let subjects = [Subject::Kreset];
        let outcome = Comparison::run(&METRICS, &subjects, 1, |_| bail!("not root"));
        let error = outcome.expect_err("it is no peer");
        assert_eq!(error.to_string(), "not root");
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown: Vec<String> = [0.0, 0.01234, 0.5, 12.34, 51_234.0]
            .into_iter()
            .map(number)
            .collect();
        assert_eq!(shown, ["0", "0.0123", "0.50", "12.3", "51234"]);
    }
}
