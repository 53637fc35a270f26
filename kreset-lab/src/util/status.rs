//! The current activity of a scenario, for people who wait for it.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use super::lock::lock;

/// A line that says what is being done, shared by who does it and who shows it.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Mutex<Option<(String, Instant)>>>);

impl Status {
    /// Says what is done from now on.
    pub fn set(&self, activity: impl Into<String>) {
        let now = (activity.into(), Instant::now());
        *lock(&self.0) = Some(now);
    }

    /// What is done, and for how many seconds already; nothing at the very beginning.
    pub fn line(&self) -> Option<String> {
        let (what, since) = lock(&self.0).clone()?;
        Some(format!("{what} ({} s)", since.elapsed().as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_all_copies_have_it() {
        let status = Status::default();
        assert_eq!(status.line(), None);
        let shown = status.clone();
        status.set("starting a broker");
        status.set("10 s of silence");
        assert!(
            shown
                .line()
                .is_some_and(|line| line.starts_with("10 s of silence ("))
        );
    }
}
