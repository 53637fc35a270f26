//! What of the events a run shows.

use crate::event::{Event, Finding, Kind, Role, Verdict};

/// The choice made by `--role` and `--all`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The only role of this host to show; `None` for both.
    pub role: Option<Role>,
    /// Whether noise is shown.
    pub all: bool,
}

impl Filter {
    /// Whether `event` is of the role asked for. What is not is neither
    /// shown nor counted.
    #[must_use]
    pub fn concerns(self, event: &Event) -> bool {
        match (self.role, event.finding()) {
            (Some(role), Some(finding)) => finding.role == role,
            _ => true,
        }
    }

    /// Whether `event` is to be shown. Noise that is not shown is still
    /// counted: see [`Filter::concerns`].
    #[must_use]
    pub fn wants(self, event: &Event) -> bool {
        self.concerns(event) && (self.all || !event.finding().is_some_and(Finding::is_noise))
    }
}

/// What of the events shown one sink gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinkFilter {
    /// The only types; empty for all.
    pub events: Vec<Kind>,
    /// The only verdicts; empty for all. What has no verdict is not held back.
    pub verdicts: Vec<Verdict>,
    /// Findings that are less sure are held back.
    pub min_confidence: f64,
}

impl SinkFilter {
    /// Whether the sink gets `event`.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        let verdict = match event {
            Event::Alert(alert) => Some(alert.verdict),
            _ => event.finding().map(|finding| finding.verdict),
        };
        (self.events.is_empty() || self.events.contains(&event.kind()))
            && (self.verdicts.is_empty() || verdict.is_none_or(|it| self.verdicts.contains(&it)))
            && event
                .finding()
                .is_none_or(|finding| finding.confidence >= self.min_confidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Cause, samples};

    #[test]
    fn a_sink_gets_what_its_filter_names() {
        let count = |filter: SinkFilter| {
            let wanted = samples::all()
                .into_iter()
                .filter(|event| filter.wants(event));
            wanted
                .map(|event| event.kind().as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let all = "start reset reset reset close timeout alert loss summary probe";
        assert_eq!(count(SinkFilter::default()), all);
        let events = vec![Kind::Reset, Kind::Alert];
        assert_eq!(
            count(SinkFilter {
                events,
                ..SinkFilter::default()
            }),
            "reset reset reset alert"
        );
        let verdicts = vec![Verdict::MiddleboxIdleReset];
        assert_eq!(
            count(SinkFilter {
                verdicts,
                ..SinkFilter::default()
            }),
            "start reset alert loss summary probe"
        );
        let sure = SinkFilter {
            min_confidence: 0.9,
            ..SinkFilter::default()
        };
        assert_eq!(
            count(sure),
            "start reset reset close timeout alert loss summary probe"
        );
    }

    fn reset(role: Role, noise: bool) -> Event {
        let mut finding = samples::finding();
        finding.role = role;
        if noise {
            (finding.verdict, finding.cause) = (Verdict::ClientOriginated, Some(Cause::Probe));
        }
        Event::Reset(Box::new(finding))
    }

    #[test]
    fn the_role_and_noise_decide() {
        let any = Filter::default();
        let brokers = Filter {
            role: Some(Role::Broker),
            all: false,
        };
        let everything = Filter {
            role: None,
            all: true,
        };
        for (filter, event, concerns, wants) in [
            (any, reset(Role::Client, false), true, true),
            (any, reset(Role::Client, true), true, false),
            (everything, reset(Role::Client, true), true, true),
            (brokers, reset(Role::Client, false), false, false),
            (brokers, reset(Role::Broker, false), true, true),
            (brokers, reset(Role::Broker, true), true, false),
        ] {
            assert_eq!(
                (filter.concerns(&event), filter.wants(&event)),
                (concerns, wants),
                "{filter:?}"
            );
        }
    }

    #[test]
    fn what_is_said_about_the_run_is_always_shown() {
        let brokers = Filter {
            role: Some(Role::Broker),
            all: false,
        };
        for event in samples::all()
            .into_iter()
            .filter(|event| event.finding().is_none())
        {
            assert!(brokers.wants(&event), "{event:?}");
        }
    }
}
