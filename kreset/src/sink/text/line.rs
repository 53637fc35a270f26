//! One line an event, for pipes: `grep` finds whole events, and `awk` their fields.

use std::fmt::Write as _;

use super::{Text, details, socket, why, words};
use crate::{
    event::{AgeKind, Alert, Correction, Culprit, Event, Finding, Role, Time, class_name, deed},
    util::{
        escape::Escaped,
        units::{count, percent},
    },
};

/// Writes the line of `event`.
pub(super) fn write(text: &mut Text, event: &Event) {
    let mut line = format!("{} {}", time(event.time()), event.kind());
    match event {
        Event::Reset(it) | Event::Close(it) | Event::Timeout(it) => {
            finding(text, &mut line, it, None);
        }
        Event::Correction(it) => finding(text, &mut line, &it.finding, Some(it)),
        Event::Alert(it) => alert(text, &mut line, it),
        Event::Incident(it) => super::incident::line(text, &mut line, it),
        Event::Finding(it) => super::pair::line(text, &mut line, it),
        _ => {
            // As many fields, so that the rest of each line begins with the same one.
            line.push_str(" - - - - - - - -: ");
            line.push_str(&collapse(&super::run_events::sentence(event)));
        }
    }
    text.block.push_str(line.trim_end());
    text.block.push('\n');
}

/// RFC 3339 in UTC, milliseconds.
fn time(Time(time): Time) -> String {
    format!("{time:.3}")
}

fn finding(text: &mut Text, line: &mut String, finding: &Finding, correction: Option<&Correction>) {
    let connection = &finding.connection;
    let age = match (connection.age_ms, connection.age_kind) {
        (Some(age), Some(AgeKind::AtLeast)) => format!(">{}", seconds(age)),
        (Some(age), _) => seconds(age),
        (None, _) => "-".to_owned(),
    };
    let class = class_name(finding.verdict, finding.cause);
    let sure = finding.cause.map(|_| percent(finding.confidence));
    let name = finding.client_name().or_else(|| finding.process.program());
    let name = name.map(field);
    let style = text.palette.culprit(finding.culprit());
    // Writing to memory does not fail.
    let _written = write!(
        line,
        " {style}{}{style:#} {class} {} {} {} {} {age} {}: {} {}",
        finding.culprit(),
        sure.as_deref().unwrap_or("-"),
        finding.socket_of(Role::Client),
        finding.socket_of(Role::Broker),
        connection.idle_ms.map_or_else(|| "-".to_owned(), seconds),
        name.as_deref().unwrap_or("-"),
        subject(finding.culprit()),
        finding.deed(),
    );
    let fold = super::fold::Fold::new(finding);
    for fact in [words::facts(finding, &fold)] {
        if !fact.is_empty() {
            let _written = write!(line, " ({fact})");
        }
    }
    if let Some(Correction { corrects, was, .. }) = correction {
        let _written = write!(
            line,
            "; corrects {corrects}, {} {} {}",
            Culprit::of(was.verdict),
            deed(was.verdict, was.cause),
            percent(was.confidence),
        );
    }
    if text.options.verbosity > 0 {
        for (label, reason) in why::lines(finding) {
            let label = if label.is_empty() { "and" } else { label };
            let _written = write!(line, "; {label} {reason}");
        }
    }
    if text.options.verbosity > 1 {
        for (name, it) in details::lines(finding) {
            let _written = write!(line, "; {name} {}", collapse(&it));
        }
    }
    if text.is_new_advice(finding) || text.options.verbosity > 0 {
        let _written = write!(line, " -> {}", Escaped(&finding.advice));
    }
}

fn alert(text: &mut Text, line: &mut String, alert: &Alert) {
    let cause = alert
        .cause
        .map_or_else(String::new, |cause| format!("/{cause}"));
    let mut silences = words::silences(&alert.path).join("; ");
    if !silences.is_empty() {
        silences = format!("; {silences}");
    }
    let _written = write!(
        line,
        " {} {}{cause} - - {} - - -: {} of {} resets, {}{silences}",
        Culprit::of(alert.verdict),
        alert.verdict,
        socket(alert.broker),
        Escaped(&alert.phase),
        Escaped(&alert.pattern),
        count(alert.count, "event"),
    );
    if text.is_new(alert.cause, &alert.advice) {
        let _written = write!(line, " -> {}", Escaped(&alert.advice));
    }
}

/// Seconds, as one field: `350.214s`.
pub(super) fn seconds(milliseconds: f64) -> String {
    format!("{:.3}s", milliseconds.max(0.0) / 1_000.0)
}

/// A text as one field.
fn field(text: &str) -> String {
    Escaped(text).to_string().replace(' ', "_")
}

fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const fn subject(culprit: Culprit) -> &'static str {
    match culprit {
        Culprit::Device => "device",
        Culprit::Broker => "broker",
        Culprit::Client => "client",
        Culprit::Handshake => "handshake",
        Culprit::Unsure => "unsure",
    }
}
