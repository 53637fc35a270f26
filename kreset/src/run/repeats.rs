//! Losses that repeat: of one source, one `loss` event a minute has the sum.
//!
//! The counts of the kernel side and of sinks are read twice a second. Strangers can make the
//! former grow for as long as they like, and a receiver that is away the latter.

use std::collections::BTreeMap;

/// The time between two events about one source.
const EVERY_NS: u64 = 60_000_000_000;

/// Losses of each source that no event has reported yet.
#[derive(Debug, Default)]
pub struct Repeats {
    sources: BTreeMap<String, Repeated>,
}

#[derive(Debug, Default)]
struct Repeated {
    unreported: u64,
    /// When the last event about it was due; monotonic.
    reported_ns: Option<u64>,
}

impl Repeated {
    fn is_due(&self, now_ns: u64) -> bool {
        self.reported_ns
            .is_none_or(|last| now_ns >= last.saturating_add(EVERY_NS))
    }
}

impl Repeats {
    /// Counts `lost` more of `source`.
    pub fn add(&mut self, source: &str, lost: u64) {
        if let Some(it) = self.sources.get_mut(source) {
            it.unreported += lost;
        } else {
            let first = Repeated {
                unreported: lost,
                reported_ns: None,
            };
            self.sources.insert(source.to_owned(), first);
        }
    }

    /// Whether a loss of `source` would be reported at once.
    #[must_use]
    pub fn is_due(&self, source: &str, now_ns: u64) -> bool {
        self.sources.get(source).is_none_or(|it| it.is_due(now_ns))
    }

    /// What is to be reported now: by source, all that was lost since its last event, unless
    /// that was within a minute.
    pub fn take_due(&mut self, now_ns: u64) -> Vec<(String, u64)> {
        self.take(now_ns, |it| it.is_due(now_ns))
    }

    /// All that was not reported yet, however recent the last event is.
    pub fn take_all(&mut self, now_ns: u64) -> Vec<(String, u64)> {
        self.take(now_ns, |_| true)
    }

    fn take(&mut self, now_ns: u64, wanted: impl Fn(&Repeated) -> bool) -> Vec<(String, u64)> {
        let mut taken = Vec::new();
        for (source, it) in &mut self.sources {
            if it.unreported > 0 && wanted(it) {
                it.reported_ns = Some(now_ns);
                taken.push((source.clone(), std::mem::take(&mut it.unreported)));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn a_source_that_repeats_is_one_event_a_minute_with_the_sum() {
        const SECONDS: u64 = 600;
        let mut repeats = Repeats::default();
        let mut events = Vec::new();
        for half in 0..2 * SECONDS {
            let now_ns = half * SECOND_NS / 2;
            repeats.add("kernel_untracked", 3);
            events.extend(repeats.take_due(now_ns));
        }
        // The first at once.
        assert_eq!(events[0], ("kernel_untracked".to_owned(), 3));
        assert_eq!(events.len() as u64, SECONDS / 60, "{events:?}");
        let rest = repeats.take_all(SECONDS * SECOND_NS);
        let sum: u64 = events.iter().chain(&rest).map(|(_, lost)| lost).sum();
        assert_eq!(sum, 2 * SECONDS * 3);
        assert!(repeats.take_all(u64::MAX).is_empty());
    }

    #[test]
    fn what_stops_is_reported_a_minute_later_and_never_again() {
        let mut repeats = Repeats::default();
        repeats.add("kernel", 1);
        assert_eq!(repeats.take_due(0), [("kernel".to_owned(), 1)]);
        repeats.add("kernel", 2);
        assert!(repeats.take_due(59 * SECOND_NS).is_empty());
        assert_eq!(repeats.take_due(60 * SECOND_NS), [("kernel".to_owned(), 2)]);
        assert!(repeats.take_due(u64::MAX).is_empty());
    }

    #[test]
    fn sources_do_not_wait_for_each_other() {
        let mut repeats = Repeats::default();
        repeats.add("kernel", 1);
        assert_eq!(repeats.take_due(0).len(), 1);
        repeats.add("kernel", 1);
        repeats.add("kernel_skipped", 5);
        assert_eq!(
            repeats.take_due(SECOND_NS),
            [("kernel_skipped".to_owned(), 5)]
        );
        assert_eq!(repeats.take_all(SECOND_NS), [("kernel".to_owned(), 1)]);
    }
}
