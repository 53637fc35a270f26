//! One aligned line an event, for people.
//!
//! The first line of an event stands alone, so that `grep` finds whole
//! events; what belongs to it is indented under it.

mod details;
mod palette;
pub(super) mod probe;
pub(super) mod words;

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, SocketAddr},
};

use jiff::{
    civil::Date,
    tz::{Offset, TimeZone},
};

use self::palette::Palette;
use crate::event::{
    AgeKind, Alert, Coverage, Direction, Endpoint, Event, Finding, Loss, Message, Role, Start,
    Summary, Time,
};
use crate::{
    delivery::{Encoder, SinkError},
    util::{
        escape::Escaped,
        units::{percent, precise, rough},
    },
};

/// Width of the widest IPv4 endpoint, with which the columns start.
const IPV4_WIDTH: usize = "255.255.255.255:65535".len();

/// Width of the widest verdict with a cause of its own.
const VERDICT_WIDTH: usize = "middlebox_idle_reset/reset_on_timer".len();

/// What stands under an event starts below its second column.
const INDENT: &str = "              ";

/// Encodes each event as an aligned line, and more lines under it.
#[derive(Debug)]
pub struct Text {
    verbose: bool,
    palette: Palette,
    zone: TimeZone,
    /// The local day that the times in the output are of.
    day: Option<(Date, Offset)>,
    /// Widths of the columns; they only grow.
    client_width: usize,
    broker_width: usize,
    header_due: bool,
    /// The last advice shown: a hundred resets of one path need it once.
    advice: String,
    /// The event being written.
    block: String,
}

impl Text {
    /// Text in this machine's time zone. `verbose` puts under each event
    /// what it rests on.
    #[must_use]
    pub fn new(verbose: bool, color: bool) -> Self {
        Self::in_zone(verbose, color, TimeZone::system())
    }

    const fn in_zone(verbose: bool, color: bool, zone: TimeZone) -> Self {
        Self {
            verbose,
            palette: if color {
                Palette::COLORED
            } else {
                Palette::PLAIN
            },
            zone,
            day: None,
            client_width: IPV4_WIDTH,
            broker_width: IPV4_WIDTH,
            header_due: true,
            advice: String::new(),
            block: String::new(),
        }
    }

    fn event(&mut self, event: &Event) -> fmt::Result {
        match event {
            Event::Start(start) => self.start(start),
            Event::Reset(finding) => self.finding(finding, 'R'),
            Event::Close(finding) => self.finding(finding, 'F'),
            Event::Timeout(finding) => self.finding(finding, 'x'),
            Event::Alert(alert) => self.alert(alert),
            Event::Loss(loss) => self.loss(loss),
            Event::Summary(summary) => self.summary(summary),
            Event::Probe(probe) => self.probe(probe),
        }
    }

    /// The local time of day; writes a line that names the day if it is a
    /// new one, so call it before anything else of an event is written.
    fn clock(&mut self, Time(timestamp): Time) -> Result<String, fmt::Error> {
        let offset = self.zone.to_offset(timestamp);
        let local = offset.to_datetime(timestamp);
        let day = (local.date(), offset);
        if self.day != Some(day) {
            self.day = Some(day);
            let dim = self.palette.dim;
            let zone = if offset == Offset::UTC {
                String::new()
            } else {
                offset.to_string()
            };
            writeln!(
                self.block,
                "{dim}--- {}, UTC{zone} ---{dim:#}",
                local.date()
            )?;
        }
        Ok(format!(
            "{:02}:{:02}:{:02}.{:03}",
            local.hour(),
            local.minute(),
            local.second(),
            local.millisecond(),
        ))
    }

    fn start(&mut self, start: &Start) -> fmt::Result {
        let clock = self.clock(start.time)?;
        let Palette { bold, warning, .. } = self.palette;
        writeln!(
            self.block,
            "{clock}  {bold}START{bold:#}    kreset-trace {} on {}, kernel {}",
            start.version,
            Escaped(&start.host.name),
            Escaped(&start.kernel),
        )?;
        writeln!(
            self.block,
            "{INDENT}ports {}; packet evidence {}; connections already open {}; attached in {:.0} ms",
            start.ports.join(","),
            start.packet_evidence,
            start.seeded,
            start.attach_ms,
        )?;
        for it in &start.degraded {
            writeln!(
                self.block,
                "{INDENT}{warning}without {}{warning:#}: {}; {}",
                it.feature,
                Escaped(&it.reason),
                Escaped(&it.remedy),
            )?;
        }
        self.header()
    }

    fn header(&mut self) -> fmt::Result {
        self.header_due = false;
        let dim = self.palette.dim;
        let (client, broker) = (self.client_width, self.broker_width);
        writeln!(
            self.block,
            "{dim}{:<12}  {:<7}  {:<client$}     {:<broker$}  {:<VERDICT_WIDTH$}  {:>4}  {:>8}  {:>8}  WHAT{dim:#}",
            "TIME", "HERE", "CLIENT", "BROKER", "VERDICT/CAUSE", "SURE", "IDLE", "AGE",
        )
    }

    fn finding(&mut self, finding: &Finding, packet: char) -> fmt::Result {
        let clock = self.clock(finding.time)?;
        for (endpoint, width) in [
            (finding.client, &mut self.client_width),
            (finding.broker, &mut self.broker_width),
        ] {
            let needed = width_of(endpoint);
            if needed > *width {
                *width = needed;
                self.header_due = true;
            }
        }
        if self.header_due {
            self.header()?;
        }

        // Who sent it: the arrow starts there.
        let from_client = matches!(
            (finding.role, finding.direction),
            (Role::Client, Direction::Sent) | (Role::Broker, Direction::Received)
        );
        let (tail, head) = if from_client { ('-', '>') } else { ('<', '-') };
        let connection = &finding.connection;
        let age = match (connection.age_ms.map(rough), connection.age_kind) {
            (Some(age), Some(AgeKind::AtLeast)) => format!(">{age}"),
            (Some(age), _) => age,
            (None, _) => "-".to_owned(),
        };
        let verdict = finding.cause.map_or_else(
            || finding.verdict.to_string(),
            |cause| format!("{}/{cause}", finding.verdict),
        );
        let style = self.palette.verdict(finding);
        writeln!(
            self.block,
            "{clock}  {:<7}  {:<client$} {tail}{packet}{head} {:<broker$}  {style}{verdict:<VERDICT_WIDTH$}{style:#}  {:>4}  {:>8}  {age:>8}  {}",
            finding.role,
            socket(finding.client),
            socket(finding.broker),
            if finding.cause.is_some() {
                percent(finding.confidence)
            } else {
                "-".to_owned()
            },
            connection.idle_ms.map_or_else(|| "-".to_owned(), precise),
            words::What(finding),
            client = self.client_width,
            broker = self.broker_width,
        )?;
        if self.verbose {
            details::write(&mut self.block, finding)?;
        }
        self.advice(&finding.advice)
    }

    /// The advice on a line of its own, unless it was the last one given.
    fn advice(&mut self, advice: &str) -> fmt::Result {
        if advice.is_empty() || (advice == self.advice && !self.verbose) {
            return Ok(());
        }
        advice.clone_into(&mut self.advice);
        let style = self.palette.advice;
        writeln!(self.block, "{INDENT}{style}-> {}{style:#}", Escaped(advice))
    }

    fn alert(&mut self, alert: &Alert) -> fmt::Result {
        let clock = self.clock(alert.time)?;
        let style = if alert.phase == "end" {
            self.palette.bold
        } else {
            self.palette.alarm
        };
        let cause = alert
            .cause
            .map_or_else(String::new, |cause| format!("/{cause}"));
        writeln!(
            self.block,
            "{clock}  {style}ALERT{style:#}    {} of {} {}{cause} with broker {}: {}{}",
            alert.phase,
            alert.pattern,
            alert.verdict,
            socket(alert.broker),
            Count(alert.count, "event"),
            words::Silences(&alert.path),
        )?;
        self.advice(&alert.advice)
    }

    fn loss(&mut self, loss: &Loss) -> fmt::Result {
        let clock = self.clock(loss.time)?;
        let style = self.palette.alarm;
        writeln!(
            self.block,
            "{clock}  {style}LOSS{style:#}     {}, {} since the start",
            words::Lost(loss),
            loss.total,
        )
    }

    fn summary(&mut self, summary: &Summary) -> fmt::Result {
        let clock = self.clock(summary.time)?;
        let style = self.palette.bold;
        let events: u64 = summary.events.values().sum();
        let noise: u64 = summary.noise.values().sum();
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact for 285,000 years of milliseconds"
        )]
        let attached = rough(summary.duration_ms as f64);
        writeln!(
            self.block,
            "{clock}  {style}SUMMARY{style:#}  {}{attached}: {}, {noise} routine closes, {} lost",
            if summary.end { "end after " } else { "" },
            Count(events, "event"),
            Count(summary.lost, "record"),
        )?;
        for (name, count) in &summary.events {
            writeln!(self.block, "{INDENT}{count:>7}  {}", Escaped(name))?;
        }
        for (name, count) in &summary.noise {
            writeln!(self.block, "{INDENT}{count:>7}  noise: {}", Escaped(name))?;
        }
        self.coverage(&summary.coverage)
    }
}

impl Text {
    /// What this host can vouch for, and how its sinks do.
    fn coverage(&mut self, coverage: &Coverage) -> fmt::Result {
        let addresses = match &coverage.addresses {
            None => "unknown addresses".to_owned(),
            Some(all) => match all.as_slice() {
                [] => "no address".to_owned(),
                [first] => first.to_string(),
                [first, more @ ..] => format!("{first} and {} more", more.len()),
            },
        };
        write!(
            self.block,
            "{INDENT}watched ports {} of {addresses}",
            coverage.ports.join(",")
        )?;
        for (count, what) in [
            (coverage.kernel_lost, "lost in the kernel"),
            (coverage.kernel_skipped, "skipped by the kernel at most"),
            (coverage.kernel_untracked, "not tracked"),
        ] {
            if count > 0 {
                let style = self.palette.alarm;
                write!(self.block, "; {style}{count} {what}{style:#}")?;
            }
        }
        self.block.push('\n');
        for (name, sink) in &coverage.sinks {
            // One that works as it should is not worth a line to people.
            if sink.waiting > 0 || sink.lost > 0 {
                writeln!(
                    self.block,
                    "{INDENT}sink {}: {} delivered, {} waiting, {} lost",
                    Escaped(name),
                    sink.delivered,
                    sink.waiting,
                    sink.lost,
                )?;
            }
        }
        Ok(())
    }
}

impl Encoder for Text {
    fn encode(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), SinkError> {
        self.block.clear();
        self.event(&message.event)?;
        out.extend_from_slice(self.block.as_bytes());
        Ok(())
    }
}

/// A number of things.
struct Count(u64, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{plural}", self.0, self.1)
    }
}

const fn socket(endpoint: Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.address, endpoint.port)
}

fn width_of(endpoint: Endpoint) -> usize {
    match endpoint.address {
        IpAddr::V4(_) => IPV4_WIDTH,
        IpAddr::V6(_) => socket(endpoint).to_string().len(),
    }
}

#[cfg(test)]
mod tests;
