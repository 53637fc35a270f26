//! A bar for files that take more than a second.

use std::{
    io::{IsTerminal as _, stderr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::capture::input::Input;

/// Nothing is shown for what takes less.
const SOON: Duration = Duration::from_secs(1);

/// How much of a file was read.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    began: Instant,
    read: Arc<AtomicU64>,
}

impl Progress {
    pub(super) fn new(path: &Path, input: &Input) -> Self {
        let bar = input
            .length
            .filter(|length| *length > 0 && stderr().is_terminal())
            .map(|length| {
                let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
                if let Ok(style) =
                    ProgressStyle::with_template("{msg} {wide_bar} {percent} %, {eta} left")
                {
                    bar.set_style(style);
                }
                bar.set_message(path.display().to_string());
                bar
            });
        Self {
            bar,
            began: Instant::now(),
            read: Arc::clone(&input.read),
        }
    }

    /// To be called now and then.
    pub(super) fn tick(&self) {
        if let Some(bar) = &self.bar
            && self.began.elapsed() >= SOON
        {
            if bar.is_hidden() {
                bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            bar.set_position(self.read.load(Relaxed));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
