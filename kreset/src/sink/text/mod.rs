//! Text for people.
//!
//! On a terminal a finding is a block whose first line stands alone, and repeats are
//! counted in it. Elsewhere each event is one line, with its fields in a fixed order,
//! for `grep` and `awk`. Of an incident its own lines are shown, and its first members.

mod block;
mod details;
mod fold;
mod incident;
mod line;
mod live;
mod pair;
mod palette;
pub(super) mod probe;
mod run_events;
mod why;
pub(super) mod words;
pub(super) mod wrap;

use std::{
    collections::HashSet,
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use jiff::{
    civil::Date,
    tz::{Offset, TimeZone},
};

use self::{
    block::{Block, Row},
    fold::Fold,
    incident::Members,
    live::Live,
    palette::Palette,
};
use crate::{
    delivery::{Encoder, Glance, SinkError},
    event::{Cause, Endpoint, Event, Finding, Message, Role, Time},
    util::{escape::Escaped, units::percent},
};

/// Advice that is remembered as said.
const ADVICE: usize = 512;

/// How text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Layout {
    /// One line an event.
    #[default]
    Lines,
    /// A block a finding, whose count of repeats is updated.
    Blocks(Update),
}

/// When the count of repeats is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// At once, where the block stands on the terminal.
    InPlace,
    /// Once a minute, in a line of its own.
    EachMinute,
    /// In the block, which is written when no more repeats come.
    AtEnd,
}

/// What text is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TextOptions {
    /// 1 adds why and why not, 2 all weights and facts.
    pub verbosity: u8,
    /// Whether to use colour.
    pub color: bool,
    /// Whether repeats are shown one by one.
    pub every_event: bool,
    /// Whether to leave out what is not about connections.
    pub quiet: bool,
    /// How it is laid out.
    pub layout: Layout,
}

/// Columns and rows of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
}

impl Size {
    /// Of a pipe or file: lines are not broken.
    pub const UNBOUNDED: Self = Self {
        columns: 100_000,
        rows: 24,
    };

    /// What is assumed where it is not known.
    pub const DEFAULT: Self = Self {
        columns: 80,
        rows: 24,
    };
}

/// Encodes each event for people.
pub struct Text {
    options: TextOptions,
    palette: Palette,
    zone: TimeZone,
    /// The terminal's size now.
    size: Box<dyn Fn() -> Size + Send>,
    /// The local day that the times in the output are of.
    day: Option<(Date, Offset)>,
    /// Advice that was said, with the cause.
    said: HashSet<(Option<Cause>, String)>,
    /// Namespaces of the processes so far: they are named once there are two.
    namespaces: HashSet<u32>,
    live: Live,
    members: Members,
    /// Rows that are not updated any more, to be written.
    due: Vec<Row>,
    /// The event being written.
    block: String,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Text {
    /// Text in this machine's time zone, for a terminal of `size`.
    #[must_use]
    pub fn new(options: TextOptions, size: Box<dyn Fn() -> Size + Send>) -> Self {
        Self::in_zone(options, size, TimeZone::system())
    }

    fn in_zone(options: TextOptions, size: Box<dyn Fn() -> Size + Send>, zone: TimeZone) -> Self {
        Self {
            options,
            palette: if options.color {
                Palette::COLORED
            } else {
                Palette::PLAIN
            },
            zone,
            size,
            day: None,
            said: HashSet::new(),
            namespaces: HashSet::new(),
            live: Live::default(),
            members: Members::default(),
            due: Vec::new(),
            block: String::new(),
        }
    }

    fn width(&self) -> usize {
        (self.size)().columns.max(40)
    }

    /// The local time of day; a new day is named in a row of its own.
    fn clock(&mut self, Time(timestamp): Time) -> String {
        let offset = self.zone.to_offset(timestamp);
        let local = offset.to_datetime(timestamp);
        let day = (local.date(), offset);
        if self.day != Some(day) {
            self.day = Some(day);
            let zone = if offset == Offset::UTC {
                String::new()
            } else {
                offset.to_string()
            };
            self.due.push(Row::styled(
                format!("--- {}, UTC{zone} ---", local.date()),
                self.palette.dim,
            ));
        }
        format!(
            "{:02}:{:02}:{:02}",
            local.hour(),
            local.minute(),
            local.second()
        )
    }

    /// Whether `advice` has not been given for this cause; it then has.
    fn is_new(&mut self, cause: Option<Cause>, advice: &str) -> bool {
        if advice.is_empty() {
            return false;
        }
        if self.said.len() >= ADVICE {
            self.said.clear();
        }
        self.said.insert((cause, advice.to_owned()))
    }

    /// The block of a finding that stands for all of `fold`; with advice if `advise`.
    fn block_of(&mut self, finding: &Finding, fold: &Fold, advise: bool) -> Block {
        let time = self.clock(Time(fold.first));
        let ends = [Role::Client, Role::Broker].map(|role| finding.process_of(role)?.netns);
        self.namespaces.extend(ends.into_iter().flatten());
        let mut block = Block {
            time,
            culprit: Some(finding.culprit()),
            deed: finding.deed().to_owned(),
            is_noise: finding.is_noise(),
            sure: if finding.cause.is_some() {
                format!("{} sure", percent(fold.confidence))
            } else {
                String::new()
            },
            ends: words::ends(finding, fold, self.namespaces.len() > 1),
            facts: words::facts(finding, fold),
            ..Block::default()
        };
        block.count = fold.count();
        if self.options.verbosity > 0 {
            block.why = why::lines(finding);
        }
        if self.options.verbosity > 1 {
            block.details = details::lines(finding);
        }
        if advise {
            block.advice = Escaped(&finding.advice).to_string();
            let name = finding
                .cause
                .map_or(finding.verdict.as_str(), Cause::as_str);
            block.more = format!("more: kreset-trace explain {name}");
        }
        block
    }

    fn event(&mut self, event: &Event) {
        let rows = match event {
            Event::Start(_) | Event::Summary(_) if self.options.quiet => Vec::new(),
            Event::Start(start) => self.start(start),
            Event::Reset(finding) | Event::Close(finding) | Event::Timeout(finding) => {
                return self.finding(finding);
            }
            Event::Alert(alert) => self.alert(alert),
            Event::Incident(incident) => self.incident(incident),
            Event::Correction(it) if self.is_extra(&it.finding) => Vec::new(),
            Event::Correction(correction) => self.correction(correction),
            Event::Loss(loss) => self.loss(loss),
            Event::Summary(summary) => {
                if summary.end {
                    self.end_live();
                }
                self.summary(summary)
            }
            Event::Probe(probe) => self.probe(probe),
            Event::Finding(finding) => self.pair(finding),
        };
        self.due.extend(rows);
    }

    /// Writes what is held back: to be called after the last event.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_live();
        self.write(out);
    }

    /// Writes the rows that are due, and what is updated in place below them.
    fn write(&mut self, out: &mut Vec<u8>) {
        self.block.clear();
        self.draw();
        out.extend_from_slice(self.block.as_bytes());
    }
}

impl Encoder for Text {
    fn encode(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), SinkError> {
        let event = &message.event;
        if self.options.layout == Layout::Lines && !matches!(event, Event::Probe(_)) {
            let is_left_out = matches!(event, Event::Start(_) | Event::Summary(_));
            let is_extra = event.finding().is_some_and(|it| self.is_extra(it));
            if !(is_extra || self.options.quiet && is_left_out) {
                self.block.clear();
                line::write(self, event);
                out.extend_from_slice(self.block.as_bytes());
            }
            return Ok(());
        }
        self.event(event);
        if !self.due.is_empty() || self.live.is_time_to_draw(Instant::now()) {
            self.write(out);
        }
        Ok(())
    }

    fn glance(&mut self, glance: &Glance, out: &mut Vec<u8>) {
        if self.options.layout != Layout::Blocks(Update::InPlace) || self.options.quiet {
            return;
        }
        let before = std::mem::replace(&mut self.live.status, status(glance));
        if before != self.live.status || self.live.is_dirty {
            self.write(out);
        }
    }
}

/// What the last line of a terminal says.
fn status(glance: &Glance) -> String {
    let minutes = glance.attached.as_secs() / 60;
    let span = if minutes == 0 {
        "the first minute".to_owned()
    } else if minutes < 120 {
        format!("{minutes} min")
    } else {
        format!("{} h", minutes / 60)
    };
    format!(
        "watching {}, {} in {span}",
        run_events::watching(glance.watched, &glance.ports),
        crate::util::units::count(glance.events, "reset"),
    )
}

/// As IP:PORT.
const fn socket(endpoint: Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.address, endpoint.port)
}

/// Redraws within this time are left out.
const REDRAW: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
