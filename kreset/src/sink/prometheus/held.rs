//! Counters whose first increase is seen.
//!
//! `increase()` compares samples: a series that begins at 8 has not increased. A
//! counter made by an event is therefore shown as 0 first, for as long as it takes
//! more than one Prometheus to scrape it.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::{MetricType, TypedMetric},
};

/// How long a new series is shown as 0 after it was first scraped.
const AT_ZERO: Duration = Duration::from_secs(15);

/// A counter that begins at 0 for whoever scrapes it.
#[derive(Debug, Default)]
pub(super) struct HeldCounter {
    count: AtomicU64,
    /// When it was scraped first.
    shown: OnceLock<Instant>,
}

impl HeldCounter {
    /// Counts `count` more.
    pub(super) fn add(&self, count: u64) {
        self.count.fetch_add(count, Relaxed);
    }

    /// All that was counted, whether it is shown yet or not.
    pub(super) fn get(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// What a scrape at `now` gets.
    fn scraped(&self, now: Instant) -> u64 {
        let since = *self.shown.get_or_init(|| now);
        if now < since + AT_ZERO { 0 } else { self.get() }
    }
}

impl EncodeMetric for HeldCounter {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.encode_counter::<[(&str, &str); 0], _, u64>(&self.scraped(Instant::now()), None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for HeldCounter {
    const TYPE: MetricType = MetricType::Counter;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_resets_at_once_are_an_increase_of_eight() {
        let counter = HeldCounter::default();
        let now = Instant::now();
        counter.add(8);
        assert_eq!(counter.scraped(now), 0);
        assert_eq!(counter.scraped(now + AT_ZERO / 2), 0, "another Prometheus");
        assert_eq!(counter.scraped(now + AT_ZERO), 8);
        counter.add(1);
        assert_eq!(counter.scraped(now + AT_ZERO * 2), 9);
    }
}
