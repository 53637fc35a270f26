//! What real programs wrote while a scenario ran, line by line, with the time of each.

use std::{
    iter,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{
    Moment, Stop,
    error::{Error, Result},
    util::{feed::Feed, lock::lock},
};

/// One line of a program's output.
#[derive(Clone, Debug)]
pub struct Line {
    /// When the lab read it.
    pub at: Moment,
    /// The line, without its end.
    pub text: String,
}

/// The logs of all programs of a lab, in the order in which they were started.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Vec<Log>>>);

impl Journal {
    /// Opens a log for a program; the same name opens the same log.
    pub(crate) fn open(&self, name: &str) -> Log {
        let mut logs = lock(&self.0);
        if let Some(log) = logs.iter().find(|log| log.name == name) {
            return log.clone();
        }
        let log = Log {
            name: name.to_owned(),
            lines: Feed::default(),
        };
        logs.push(log.clone());
        log
    }

    /// A name that no log has: `name`, or with a number where that is taken.
    pub(crate) fn fresh(&self, name: &str) -> String {
        let logs = lock(&self.0);
        let numbered = (2..).map(|number| format!("{name} {number}"));
        iter::once(name.to_owned())
            .chain(numbered)
            .find(|name| logs.iter().all(|log| log.name != *name))
            .unwrap_or_default()
    }

    /// All of them.
    pub fn logs(&self) -> Vec<Log> {
        lock(&self.0).clone()
    }
}

/// What one program wrote so far.
#[derive(Clone, Debug)]
pub struct Log {
    name: String,
    lines: Feed<Line>,
}

impl Log {
    /// The program's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.all()
    }

    /// How many lines there are so far: where to look for what comes.
    pub fn length(&self) -> usize {
        self.lines.lock().count()
    }

    pub(crate) fn write(&self, text: &str) {
        self.lines.push(Line {
            at: Moment::now(),
            text: text.to_owned(),
        });
    }

    /// Waits until a line from number `from` on fits, and returns the first such line. Asks
    /// `still` now and then whether there is hope.
    ///
    /// # Errors
    /// [`Error::Deadline`] after `patience`, naming `what`; [`Error::Stopped`]; what `still` says.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        from: usize,
        patience: Duration,
        stop: &Stop,
        fits: impl Fn(&str) -> bool,
        mut still: impl FnMut() -> Result<()>,
    ) -> Result<Line> {
        let deadline = Instant::now() + patience;
        let mut looked_at = from;
        let mut hope = Ok(());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let waited = left.min(Stop::GLANCE);
            let found = self.lines.wait_until(what, waited, stop, |lines| {
                let mut fresh = lines.from(looked_at).iter();
                looked_at = looked_at.max(lines.count());
                fresh.find(|line| fits(&line.text)).cloned()
            });
            match found {
                Err(Error::Deadline { .. }) if !left.is_zero() => {
                    // Only now: what was written before the end counts.
                    hope?;
                    hope = still();
                }
                Err(Error::Deadline { what, .. }) => {
                    return Err(Error::Deadline {
                        what,
                        waited: patience,
                    });
                }
                found => return found,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn a_line_is_waited_for_and_old_ones_do_not_count() {
        let log = Journal::default().open("broker");
        log.write("started");
        let from = log.length();
        let writer = log.clone();
        let thread = std::thread::spawn(move || writer.write("started again"));
        let line = log
            .wait_for(
                "a start",
                from,
                PATIENCE,
                &Stop::default(),
                |text| text.starts_with("started"),
                || Ok(()),
            )
            .expect("it comes");
        assert_eq!(line.text, "started again");
        thread.join().expect("it writes");
    }

    #[test]
    fn programs_of_one_name_have_logs_of_their_own() {
        let journal = Journal::default();
        for expected in ["client", "client 2", "client 3"] {
            let name = journal.fresh("client");
            assert_eq!(name, expected);
            journal.open(&name).write("begun");
        }
        assert!(journal.logs().iter().all(|log| log.length() == 1));
    }

    #[test]
    fn a_dead_program_is_not_waited_for() {
        let log = Journal::default().open("broker");
        let dead = || Err(Error::Staging("it ended".to_owned()));
        let error = log
            .wait_for("a start", 0, PATIENCE, &Stop::default(), |_| false, dead)
            .expect_err("it ended");
        assert!(matches!(error, Error::Staging(_)), "{error}");
    }
}
