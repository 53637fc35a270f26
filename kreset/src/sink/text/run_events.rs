//! What is said about the run itself.

use super::{
    Text,
    block::{INDENT, Row},
    wrap::wrap,
};
use crate::{
    event::{
        Alert, Correction, Coverage, Culprit, Degraded, Event, Loss, Start, Summary, Watched, deed,
    },
    sink::sentence,
    util::{
        escape::Escaped,
        units::{count, percent, rough},
    },
};

/// An event that is not about one connection, in one line.
pub(super) fn sentence(event: &Event) -> String {
    match event {
        Event::Start(start) => {
            let mut text = format!(
                "watching {}; kreset-trace {}, kernel {}, packet evidence {}",
                watching(start.watched, &start.ports),
                Escaped(&start.version),
                Escaped(&start.kernel),
                Escaped(&start.packet_evidence),
            );
            for it in &start.degraded {
                text += "; ";
                text += &without(it);
            }
            text
        }
        Event::Summary(summary) => {
            let mut parts = vec![headline(summary)];
            parts.extend(events(summary));
            parts.extend(coverage(&summary.coverage));
            parts.join("; ")
        }
        other => Escaped(&sentence::sentence(other)).to_string(),
    }
}

fn without(it: &Degraded) -> String {
    format!(
        "without {}: {}; {}",
        Escaped(&it.feature),
        Escaped(&it.reason),
        Escaped(&it.remedy)
    )
}

/// Connections and brokers, or ports where they are not known.
pub(super) fn watching(watched: Option<Watched>, ports: &[smol_str::SmolStr]) -> String {
    let ports = format!(
        "port{} {}",
        if ports.len() == 1 && !ports[0].contains('-') {
            ""
        } else {
            "s"
        },
        Escaped(&ports.join(","))
    );
    match watched {
        Some(it) => format!(
            "{} to {}, {ports}",
            count(it.connections, "connection"),
            count(it.brokers, "broker")
        ),
        None => ports,
    }
}

impl Text {
    pub(super) fn start(&mut self, start: &Start) -> Vec<Row> {
        let clock = self.clock(start.time);
        let palette = self.palette;
        let width = self.width();
        let first = format!("watching {}", watching(start.watched, &start.ports));
        let mut rows = self.headed(&clock, &first, palette.bold);
        let about = format!(
            "on {}; kreset-trace {}, kernel {}, packet evidence {}, attached in {:.0} ms",
            Escaped(&start.host.name),
            Escaped(&start.version),
            Escaped(&start.kernel),
            Escaped(&start.packet_evidence),
            start.attach_ms,
        );
        rows.extend(
            wrap(INDENT, INDENT, &about, width)
                .into_iter()
                .map(Row::plain),
        );
        for it in &start.degraded {
            let lines = wrap(INDENT, &format!("{INDENT}  "), &without(it), width);
            rows.extend(
                lines
                    .into_iter()
                    .map(|line| Row::styled(line, palette.warning)),
            );
        }
        rows
    }

    pub(super) fn loss(&mut self, loss: &Loss) -> Vec<Row> {
        let clock = self.clock(loss.time);
        let text = format!(
            "LOST: {}, {} since the start",
            super::words::Lost(loss),
            loss.total
        );
        self.headed(&clock, &text, self.palette.alarm)
    }

    pub(super) fn alert(&mut self, alert: &Alert) -> Vec<Row> {
        let clock = self.clock(alert.time);
        let style = if alert.phase == "end" {
            self.palette.bold
        } else {
            self.palette.alarm
        };
        let how = match alert.pattern.as_str() {
            "sustained" => "lasting",
            other => other,
        };
        let mut text = format!(
            "ALERT {} {}: {} {}, broker {}: {}",
            Escaped(&alert.phase),
            Escaped(how),
            Culprit::of(alert.verdict),
            deed(alert.verdict, alert.cause),
            super::socket(alert.broker),
            count(alert.count, "event"),
        );
        for silence in super::words::silences(&alert.path) {
            text.push_str("; ");
            text.push_str(&silence);
        }
        let mut rows = self.headed(&clock, &text, style);
        if self.is_new(alert.cause, &alert.advice) {
            rows.extend(self.advice(&alert.advice));
        }
        rows
    }

    pub(super) fn correction(&mut self, correction: &Correction) -> Vec<Row> {
        let Correction { finding, was, .. } = correction;
        let clock = self.clock(finding.time);
        let text = format!(
            "CORRECTION: {} {}, {} sure; not {} {}, {} sure, as was said of client {}, broker {}",
            finding.culprit(),
            finding.deed(),
            percent(finding.confidence),
            Culprit::of(was.verdict),
            deed(was.verdict, was.cause),
            percent(was.confidence),
            super::socket(finding.client.end()),
            super::socket(finding.broker),
        );
        let mut rows = self.headed(&clock, &text, self.palette.bold);
        if self.is_new(finding.cause, &finding.advice) {
            rows.extend(self.advice(&finding.advice));
        }
        rows
    }

    pub(super) fn advice(&self, advice: &str) -> Vec<Row> {
        let lines = wrap(
            &format!("{INDENT}-> "),
            &format!("{INDENT}   "),
            &Escaped(advice).to_string(),
            self.width(),
        );
        let styled = |line| Row::styled(line, self.palette.advice);
        lines.into_iter().map(styled).collect()
    }

    pub(super) fn summary(&mut self, summary: &Summary) -> Vec<Row> {
        let clock = self.clock(summary.time);
        let mut rows = self.headed(&clock, &headline(summary), self.palette.bold);
        for line in events(summary)
            .into_iter()
            .chain(coverage(&summary.coverage))
        {
            let lines = wrap(INDENT, &format!("{INDENT}  "), &line, self.width());
            rows.extend(lines.into_iter().map(Row::plain));
        }
        rows
    }

    /// A text behind the time of day.
    pub(super) fn headed(&self, clock: &str, text: &str, style: anstyle::Style) -> Vec<Row> {
        let lines = wrap(&format!("{clock:<8}  "), INDENT, text, self.width());
        lines
            .into_iter()
            .map(|line| Row::styled(line, style))
            .collect()
    }
}

/// What the run has come to.
fn headline(summary: &Summary) -> String {
    let all: u64 = summary.events.values().sum();
    let noise: u64 = summary.noise.values().sum();
    #[expect(
        clippy::cast_precision_loss,
        reason = "exact for 285,000 years of milliseconds"
    )]
    let attached = rough(summary.duration_ms as f64);
    let lost = if summary.lost == 0 {
        "nothing lost".to_owned()
    } else {
        format!("{} lost", count(summary.lost, "record"))
    };
    format!(
        "{}{} in {attached}, watching {}; {}, {lost}",
        if summary.end { "end: " } else { "" },
        count(all, "event"),
        watching(summary.coverage.watched, &summary.coverage.ports),
        count(noise, "routine close"),
    )
}

/// Counts by class, a line each.
fn events(summary: &Summary) -> Vec<String> {
    let mut counts: Vec<_> = summary.events.iter().collect();
    counts.sort_by(|(a_name, a), (b_name, b)| b.cmp(a).then(a_name.cmp(b_name)));
    let mut lines: Vec<String> = counts
        .into_iter()
        .map(|(class, number)| format!("{number:>7}  {}", Escaped(class)))
        .collect();
    if !summary.noise.is_empty() {
        let kinds: Vec<_> = summary
            .noise
            .iter()
            .map(|(kind, number)| format!("{} {number}", Escaped(kind)))
            .collect();
        lines.push(format!("routine: {}", kinds.join(", ")));
    }
    lines
}

/// What this host cannot vouch for, and sinks that are behind.
fn coverage(coverage: &Coverage) -> Vec<String> {
    let mut lines = Vec::new();
    let gaps: Vec<String> = [
        (coverage.kernel_lost, "lost in the kernel"),
        (coverage.kernel_skipped, "skipped by the kernel at most"),
        (coverage.kernel_untracked, "not tracked"),
        (coverage.unobserved, "ended unobserved"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, what)| format!("{number} {what}"))
    .collect();
    if !gaps.is_empty() {
        lines.push(gaps.join("; "));
    }
    for (name, sink) in &coverage.sinks {
        // One that works as it should is not worth a line to people. What waits for the terminal
        // follows this line, or comes right before it.
        let waits = sink.waiting > 0 && name != "stdout";
        if waits || sink.lost > 0 {
            lines.push(format!(
                "sink {}: {} delivered, {} waiting, {} lost",
                Escaped(name),
                sink.delivered,
                sink.waiting,
                sink.lost
            ));
        }
    }
    lines
}
