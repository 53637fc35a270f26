//! Showing people what was said, and a table of expected and said.

use std::{collections::BTreeSet, error::Error as _, fmt, time::Duration};

use crate::{
    Side,
    case::{HostOutcome, Outcome},
    error::Error,
    event::Event,
    judge::ms,
};

/// How a scenario ended.
#[derive(Debug)]
pub struct Report {
    /// The scenario's name.
    pub name: String,
    /// What happens in it.
    pub about: &'static str,
    /// What the tracers said, or why they could not be judged.
    pub(crate) result: Result<Outcome, Error>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Whether both tracers were right.
    pub fn is_right(&self) -> bool {
        self.result.as_ref().is_ok_and(Outcome::is_right)
    }

    /// What was said, for people: one line for each event, the advice and what is wrong below it.
    pub const fn details(&self) -> impl fmt::Display {
        Details(self)
    }
}

struct Details<'a>(&'a Report);

impl fmt::Display for Details<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        let seconds = report.took.as_secs_f64();
        writeln!(f, "{}: {} ({seconds:.1} s)", report.name, report.about)?;
        match &report.result {
            Ok(outcome) => {
                write!(f, "{}{}", outcome.timeline, outcome.connections)?;
                let mut advised = BTreeSet::new();
                outcome
                    .hosts()
                    .into_iter()
                    .try_for_each(|(side, host)| write_host(f, side, host, &mut advised))
            }
            Err(error) => writeln!(f, "  FAILED  {}", Chain(error)),
        }
    }
}

/// What one host's tracer said: each different answer once, with how often it was given, and each
/// different advice below the first answer that has it, whichever host gave it.
fn write_host(
    f: &mut fmt::Formatter<'_>,
    side: Side,
    host: &HostOutcome,
    advised: &mut BTreeSet<String>,
) -> fmt::Result {
    let events = host.events();
    match (&host.said, events.as_slice()) {
        (None, _) => writeln!(f, "  {side}  not judged, expected {}", host.claims)?,
        (Some(_), []) => writeln!(f, "  {side}  no event")?,
        (Some(_), _) => {}
    }
    let mut answers: Vec<(&Event, usize)> = Vec::new();
    for event in events {
        match answers.iter_mut().find(|(other, _)| alike(other, event)) {
            Some((_, count)) => *count += 1,
            None => answers.push((event, 1)),
        }
    }
    for (event, count) in answers {
        let times = if count > 1 {
            format!("  and {} more like it", count - 1)
        } else {
            String::new()
        };
        writeln!(f, "  {side}  {}{times}", line(event))?;
        if let Some(advice) = &event.advice
            && advised.insert(advice.clone())
        {
            writeln!(f, "          {advice}")?;
        }
        if !host.differences.is_empty() {
            writeln!(f, "          {}", event.line)?;
        }
    }
    for difference in &host.differences {
        writeln!(f, "  {side}  WRONG  {difference}")?;
    }
    Ok(())
}

/// Whether two events say the same of different connections.
fn alike(one: &Event, other: &Event) -> bool {
    (&one.kind, one.answer(), &one.direction) == (&other.kind, other.answer(), &other.direction)
}

/// One event in one line.
fn line(event: &Event) -> String {
    let connection = event.connection.clone().unwrap_or_default();
    let word = |word: &Option<String>| word.clone().unwrap_or_else(unknown);
    format!(
        "{:<8} {:<38} {:>4}  {:<11} idle {:>8}  age {:>8}  by {}",
        if event.kind == "reset" {
            word(&event.direction)
        } else {
            event.kind.clone()
        },
        event.answer(),
        confidence(event),
        word(&connection.state),
        time(connection.idle_ms),
        time(connection.age_ms),
        word(&connection.provoked_by),
    )
}

/// The table of expected and said, one row for each host of each scenario.
pub fn table(reports: &[Report]) -> String {
    let mut rows = vec![
        [
            "scenario",
            "host",
            "expected",
            "said",
            "confidence",
            "idle truth/said ms",
            "ok",
        ]
        .map(str::to_owned),
    ];
    for report in reports {
        match &report.result {
            Ok(outcome) => {
                rows.extend(
                    outcome
                        .hosts()
                        .map(|(side, host)| row(&report.name, side, host)),
                );
            }
            Err(_) => rows.push(
                [
                    &report.name,
                    "both",
                    "-",
                    "could not be judged",
                    "-",
                    "-",
                    "NO",
                ]
                .map(str::to_owned),
            ),
        }
    }
    aligned(&rows)
}

/// The shortest and the longest time, in ms, that a tracer says it took to attach.
pub fn attach_times(reports: &[Report]) -> Option<(f64, f64)> {
    reports
        .iter()
        .filter_map(|report| report.result.as_ref().ok())
        .flat_map(Outcome::hosts)
        .flat_map(|(_, host)| host.said.iter().flat_map(|said| &said.events))
        .filter_map(|event| event.attach_ms)
        .fold(None, |times, ms| match times {
            None => Some((ms, ms)),
            Some((shortest, longest)) => Some((ms.min(shortest), ms.max(longest))),
        })
}

fn row(name: &str, side: Side, host: &HostOutcome) -> [String; 7] {
    let events = host.events();
    let event = events.first();
    let truth = host
        .claims
        .all
        .first()
        .and_then(|claim| claim.truths.first()?.idle);
    let idle = |time: Option<f64>| time.map_or_else(unknown, |time| format!("{time:.0}"));
    let (said, ok) = match (&host.said, events.as_slice()) {
        (None, _) => ("-".to_owned(), "not judged"),
        (_, []) => ("no event".to_owned(), "yes"),
        (_, [event]) => (event.answer(), "yes"),
        (_, [event, more @ ..]) => (format!("{} +{}", event.answer(), more.len()), "yes"),
    };
    [
        name.to_owned(),
        side.name().to_owned(),
        host.claims.to_string(),
        said,
        event.map_or_else(unknown, |event| confidence(event)),
        format!(
            "{}/{}",
            idle(truth.map(|truth| ms(truth.truth()))),
            idle(event.and_then(|event| event.connection.as_ref()?.idle_ms)),
        ),
        if host.differences.is_empty() {
            ok
        } else {
            "NO"
        }
        .to_owned(),
    ]
}

fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        rows.iter()
            .map(|row| row[column].len())
            .max()
            .unwrap_or_default()
    });
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// How a value is shown that is not there.
fn unknown() -> String {
    "-".to_owned()
}

fn confidence(event: &Event) -> String {
    event
        .confidence
        .map_or_else(unknown, |confidence| format!("{confidence:.2}"))
}

fn time(ms: Option<f64>) -> String {
    match ms {
        None => unknown(),
        Some(ms) if ms < 1000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.2} s", ms / 1000.0),
    }
}

/// An error and everything below it, in one line.
struct Chain<'a>(&'a Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut below = self.0.source();
        while let Some(error) = below {
            write!(f, ": {error}")?;
            below = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["a", "bb", "c"], ["aaa", "b", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "a    bb  c\naaa  b\n");
    }

    #[test]
    fn an_event_is_one_line() {
        let event = Event::parse(
            r#"{"type":"reset","direction":"received","verdict":"middlebox_idle_reset",
                "cause":"reset_on_send","confidence":0.974,
                "connection":{"state":"ESTABLISHED","idle_ms":3612.4,"age_ms":640}}"#,
        )
        .expect("valid");
        assert_eq!(
            line(&event),
            "received middlebox_idle_reset/reset_on_send     0.97  ESTABLISHED idle   3.61 s  age   640 ms  by -"
        );
    }

    #[test]
    fn a_failure_tells_all_of_itself() {
        let report = Report {
            name: "x".to_owned(),
            about: "y",
            result: Err(Error::Io {
                context: "open z".to_owned(),
                source: std::io::Error::other("no such thing"),
            }),
            took: Duration::ZERO,
        };
        assert!(!report.is_right());
        assert!(
            report
                .details()
                .to_string()
                .contains("cannot open z: no such thing")
        );
        assert!(table(&[report]).contains("could not be judged"));
    }
}
