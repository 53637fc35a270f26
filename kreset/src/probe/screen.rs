//! Progress on standard error: a bar on a terminal, one line per result elsewhere.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::{
    measure::seconds,
    progress::Progress,
    rung::{Outcome, Rung},
    terminal,
};

/// All bars, one for each address.
#[derive(Debug)]
pub(super) struct Screens {
    bars: Option<MultiProgress>,
}

/// The bar of one address, or its lines.
#[derive(Debug)]
pub(super) struct Screen {
    /// What distinguishes this address from the others.
    name: String,
    bar: Option<ProgressBar>,
    stage: RefCell<String>,
    began: Cell<Instant>,
    /// How many connections met each outcome.
    counts: RefCell<BTreeMap<&'static str, u32>>,
}

impl Screens {
    pub(super) fn new() -> Self {
        Self {
            bars: io::stderr()
                .is_terminal()
                .then(|| MultiProgress::with_draw_target(terminal::target())),
        }
    }

    /// Does `work`, which writes to the terminal, while no bar is there.
    pub(super) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.bars {
            Some(bars) => bars.suspend(work),
            None => work(),
        }
    }

    /// One more address; `name` is empty where it is the only one.
    pub(super) fn add(&self, name: &str) -> Screen {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(1));
            let style = ProgressStyle::with_template(
                "{prefix}{msg}\n[{wide_bar}] {elapsed} of at most {len}",
            )
            .unwrap_or_else(|_wrong| ProgressStyle::default_bar())
            .with_key(
                "elapsed",
                |state: &indicatif::ProgressState, f: &mut dyn std::fmt::Write| {
                    let _written = write!(f, "{}", clock(state.pos()));
                },
            )
            .with_key(
                "len",
                |state: &indicatif::ProgressState, f: &mut dyn std::fmt::Write| {
                    let _written = write!(f, "{}", clock(state.len().unwrap_or(0)));
                },
            )
            .progress_chars("=> ");
            bar.set_style(style);
            bar
        });
        let name = if name.is_empty() {
            String::new()
        } else {
            format!("{name}: ")
        };
        if let Some(bar) = &bar {
            bar.set_prefix(name.clone());
        }
        Screen {
            name,
            bar,
            stage: RefCell::default(),
            began: Cell::new(Instant::now()),
            counts: RefCell::default(),
        }
    }
}

/// Milliseconds as people read a stopwatch.
fn clock(ms: u64) -> String {
    let seconds = ms / 1_000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

impl Screen {
    /// Moves the bar; to be called several times a second.
    pub(super) fn tick(&self) {
        if let Some(bar) = &self.bar {
            let ms = self.began.get().elapsed().as_millis();
            bar.set_position(u64::try_from(ms).unwrap_or(u64::MAX));
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(format!("{}{text}", self.name)),
            None => {
                // Nothing can be done about a reader that went away.
                let _unseen = writeln!(io::stderr(), "{}{text}", self.name);
            }
        }
    }

    fn message(&self) {
        if let Some(bar) = &self.bar {
            let counts = self.counts.borrow();
            let counts: Vec<String> = counts
                .iter()
                .map(|(words, count)| format!("{count} {words}"))
                .collect();
            let so_far = if counts.is_empty() {
                String::new()
            } else {
                format!("; so far {}", counts.join(", "))
            };
            bar.set_message(format!("{}{so_far}", self.stage.borrow()));
        }
    }
}

impl Progress for Screen {
    fn stage(&self, what: &str, at_most: Duration) {
        self.stage.replace(what.to_owned());
        self.counts.borrow_mut().clear();
        self.began.set(Instant::now());
        if let Some(bar) = &self.bar {
            bar.set_length(u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX));
            bar.set_position(0);
            self.message();
        } else {
            self.line(&format!("{what}, for {} at most", seconds(at_most)));
        }
    }

    fn rung(&self, rung: &Rung) {
        *self
            .counts
            .borrow_mut()
            .entry(rung.outcome.words())
            .or_default() += 1;
        if self.bar.is_none() || rung.outcome != Outcome::Alive {
            let silent = rung.silent.least.as_secs_f64();
            self.line(&format!(
                "silent for {silent:.2} s: {}",
                rung.outcome.words()
            ));
        }
        self.message();
    }

    fn note(&self, text: &str) {
        self.line(text);
    }
}
