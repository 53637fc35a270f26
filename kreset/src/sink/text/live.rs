//! Findings whose count is still updated: at the bottom of a terminal, in place.

use std::{fmt::Write as _, num::NonZeroUsize, time::Instant};

use jiff::Timestamp;
use lru::LruCache;

use super::{
    Layout, REDRAW, Text, Update,
    block::{Block, INDENT, Row},
    fold::{Fold, Key},
    wrap::{width_of, wrap},
};
use crate::event::Finding;

/// Kinds whose count goes on after their block has left the screen.
const KEPT: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");
/// Where counts are not updated in place, they are written this often.
const MINUTE_S: i64 = 60;

/// The kinds of findings that are shown.
#[derive(Debug)]
pub(super) struct Live {
    /// In the order of their first findings' times.
    entries: Vec<Entry>,
    /// Those that have left the screen.
    left: LruCache<Key, Fold>,
    /// The last line.
    pub(super) status: String,
    /// Rows on the terminal that a redraw replaces, and its width then.
    drawn: (usize, usize),
    drawn_at: Option<Instant>,
    /// Something has changed since.
    pub(super) is_dirty: bool,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            left: LruCache::new(KEPT),
            status: String::new(),
            drawn: (0, 0),
            drawn_at: None,
            is_dirty: false,
        }
    }
}

impl Live {
    /// Whether there is something to draw, and the latest redraw is long enough ago.
    pub(super) fn is_time_to_draw(&self, now: Instant) -> bool {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < REDRAW;
        self.is_dirty && !self.drawn_at.is_some_and(is_recent)
    }
}

#[derive(Debug)]
struct Entry {
    key: Key,
    fold: Fold,
    block: Block,
    /// Whether the block is shown, or its first line alone.
    is_whole: bool,
    /// The count that was written last, and when.
    written: (u64, Timestamp),
}

impl Text {
    /// Takes a finding in: a block of its own, or a repeat.
    pub(super) fn finding(&mut self, finding: &Finding) {
        let Layout::Blocks(update) = self.options.layout else {
            return;
        };
        let key = Key::of(finding);
        if self.options.every_event {
            let fold = Fold::new(finding);
            let advise = self.is_new_advice(finding);
            let block = self.block_of(finding, &fold, advise);
            let rows = block.rows(&self.palette, self.width());
            self.due.extend(rows);
            return;
        }
        let is_extra = self.is_extra(finding);
        let at = self.live.entries.iter().position(|it| it.key == key);
        if let Some(at) = at
            && self.live.entries[at].fold.is_over(finding)
        {
            let entry = self.live.entries.remove(at);
            self.leave(&entry);
        } else if let Some(at) = at {
            // Its count goes on, whether or not it is of an incident.
            self.repeat(at, finding, update);
            return;
        }
        let known = self.live.left.pop(&key).filter(|it| !it.is_over(finding));
        if is_extra && known.is_none() {
            // Of another kind than those that were shown: the incident's lines count it.
            return;
        }
        let is_whole = known.is_none();
        let fold = known.map_or_else(
            || Fold::new(finding),
            |mut fold| {
                fold.add(finding);
                fold
            },
        );
        let advise = is_whole && self.is_new_advice(finding);
        let block = self.block_of(finding, &fold, advise);
        let written = (fold.count, fold.latest);
        if update == Update::EachMinute {
            let rows = block.rows(&self.palette, self.width());
            self.due.extend(rows);
        }
        // In the order of what happened: what is held for longer is no later for that.
        let entries = &mut self.live.entries;
        let at = entries.partition_point(|it| it.fold.first <= fold.first);
        entries.insert(
            at,
            Entry {
                key,
                fold,
                block,
                is_whole,
                written,
            },
        );
        self.live.is_dirty = true;
    }

    fn repeat(&mut self, at: usize, finding: &Finding, update: Update) {
        let mut fold = self.live.entries[at].fold.clone();
        fold.add(finding);
        let mut block = self.block_of(finding, &fold, false);
        let is_due = update == Update::EachMinute
            && fold
                .latest
                .duration_since(self.live.entries[at].written.1)
                .as_secs()
                >= MINUTE_S;
        if is_due {
            self.due.push(block.first(&self.palette));
        }
        let entry = &mut self.live.entries[at];
        if is_due {
            entry.written = (fold.count, fold.latest);
        }
        std::mem::swap(&mut block.advice, &mut entry.block.advice);
        std::mem::swap(&mut block.more, &mut entry.block.more);
        (entry.fold, entry.block) = (fold, block);
        self.live.is_dirty = true;
    }

    pub(super) fn is_new_advice(&mut self, finding: &Finding) -> bool {
        // The same of another broker, which its block names, is nothing new.
        let broker = super::socket(finding.broker).to_string();
        self.is_new(finding.cause, &finding.advice.replace(&broker, ""))
    }

    /// An entry that is not updated any more.
    fn leave(&mut self, entry: &Entry) {
        let is_said = entry.written.0 == entry.fold.count;
        match self.options.layout {
            Layout::Blocks(Update::EachMinute) if is_said => {}
            Layout::Blocks(Update::EachMinute) => self.due.push(entry.block.first(&self.palette)),
            _ => {
                let rows = self.rows_of(entry);
                self.due.extend(rows);
            }
        }
        self.live.is_dirty = true;
    }

    /// All entries leave.
    pub(super) fn end_live(&mut self) {
        for entry in std::mem::take(&mut self.live.entries) {
            self.leave(&entry);
        }
        self.live.status.clear();
        self.live.is_dirty = true;
    }

    fn rows_of(&self, entry: &Entry) -> Vec<Row> {
        if entry.is_whole {
            entry.block.rows(&self.palette, self.width())
        } else {
            vec![entry.block.first(&self.palette)]
        }
    }

    /// Makes room: blocks leave the terminal, and are counted in one line from then on.
    fn make_room(&mut self, columns: usize, rows: usize) -> Vec<Row> {
        loop {
            let shown: Vec<Row> = self
                .live
                .entries
                .iter()
                .flat_map(|entry| self.rows_of(entry))
                .collect();
            if physical(&shown, columns) < rows {
                return shown;
            }
            let oldest = |is_whole: bool| {
                let entries = self.live.entries.iter().enumerate();
                entries
                    .filter(|(_, it)| it.is_whole == is_whole)
                    .min_by_key(|(_, it)| it.fold.latest)
                    .map(|(at, _)| at)
            };
            if let Some(at) = oldest(true) {
                let rows = self.rows_of(&self.live.entries[at]);
                self.due.extend(rows);
                let entry = self.live.entries.remove(at);
                self.live.left.put(entry.key, entry.fold);
            } else if let Some(at) = oldest(false) {
                let entry = self.live.entries.remove(at);
                self.live.left.put(entry.key, entry.fold);
            } else {
                return shown;
            }
        }
    }

    /// Appends what is due to the output, and what is updated in place below it.
    pub(super) fn draw(&mut self) {
        let size = (self.size)();
        let columns = size.columns.max(1);
        let is_in_place = self.options.layout == Layout::Blocks(Update::InPlace);
        let mut status = Vec::new();
        if is_in_place && !self.live.status.is_empty() {
            let lines = wrap("", INDENT, &self.live.status, columns.saturating_sub(1));
            let dim = self.palette.dim;
            status.extend(lines.into_iter().map(|line| Row::styled(line, dim)));
        }
        let shown = if is_in_place {
            // What is updated has to stay in sight, with the line of the cursor below.
            self.make_room(
                columns,
                size.rows.saturating_sub(physical(&status, columns)),
            )
        } else {
            Vec::new()
        };
        let (rows, width) = self.live.drawn;
        // A terminal that was resized has wrapped its lines anew: what is there stays.
        if is_in_place && rows > 0 && width == columns {
            // Writing to memory does not fail.
            let _written = write!(self.block, "\x1b[{rows}A\r\x1b[J");
        }
        for row in self.due.drain(..) {
            row.write(&mut self.block);
        }
        let mut below = shown;
        below.extend(status);
        self.live.drawn = (physical(&below, columns), columns);
        for row in &below {
            row.write(&mut self.block);
        }
        self.live.is_dirty = false;
        self.live.drawn_at = Some(Instant::now());
    }
}

/// Rows of a terminal that `rows` take.
fn physical(rows: &[Row], columns: usize) -> usize {
    rows.iter()
        .map(|row| width_of(row.text.trim_end()).div_ceil(columns).max(1))
        .sum()
}
