//! What a seed decides.
//!
//! The cases are the same in every run; silences, timers, distances, sizes, counts, orders and
//! kinds of traffic are drawn, each case from its own numbers, so that the same seed gives the same
//! case whatever else is run. Without a seed every choice is the least one: what `run` plays.

use std::{cell::RefCell, time::Duration};

use fastrand::Rng;

/// The seeds that weights may be set by. Any other one is held out: drawn once, for a figure.
pub const USED: [u64; 6] = [1, 2, 3, 4, 5, 6];

/// The numbers of one case, or of one environment. Which case draws which number follows from the
/// order of the calls: a call more or less before another one changes the accuracy matrix.
#[derive(Debug)]
pub(crate) struct Draw(Option<RefCell<Rng>>);

impl Draw {
    /// The numbers of `name` under a seed.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        Self(Some(RefCell::new(Rng::with_seed(seed ^ hash(name)))))
    }

    /// The least of everything: a case at its default parameters.
    pub(crate) const fn least() -> Self {
        Self(None)
    }

    /// One of `from..=to`.
    pub(crate) fn number(&self, from: u16, to: u16) -> u16 {
        self.0
            .as_ref()
            .map_or(from, |rng| rng.borrow_mut().u16(from..=to))
    }

    /// A time, in whole milliseconds.
    pub(crate) fn time(&self, from_ms: u16, to_ms: u16) -> Duration {
        Duration::from_millis(self.number(from_ms, to_ms).into())
    }

    /// One of several.
    pub(crate) fn one_of<T: Copy, const N: usize>(&self, all: [T; N]) -> T {
        let () = const { assert!(N > 0, "there has to be one") };
        let drawn = self.0.as_ref().map(|rng| rng.borrow_mut().usize(0..N));
        all[drawn.unwrap_or(0)]
    }

    /// True in this share of all draws.
    pub(crate) fn chance(&self, share: f64) -> bool {
        let drawn = self.0.as_ref().map(|rng| rng.borrow_mut().f64());
        drawn.is_some_and(|drawn| drawn < share)
    }

    /// Another order.
    pub(crate) fn shuffle<T>(&self, all: &mut [T]) {
        if let Some(rng) = &self.0 {
            rng.borrow_mut().shuffle(all);
        }
    }
}

/// FNV-1a: the same for the same name, in every build.
pub(crate) fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u64, name: &str) -> Vec<u16> {
        let draw = Draw::new(seed, name);
        std::iter::repeat_with(|| draw.number(0, u16::MAX))
            .take(8)
            .collect()
    }

    #[test]
    fn a_seed_gives_the_same_case_again_and_another_seed_another_one() {
        assert_eq!(numbers(7, "case"), numbers(7, "case"));
        assert_ne!(numbers(7, "case"), numbers(8, "case"));
        assert_ne!(numbers(7, "case"), numbers(7, "another"));
    }

    #[test]
    fn draws_stay_within_their_bounds() {
        let draw = Draw::new(3, "bounds");
        for _ in 0..1000 {
            assert!((4..=9).contains(&draw.number(4, 9)));
            assert!([5, 7].contains(&draw.one_of([5, 7])));
        }
        let often = (0..1000).filter(|_| draw.chance(0.8)).count();
        assert!((700..900).contains(&often), "{often}");
        assert_eq!(Draw::least().number(4, 9), 4);
    }
}
