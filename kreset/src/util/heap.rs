//! Returns free memory of the heap to the system.

use std::time::{Duration, Instant};

/// Returns free memory of the heap to the system: what the kernel's types take is not needed
/// once programs are attached.
pub(crate) fn trim() {
    // Other C libraries return large blocks by themselves.
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer and touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Trims the heap after a thread has used much memory. glibc keeps what is freed:
/// 2.7 MB of a sink that has caught up with a receiver that was down.
#[derive(Debug, Default)]
pub(crate) struct HeapTrimmer {
    is_needed: bool,
    trimmed: Option<Instant>,
}

impl HeapTrimmer {
    /// Trimming takes a millisecond, and a longer load needs the memory again.
    const EVERY: Duration = Duration::from_secs(10);

    /// Much memory was allocated.
    pub(crate) const fn allocated(&mut self) {
        self.is_needed = true;
    }

    /// Trims, at most every ten seconds, if much was allocated since.
    pub(crate) fn trim_if_due(&mut self) {
        if self.is_due(Instant::now()) {
            trim();
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.is_needed
            && self
                .trimmed
                .is_none_or(|at| now.saturating_duration_since(at) >= Self::EVERY);
        if is_due {
            (self.is_needed, self.trimmed) = (false, Some(now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_is_trimmed_once_after_a_load_and_not_too_often() {
        let mut trimmer = HeapTrimmer::default();
        let begin = Instant::now();
        assert!(!trimmer.is_due(begin), "nothing was allocated");
        trimmer.allocated();
        assert!(trimmer.is_due(begin));
        assert!(
            !trimmer.is_due(begin + HeapTrimmer::EVERY),
            "it was trimmed"
        );
        trimmer.allocated();
        assert!(!trimmer.is_due(begin + HeapTrimmer::EVERY / 2));
        assert!(trimmer.is_due(begin + HeapTrimmer::EVERY));
    }
}
