//! What the programs wrote, what crossed the wire, and what the tracers said, in one order.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    Moment, Side,
    driver::Said,
    event::Event,
    net::packet::Flags,
    trace::wire::{Sighting, Wire},
    util::journal::Journal,
};

/// How many lines of each source are shown; all of them are kept.
const SHOWN: usize = 24;

/// How much of a line is shown.
const WIDTH: usize = 150;

/// A silence that is worth a line of its own.
const SILENCE: Duration = Duration::from_secs(1);

/// One line.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When it happened.
    pub at: Moment,
    /// Who says so.
    pub source: String,
    /// What.
    pub text: String,
}

/// Everything that happened in a lab, in order.
#[derive(Clone, Debug, Default)]
pub struct Timeline(Vec<Entry>);

impl Timeline {
    /// What the lab has seen, and what the tracer of each host said; empty unless real programs
    /// ran, since the tracers' events show all of the lab's own scenarios.
    pub fn of(journal: &Journal, wire: &Wire, said: [Option<&Said>; 2]) -> Self {
        let logs = journal.logs();
        if logs.is_empty() {
            return Self::default();
        }
        let mut entries = Vec::new();
        for log in &logs {
            let lines = log.lines().into_iter();
            let lines = lines.filter(|line| {
                // The broker's log has more than its connections.
                !log.name().starts_with("broker") || is_about_connections(&line.text)
            });
            entries.extend(
                lines
                    .filter(|line| !is_noise(&line.text))
                    .map(|line| Entry {
                        at: line.at,
                        source: log.name().to_owned(),
                        text: line.text,
                    }),
            );
        }
        entries.extend(on_wire(&wire.sightings()));
        for (side, said) in Side::BOTH.into_iter().zip(said) {
            for event in said.iter().flat_map(|said| &said.events) {
                entries.extend(reported(side, event));
            }
        }
        entries.sort_by_key(|entry| entry.at);
        Self(entries)
    }

    /// Whether there is nothing to show.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All lines at full length.
    pub fn in_full(&self) -> String {
        let began = self.0.first().map(|entry| entry.at);
        let lines = self.0.iter();
        let mut lines: Vec<_> = lines
            .map(|entry| line(entry, began.unwrap_or(entry.at), usize::MAX))
            .collect();
        lines.push(String::new());
        lines.join("\n")
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(began) = self.0.first().map(|entry| entry.at) else {
            return Ok(());
        };
        let mut shown = BTreeMap::new();
        let mut left_out = 0;
        for entry in &self.0 {
            let count: &mut usize = shown.entry(&entry.source).or_default();
            *count += 1;
            // What the tracers said is what all the rest is shown for.
            if *count > SHOWN && !entry.source.starts_with("kreset") {
                left_out += 1;
                continue;
            }
            if left_out > 0 {
                writeln!(f, "  {:>9}  ... {left_out} lines", "")?;
                left_out = 0;
            }
            writeln!(f, "  {}", line(entry, began, WIDTH))?;
        }
        if left_out > 0 {
            writeln!(
                f,
                "  {:>9}  ... {left_out} lines (--keep keeps them all)",
                ""
            )?;
        }
        Ok(())
    }
}

fn line(entry: &Entry, began: Moment, width: usize) -> String {
    let after = entry.at.since(began).as_secs_f64();
    let text: String = entry.text.chars().take(width).collect();
    format!("{after:>8.3}s  {:<20} {text}", entry.source)
}

/// Of a broker's log, what concerns connections, its start and its end.
fn is_about_connections(text: &str) -> bool {
    const WORDS: [&str; 7] = [
        "Kafka Server started",
        "SIGTERM",
        "shut down completed",
        "Failed authentication",
        "Rejected connection",
        "Closing socket",
        "closing connection",
    ];
    WORDS.iter().any(|word| text.contains(word))
}

/// Lines that say nothing about connections, and stack traces.
fn is_noise(text: &str) -> bool {
    const WORDS: [&str; 9] = [
        "AppInfoParser",
        "Metrics",
        "ConfigUtils",
        "Instantiated an idempotent",
        "ProducerId set to",
        "Created socket with",
        "SslEngineValidator",
        "Successfully logged in",
        "KafkaMetricsCollector",
    ];
    text.is_empty()
        || text.starts_with('\t')
        || text.trim_start().starts_with("at ")
        || WORDS.iter().any(|word| text.contains(word))
}

/// What began, ended or broke a silence on the wire, as the router saw it come in, or go out if
/// the router made it up.
fn on_wire(sightings: &[Sighting]) -> Vec<Entry> {
    let mut last: BTreeMap<_, Moment> = BTreeMap::new();
    let mut came: Vec<(u16, u32, Flags)> = Vec::new();
    let mut entries = Vec::new();
    for seen in sightings {
        let segment = &seen.segment;
        let mark = (seen.client_port(), segment.sequence, segment.flags);
        let is_reset = segment.has(Flags::RST);
        if seen.leaving && (!is_reset || came.contains(&mark)) {
            continue;
        }
        if is_reset && !seen.leaving {
            came.push(mark);
        }
        let connection = (
            segment.source.min(segment.destination),
            segment.source.max(segment.destination),
        );
        let silence = last
            .insert(connection, seen.at)
            .map(|last| seen.at.since(last))
            .filter(|silence| *silence >= SILENCE);
        let notable = [Flags::SYN, Flags::FIN, Flags::RST]
            .into_iter()
            .any(|flag| segment.has(flag));
        if !notable && silence.is_none() {
            continue;
        }
        let mut parts = vec![format!(
            "{} > {} {}",
            segment.source, segment.destination, segment.flags
        )];
        if segment.payload > 0 {
            parts.push(format!("{} bytes", segment.payload));
        }
        if seen.leaving {
            parts.push(format!("made up by the device, TTL {}", segment.ttl));
        } else if is_reset {
            parts.push(format!("sent by the host, TTL {}", segment.ttl));
        }
        if let Some(silence) = silence {
            parts.push(format!("after {:.2} s of silence", silence.as_secs_f64()));
        }
        let text = parts.join(", ");
        entries.push(Entry {
            at: seen.at,
            source: "wire".to_owned(),
            text,
        });
    }
    entries
}

/// What a tracer said of a connection or a path.
fn reported(side: Side, event: &Event) -> Option<Entry> {
    if matches!(event.kind.as_str(), "start" | "summary") {
        return None;
    }
    let client = event
        .client
        .as_ref()
        .and_then(crate::event::Endpoint::socket);
    let sure = event.confidence.unwrap_or_default();
    let of = client.map_or_else(String::new, |client| format!(" of {client}"));
    // Its advice is shown with what it came to.
    let text = format!("{} {} ({sure:.2}){of}", event.kind, event.answer());
    Some(Entry {
        at: event.time.as_deref().and_then(Moment::parse)?,
        source: format!("kreset on {side}"),
        text,
    })
}
