//! Memory that is needed now and then goes back to the system.

use std::time::{Duration, Instant};

/// Gives memory that is free in the heap back to the system. Reading the
/// kernel's types takes 17 MB that nothing needs once all is attached.
pub(crate) fn trim() {
    // Other libraries give large blocks back by themselves.
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer and touches free memory alone.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A thread that takes much memory now and then. glibc keeps what it frees: 2.7 MB
/// of a sink that has once caught up with a receiver that was away.
#[derive(Debug, Default)]
pub(crate) struct Spender {
    owes: bool,
    paid: Option<Instant>,
}

impl Spender {
    /// Giving back takes a millisecond, and what goes on for long needs it again.
    const EVERY: Duration = Duration::from_secs(10);

    /// Much was taken.
    pub(crate) const fn spend(&mut self) {
        self.owes = true;
    }

    /// Nothing of it is needed for the moment.
    pub(crate) fn settle(&mut self) {
        if self.is_due(Instant::now()) {
            trim();
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.owes
            && self
                .paid
                .is_none_or(|paid| now.saturating_duration_since(paid) >= Self::EVERY);
        if is_due {
            (self.owes, self.paid) = (false, Some(now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_given_back_once_and_not_too_often() {
        let mut spender = Spender::default();
        let begin = Instant::now();
        assert!(!spender.is_due(begin), "nothing was taken");
        spender.spend();
        assert!(spender.is_due(begin));
        assert!(!spender.is_due(begin + Spender::EVERY), "it was given back");
        spender.spend();
        assert!(!spender.is_due(begin + Spender::EVERY / 2));
        assert!(spender.is_due(begin + Spender::EVERY));
    }
}
