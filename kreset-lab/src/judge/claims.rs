//! Matching what a tracer said to the connections that it may say something of.

use std::fmt;

use super::{Truth, choice, compare};
use crate::{driver::Said, event::Event};

/// What a tracer may say of one connection, and whether it has to.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// What is right; any of them will do.
    pub(crate) truths: Vec<Truth>,
    /// Whether nothing at all would be wrong.
    pub(crate) required: bool,
    /// How many events of this connection there may be.
    pub(crate) most: usize,
}

impl Claim {
    /// Whether it requires a reset to be reported.
    pub(crate) fn is_of_a_reset(&self) -> bool {
        self.required && self.truths.iter().any(|truth| truth.kind == "reset")
    }

    fn is_about(&self, event: &Event) -> bool {
        let ends = event.ends();
        let mut truths = self.truths.iter();
        truths.any(|truth| ends == Some((truth.client, truth.broker)))
    }

    /// What is wrong with an event about this connection, measured by the truth that it is
    /// nearest to.
    fn differences(&self, event: &Event) -> Vec<String> {
        let each = self.truths.iter().map(|truth| {
            let mut differences = Vec::new();
            compare(truth, event, &mut differences);
            differences
        });
        each.min_by_key(Vec::len).unwrap_or_default()
    }

    fn name(&self) -> String {
        self.truths.first().map_or_else(String::new, |truth| {
            format!(
                "{} {} of {}",
                truth.kind,
                truth.direction.unwrap_or_default(),
                truth.client
            )
        })
    }

    fn answers(&self) -> String {
        let mut answers: Vec<_> = self
            .truths
            .iter()
            .map(|truth| choice(&truth.answers))
            .collect();
        answers.dedup();
        answers.join(" or ")
    }
}

/// All connections that a tracer may say something of: of any other one it should say nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    /// One for each of them.
    pub(crate) all: Vec<Claim>,
    /// Whether events may be lost, if the losses account for what is missing.
    pub(crate) may_lose: bool,
}

impl From<Vec<Claim>> for Claims {
    fn from(all: Vec<Claim>) -> Self {
        Self {
            all,
            may_lose: false,
        }
    }
}

impl Claims {
    /// Whether saying nothing would be wrong.
    pub(crate) fn demand(&self) -> bool {
        self.all.iter().any(|claim| claim.required)
    }

    /// Adds what is wrong with what was said.
    pub(super) fn compare(&self, said: &Said, lost: u64, differences: &mut Vec<String>) {
        let mut counts = vec![0; self.all.len()];
        for event in said.about_connections() {
            // A client's port may have been used twice.
            let about = self.all.iter().enumerate();
            let nearest = about
                .filter(|(_, claim)| claim.is_about(event))
                .min_by_key(|(number, claim)| (claim.differences(event).len(), counts[*number]));
            let Some((number, claim)) = nearest else {
                differences.push(format!(
                    "said {} {} of {}, where nothing was to be reported",
                    event.kind,
                    event.answer(),
                    event
                        .ends()
                        .map_or_else(super::null, |(client, _)| client.to_string())
                ));
                continue;
            };
            counts[number] += 1;
            for difference in claim.differences(event) {
                differences.push(format!("{}: {difference}", claim.name()));
            }
        }
        let mut missing = Vec::new();
        for (claim, count) in self.all.iter().zip(counts) {
            if count == 0 && claim.required {
                missing.push(format!(
                    "{}: no event, expected {}",
                    claim.name(),
                    claim.answers()
                ));
            }
            if count > claim.most {
                differences.push(format!(
                    "{}: {count} events, expected no more than {}",
                    claim.name(),
                    claim.most
                ));
            }
        }
        match self.may_lose {
            true if missing.len() as u64 == lost => {}
            true => differences.push(format!(
                "{} events are missing and {lost} lost",
                missing.len()
            )),
            false => {
                differences.append(&mut missing);
                if lost > 0 {
                    differences.push(format!("{lost} events lost"));
                }
            }
        }
    }
}

impl fmt::Display for Claims {
    /// In few words: each different answer, and how often if that is not once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<(String, usize)> = Vec::new();
        for claim in self.all.iter().filter(|claim| claim.required) {
            let answers = claim.answers();
            match kinds.iter_mut().find(|(other, _)| *other == answers) {
                Some((_, count)) => *count += 1,
                None => kinds.push((answers, 1)),
            }
        }
        if kinds.is_empty() {
            return f.write_str("no event");
        }
        let kind = |(answers, count)| match count {
            1 => answers,
            _ => format!("{count} x {answers}"),
        };
        let kinds: Vec<_> = kinds.into_iter().map(kind).collect();
        f.write_str(&kinds.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Side, judge::Answer};

    fn claim(port: u16, required: bool) -> Claim {
        let at = |address: &str| address.parse().expect("an address");
        let truth = |kind| Truth {
            kind,
            direction: (kind == "reset").then_some("received"),
            role: Side::Client,
            answers: vec![Answer::TLS_ALERT],
            unsure: None,
            state: None,
            provoked_by: None,
            idle: None,
            wire_idle: None,
            reset: None,
            age: None,
            flow: None,
            client: at(&format!("10.77.1.2:{port}")),
            broker: at("10.77.2.2:9092"),
        };
        Claim {
            truths: vec![truth("reset"), truth("close")],
            required,
            most: 1,
        }
    }

    fn event(port: u16, kind: &str, cause: &str) -> Event {
        let direction = if kind == "reset" {
            r#","direction":"received""#
        } else {
            ""
        };
        Event::parse(&format!(
            r#"{{"type":"{kind}","role":"client","verdict":"handshake_phase","cause":"{cause}",
                "confidence":0.9,"client":{{"address":"10.77.1.2","port":{port}}},
                "broker":{{"address":"10.77.2.2","port":9092}}{direction}}}"#
        ))
        .expect("valid")
    }

    fn differences(claims: &[Claim], events: &[Event]) -> Vec<String> {
        let said = Said {
            events: events.to_vec(),
            ..Said::default()
        };
        let mut differences = Vec::new();
        Claims::from(claims.to_vec()).compare(&said, 0, &mut differences);
        differences
    }

    #[test]
    fn a_failed_connection_may_be_reported_as_a_close_or_as_a_reset() {
        for kind in ["reset", "close"] {
            let events = [event(1, kind, "tls_alert")];
            assert_eq!(differences(&[claim(1, true)], &events), [""; 0]);
        }
    }

    #[test]
    fn silence_is_wrong_where_something_is_required_only() {
        assert_eq!(differences(&[claim(1, false)], &[]), [""; 0]);
        let differences = differences(&[claim(1, true)], &[]);
        assert!(differences[0].contains("no event"), "{differences:?}");
    }

    #[test]
    fn what_is_reported_of_anything_else_is_wrong() {
        let events = [
            event(1, "close", "tls_alert"),
            event(2, "close", "tls_alert"),
        ];
        let differences = differences(&[claim(1, true)], &events);
        assert_eq!(differences.len(), 1, "{differences:?}");
        assert!(differences[0].contains("nothing was to be reported"));
    }

    #[test]
    fn another_cause_and_a_second_report_are_wrong() {
        let events = [event(1, "close", "refused"), event(1, "reset", "tls_alert")];
        let differences = differences(&[claim(1, true)], &events);
        assert_eq!(differences.len(), 2, "{differences:?}");
    }

    #[test]
    fn a_port_used_twice_has_two_claims() {
        let mut refused = claim(1, true);
        for truth in &mut refused.truths {
            truth.answers = vec![Answer::REFUSED];
        }
        let claims = [claim(1, true), refused];
        let events = [event(1, "reset", "refused"), event(1, "reset", "tls_alert")];
        assert_eq!(differences(&claims, &events), [""; 0]);
        assert_eq!(differences(&claims, &events[..1]).len(), 1);
    }

    #[test]
    fn equal_answers_are_counted_together() {
        let claims = vec![claim(1, true), claim(2, true), claim(3, false)];
        let claims = Claims::from(claims).to_string();
        assert_eq!(claims, "2 x handshake_phase/tls_alert");
        assert_eq!(Claims::default().to_string(), "no event");
    }

    #[test]
    fn of_many_resets_some_may_be_lost_if_they_are_counted() {
        let claims = Claims {
            all: vec![claim(1, true), claim(2, true)],
            may_lose: true,
        };
        for (lost, right) in [(1, true), (0, false), (2, false)] {
            let said = Said {
                events: vec![event(1, "reset", "tls_alert")],
                ..Said::default()
            };
            let mut differences = Vec::new();
            claims.compare(&said, lost, &mut differences);
            assert_eq!(differences.is_empty(), right, "{differences:?}");
        }
    }
}
