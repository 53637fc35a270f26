//! How long to wait before trying again.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// The first wait.
const LEAST: Duration = Duration::from_millis(100);
/// No wait is longer.
const MOST: Duration = Duration::from_secs(30);

/// Waits that double from 0.1 s to 30 s, each shortened at random by up to a
/// half, so that a thousand agents that lost one receiver do not return at once.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure.
    pub fn failed(&mut self) -> Duration {
        let whole = LEAST
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(MOST);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(0.5_f64.mul_add(chance(), 0.5))
    }

    /// Resets the wait to the first one.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Whether the last attempt failed.
    #[must_use]
    pub const fn is_failing(&self) -> bool {
        self.failures > 0
    }
}

/// A random number from 0 to 1: the standard library seeds each hasher at random,
/// which is enough to spread agents.
fn chance() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 32;
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_their_bounds_and_start_anew() {
        let mut backoff = Backoff::default();
        for round in 0..2 {
            for (failure, whole) in [100, 200, 400, 800, 1_600].into_iter().enumerate() {
                let wait = backoff.failed();
                let whole = Duration::from_millis(whole);
                assert!(
                    wait >= whole / 2 && wait <= whole,
                    "round {round}, failure {failure}: {wait:?}"
                );
            }
            assert!(backoff.is_failing());
            backoff.succeeded();
        }
        for _ in 0..100 {
            assert!(backoff.failed() <= MOST);
        }
        assert!(backoff.failed() >= MOST / 2);
    }

    #[test]
    fn no_two_agents_wait_alike() {
        let waits: Vec<_> = std::iter::repeat_with(|| Backoff::default().failed())
            .take(20)
            .collect();
        assert!(waits.windows(2).any(|pair| pair[0] != pair[1]), "{waits:?}");
    }
}
