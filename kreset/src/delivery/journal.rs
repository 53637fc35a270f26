//! What a sink's threads log: a failure that repeats is one line a minute.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use crate::util::stderr::log;

/// The time between two lines about the same.
const EVERY: Duration = Duration::from_mins(1);

/// Logs for one sink.
#[derive(Debug)]
pub(super) struct Journal {
    sink: String,
    subjects: BTreeMap<&'static str, Repeats>,
}

impl Journal {
    pub(super) const fn of(sink: String) -> Self {
        Self {
            sink,
            subjects: BTreeMap::new(),
        }
    }

    /// Logs `text`, unless there was a line about `subject` within a minute.
    pub(super) fn log(&mut self, subject: &'static str, text: fmt::Arguments<'_>) {
        let repeats = self.subjects.entry(subject).or_default();
        if let Some(more) = repeats.due(Instant::now()) {
            write(&self.sink, text, more);
        }
    }

    /// Logs that `subject` fails, once until it works: where that would be the second
    /// line within a minute, later.
    pub(super) fn fails(&mut self, subject: &'static str, text: fmt::Arguments<'_>) {
        let repeats = self.subjects.entry(subject).or_default();
        if !repeats.is_said
            && let Some(more) = repeats.due(Instant::now())
        {
            repeats.is_said = true;
            write(&self.sink, text, more);
        }
    }

    /// Logs that `subject` works again, if there was a line that it fails.
    pub(super) fn works(&mut self, subject: &'static str, text: fmt::Arguments<'_>) {
        if let Some(repeats) = self.subjects.get_mut(subject)
            && std::mem::take(&mut repeats.is_said)
        {
            write(&self.sink, text, 0);
        }
    }
}

fn write(sink: &str, text: fmt::Arguments<'_>, more: u64) {
    match more {
        0 => log(format_args!("sink {sink}: {text}")),
        more => log(format_args!(
            "sink {sink}: {text} ({more} more times since the last such line)"
        )),
    }
}

/// When there was a line about a subject.
#[derive(Debug, Default)]
struct Repeats {
    last: Option<Instant>,
    /// Times since then.
    more: u64,
    /// The last line says that it fails.
    is_said: bool,
}

impl Repeats {
    /// One more time: if a line is due, how often it happened without one.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now < last + EVERY) {
            self.more += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_about_a_failure_says_how_it_is() {
        let mut journal = Journal::of("siem".to_owned());
        for _ in 0..3 {
            journal.fails("delivery", format_args!("gone"));
            assert!(journal.subjects["delivery"].is_said);
        }
        journal.works("delivery", format_args!("there"));
        // Within the same minute: the line comes with a later attempt.
        journal.fails("delivery", format_args!("gone"));
        assert!(!journal.subjects["delivery"].is_said);
        let repeats = journal.subjects.get_mut("delivery").unwrap();
        repeats.last = repeats.last.and_then(|last| last.checked_sub(EVERY));
        journal.fails("delivery", format_args!("gone"));
        assert!(journal.subjects["delivery"].is_said);
    }

    #[test]
    fn one_line_a_minute_says_how_often_it_happened() {
        let mut repeats = Repeats::default();
        let begin = Instant::now();
        let lines: Vec<_> = (0..600)
            .filter_map(|tenth| repeats.due(begin + Duration::from_millis(tenth * 200)))
            .collect();
        assert_eq!(lines, [0, 299]);
        assert_eq!(repeats.due(begin + 2 * EVERY), Some(299));
    }
}
