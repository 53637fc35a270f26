//! Incidents: their lines, and which of their members are shown.

use std::{fmt::Write as _, num::NonZeroUsize};

use lru::LruCache;

use super::{
    Text,
    block::{INDENT, Row},
    wrap::wrap,
};
use crate::{
    event::{Finding, Id, Incident, class_name},
    util::escape::Escaped,
};

/// Members of an incident that are shown, unless all are asked for.
const SHOWN: usize = 3;
/// Incidents whose members are counted.
const INCIDENTS: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");

/// How many members of each incident were shown.
#[derive(Debug)]
pub(super) struct Members(LruCache<Id, usize>);

impl Default for Members {
    fn default() -> Self {
        Self(LruCache::new(INCIDENTS))
    }
}

impl Members {
    /// An incident began, with so many of its members shown already.
    fn begin(&mut self, incident: &Incident) {
        self.0.put(incident.incident_id, incident.earlier.len());
    }

    /// Whether an incident has shown enough of its members; another one is counted.
    fn are_enough(&mut self, id: Id) -> bool {
        let shown = self.0.get_or_insert_mut(id, || 0);
        *shown += 1;
        *shown > SHOWN
    }
}

impl Text {
    /// A member of an incident of which enough was shown: what there is to say is in the
    /// incident's lines.
    pub(super) fn is_extra(&mut self, finding: &Finding) -> bool {
        let shows_all = self.options.verbosity > 0 || self.options.every_event;
        let incident = finding.incident_id.filter(|_| !shows_all);
        incident.is_some_and(|id| self.members.are_enough(id))
    }

    pub(super) fn incident(&mut self, it: &Incident) -> Vec<Row> {
        let clock = self.clock(it.time);
        let style = if it.begins() {
            self.members.begin(it);
            self.palette.alarm
        } else {
            self.palette.bold
        };
        let mut rows = self.headed(&clock, &headline(it), style);
        let facts = it.facts().join("; ");
        let lines = wrap(INDENT, INDENT, &facts, self.width());
        rows.extend(lines.into_iter().map(Row::plain));
        if it.begins() && self.is_new(None, &it.advice) {
            rows.extend(self.advice(&it.advice));
        }
        rows
    }
}

/// What it is, and whether it begins or is over.
fn headline(it: &Incident) -> String {
    let phase = if it.begins() {
        "begins"
    } else if it.still_open {
        "so far"
    } else {
        "over"
    };
    let mut text = format!(
        "INCIDENT {phase}: {} {}, {}",
        it.incident.culprit(),
        it.incident.deed(),
        it.brokers(),
    );
    if let Some(client) = it.one_client() {
        // Writing to memory does not fail.
        let _written = write!(text, ", client {client}");
    }
    text
}

/// The fields of a line, as in that of a finding; the kind stands for the process.
pub(super) fn line(text: &mut Text, line: &mut String, it: &Incident) {
    let culprit = it.incident.culprit();
    let style = text.palette.culprit(culprit);
    let class = class_name(it.verdict, it.cause);
    let broker = it
        .broker()
        .map_or_else(|| "-".to_owned(), |broker| it.socket_of(broker));
    // Writing to memory does not fail.
    let _written = write!(
        line,
        " {style}{culprit}{style:#} {class} - - {broker} - {} -: {}; {}",
        it.incident,
        headline(it),
        it.facts().join("; "),
    );
    if it.begins() {
        text.members.begin(it);
        if text.is_new(None, &it.advice) {
            let _written = write!(line, " -> {}", Escaped(&it.advice));
        }
    }
}
