//! Judging what a tracer said of many connections, each with a truth of its own.

use super::{Truth, compare};
use crate::event::Event;

/// What a tracer may say of one connection, and whether it has to.
#[derive(Clone, Debug)]
pub struct Claim {
    /// What is right; any of them will do.
    pub truths: Vec<Truth>,
    /// Whether nothing at all would be wrong.
    pub required: bool,
    /// How many events of this connection there may be.
    pub most: usize,
}

impl Claim {
    /// Whether an event is about this connection.
    fn is_about(&self, event: &Event) -> bool {
        let said = [&event.client, &event.broker]
            .map(|end| end.as_ref().and_then(crate::event::Endpoint::socket));
        self.truths
            .iter()
            .any(|truth| said == [Some(truth.client), Some(truth.broker)])
    }

    /// What is wrong with an event about this connection, measured by the truth that it is
    /// nearest to.
    fn differences(&self, event: &Event) -> Vec<String> {
        self.truths
            .iter()
            .map(|truth| {
                let mut differences = Vec::new();
                compare(truth, event, &mut differences);
                differences
            })
            .min_by_key(Vec::len)
            .unwrap_or_default()
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
            .map(|truth| super::choice(&truth.answers))
            .collect();
        answers.dedup();
        answers.join(" or ")
    }
}

/// What is wrong with `told`, given all connections that anything may be said of.
pub(super) fn compare_each(claims: &[Claim], told: &[&Event], differences: &mut Vec<String>) {
    let mut counts = vec![0; claims.len()];
    for event in told {
        let about = claims.iter().position(|claim| claim.is_about(event));
        let Some(number) = about else {
            differences.push(format!(
                "said {} {} of {}, where nothing was to be told",
                event.kind,
                event.answer(),
                event
                    .client
                    .as_ref()
                    .and_then(crate::event::Endpoint::socket)
                    .map_or_else(super::null, |address| address.to_string())
            ));
            continue;
        };
        counts[number] += 1;
        let claim = &claims[number];
        for difference in claim.differences(event) {
            differences.push(format!("{}: {difference}", claim.name()));
        }
    }
    for (claim, count) in claims.iter().zip(counts) {
        if count == 0 && claim.required {
            differences.push(format!(
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
}

/// What is expected, in few words: each different answer, and how often.
pub(super) fn summary(claims: &[Claim]) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for claim in claims.iter().filter(|claim| claim.required) {
        let answers = claim.answers();
        match kinds.iter_mut().find(|(other, _)| *other == answers) {
            Some((_, count)) => *count += 1,
            None => kinds.push((answers, 1)),
        }
    }
    if kinds.is_empty() {
        return "no event".to_owned();
    }
    let kinds: Vec<_> = kinds
        .into_iter()
        .map(|(answers, count)| format!("{count} x {answers}"))
        .collect();
    kinds.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Side,
        judge::{Answer, Expected},
    };

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

    fn differences(claims: &[Claim], told: &[Event]) -> Vec<String> {
        let mut differences = Vec::new();
        compare_each(claims, &told.iter().collect::<Vec<_>>(), &mut differences);
        differences
    }

    #[test]
    fn a_failed_connection_may_be_told_of_as_a_close_or_as_a_reset() {
        for kind in ["reset", "close"] {
            let told = [event(1, kind, "tls_alert")];
            assert_eq!(differences(&[claim(1, true)], &told), [""; 0]);
        }
    }

    #[test]
    fn silence_is_wrong_where_something_is_required_only() {
        assert_eq!(differences(&[claim(1, false)], &[]), [""; 0]);
        let differences = differences(&[claim(1, true)], &[]);
        assert!(differences[0].contains("no event"), "{differences:?}");
    }

    #[test]
    fn what_is_told_of_anything_else_is_wrong() {
        let told = [
            event(1, "close", "tls_alert"),
            event(2, "close", "tls_alert"),
        ];
        let differences = differences(&[claim(1, true)], &told);
        assert_eq!(differences.len(), 1, "{differences:?}");
        assert!(differences[0].contains("nothing was to be told"));
    }

    #[test]
    fn another_cause_and_a_second_telling_are_wrong() {
        let told = [event(1, "close", "refused"), event(1, "reset", "tls_alert")];
        let differences = differences(&[claim(1, true)], &told);
        assert_eq!(differences.len(), 2, "{differences:?}");
    }

    #[test]
    fn equal_answers_are_counted_together() {
        let claims = vec![claim(1, true), claim(2, true), claim(3, false)];
        let expected = Expected::Each(claims).to_string();
        assert_eq!(expected, "2 x handshake_phase/tls_alert");
        assert_eq!(Expected::Each(Vec::new()).to_string(), "no event");
    }
}
