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
    /// [`Error::Deadline`] when `patience` is over, naming `what`; [`Error::Stopped`]; what
    /// `still` says.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        from: usize,
        patience: impl Into<Patience>,
        stop: &Stop,
        fits: impl Fn(&str) -> bool,
        mut still: impl FnMut() -> Result<()>,
    ) -> Result<Line> {
        let Patience { silence, most } = patience.into();
        let began = Instant::now();
        let mut progress = began;
        let mut looked_at = from;
        let mut hope = Ok(());
        loop {
            let deadline = (began + most).min(progress + silence);
            let left = deadline.saturating_duration_since(Instant::now());
            let waited = left.min(Stop::GLANCE);
            let before = looked_at;
            let found = self.lines.wait_until(what, waited, stop, |lines| {
                let mut fresh = lines.from(looked_at).iter();
                looked_at = looked_at.max(lines.count());
                fresh.find(|line| fits(&line.text)).cloned()
            });
            if looked_at > before {
                progress = Instant::now();
            }
            match found {
                Err(Error::Deadline { .. }) if !left.is_zero() || looked_at > before => {
                    // Only now: what was written before the end counts.
                    hope?;
                    hope = still();
                }
                Err(Error::Deadline { what, .. }) => {
                    return Err(Error::Deadline {
                        what,
                        waited: deadline.saturating_duration_since(began),
                    });
                }
                found => return found,
            }
        }
    }
}

/// How long something may take that a program does, line by line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Without a further line.
    pub(crate) silence: Duration,
    /// Altogether.
    pub(crate) most: Duration,
}

impl From<Duration> for Patience {
    /// So long, whatever is written meanwhile.
    fn from(most: Duration) -> Self {
        Self {
            silence: most,
            most,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn a_line_is_waited_for_and_old_ones_do_not_count() {
        let log = Journal::default().open("broker");
        log.write("started");
        let from = log.length();
        let writer = log.clone();
        let thread = thread::spawn(move || writer.write("started again"));
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

    /// Waits for a line that comes after so many others, or never.
    fn wait_through(lines: Option<u32>, patience: Patience) -> Result<Line> {
        let log = Journal::default().open("broker");
        let stop = Stop::default();
        thread::scope(|scope| {
            let (writer, over) = (log.clone(), stop.clone());
            scope.spawn(move || {
                for number in 0_u32.. {
                    if over.sleep(patience.silence / 10).is_err() {
                        return;
                    }
                    writer.write(match lines {
                        Some(last) if number >= last => "started",
                        _ => "loading",
                    });
                }
            });
            let is_start = |text: &str| text == "started";
            let found = log.wait_for(
                "a start",
                0,
                patience,
                &Stop::default(),
                is_start,
                || Ok(()),
            );
            stop.request();
            found
        })
    }

    #[test]
    fn what_goes_on_may_take_longer_than_a_silence_and_not_for_ever() {
        let silence = Duration::from_millis(500);
        // For three times as long as it may be silent.
        let slow = wait_through(
            Some(30),
            Patience {
                silence,
                most: PATIENCE * 12,
            },
        );
        assert_eq!(slow.expect("it comes").text, "started");
        let most = silence * 3;
        let endless = wait_through(None, Patience { silence, most });
        let error = endless.expect_err("it never comes");
        assert!(
            matches!(&error, Error::Deadline { waited, .. } if *waited == most),
            "{error}"
        );
    }

    #[test]
    fn a_program_that_falls_silent_is_given_up() {
        let log = Journal::default().open("broker");
        log.write("loading");
        let patience = Patience {
            silence: Duration::from_millis(100),
            most: PATIENCE * 12,
        };
        let began = Instant::now();
        let error = log
            .wait_for(
                "a start",
                0,
                patience,
                &Stop::default(),
                |_| false,
                || Ok(()),
            )
            .expect_err("it says nothing more");
        assert!(matches!(error, Error::Deadline { .. }), "{error}");
        assert!(began.elapsed() < patience.most);
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
