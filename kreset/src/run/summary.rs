//! The counts behind `summary`.

use std::{collections::BTreeMap, time::Duration};

use crate::event::{Cause, Coverage, Event, Host, Noise, Summary, Time, Verdict, class_name};

/// Counts what a run has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    events: BTreeMap<(Verdict, Option<Cause>), u64>,
    noise: BTreeMap<Noise, u64>,
    lost: u64,
}

impl Counter {
    /// Counts `event`: a finding as an event or as noise, a loss by its
    /// size. Other events are not about connections.
    pub fn count(&mut self, event: &Event) {
        if let Event::Loss(loss) = event {
            self.lost += loss.lost;
        }
        let Some(finding) = event.finding() else {
            return;
        };
        if matches!(event, Event::Correction(_)) {
            // Nothing else has ended.
            return;
        }
        if let Some(noise) = finding.noise() {
            self.count_noise(noise, 1);
        } else {
            *self
                .events
                .entry((finding.verdict, finding.cause))
                .or_default() += 1;
        }
    }

    /// Events so far, without noise.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.values().sum()
    }

    /// Counts noise without an event.
    pub fn count_noise(&mut self, noise: Noise, times: u64) {
        *self.noise.entry(noise).or_default() += times;
    }

    /// The counts so far, as an event of `time`.
    #[must_use]
    pub fn summary(&self, time: Time, host: Host, attached: Duration, end: bool) -> Summary {
        Summary {
            time,
            host,
            duration_ms: u64::try_from(attached.as_millis()).unwrap_or(u64::MAX),
            end,
            events: self
                .events
                .iter()
                .map(|((verdict, cause), count)| (class_name(*verdict, *cause), *count))
                .collect(),
            noise: self
                .noise
                .iter()
                .map(|(noise, count)| (noise.to_string(), *count))
                .collect(),
            lost: self.lost,
            coverage: Coverage::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn counts_by_verdict_and_cause_noise_and_losses() {
        let mut counter = Counter::default();
        for event in samples::all() {
            counter.count(&event);
            counter.count(&event);
        }
        counter.count_noise(Noise::Probe, 40);
        let host = Host { name: "h".into() };
        let summary = counter.summary(Time::default(), host, Duration::from_millis(1500), true);
        let pairs = |map: &BTreeMap<String, u64>| {
            map.iter()
                .map(|(key, count)| format!("{key} {count}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        assert_eq!(
            pairs(&summary.events),
            "handshake_phase/authentication 2, indeterminate 2, \
             middlebox_idle_drop/blackholed 2, middlebox_idle_reset/reset_on_send 2",
        );
        assert_eq!(pairs(&summary.noise), "probe 42");
        assert_eq!(
            (summary.lost, summary.duration_ms, summary.end),
            (6, 1500, true)
        );
    }
}
