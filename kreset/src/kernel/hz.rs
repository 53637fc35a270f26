//! How long a jiffy is. The kernel keeps times of a socket in jiffies and does
//! not expose how many make a second (`sysconf(_SC_CLK_TCK)` is always
//! 100).

use std::ops::RangeInclusive;

use rustix::time::{ClockId, clock_getres};

/// Values of `CONFIG_HZ` that `kernel/Kconfig.hz` offers.
const CHOICES: [u32; 4] = [100, 250, 300, 1000];

/// Jiffies between samples below which a late tick could pass for another
/// rate. An idle CPU (`NO_HZ`) may update jiffies one tick late.
const MIN_JIFFIES: u32 = 16;

/// Jiffies and the time at which they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Low 32 bits of `jiffies_64`.
    pub jiffies: u32,
    /// Monotonic time, nanoseconds.
    pub ns: u64,
}

/// Jiffies per second, from two samples in order; `None` where they are too
/// close together, or fit no choice or more than one.
pub fn between(first: Sample, second: Sample) -> Option<u32> {
    let jiffies = second.jiffies.wrapping_sub(first.jiffies);
    let ns = second.ns.checked_sub(first.ns)?;
    if jiffies < MIN_JIFFIES {
        return None;
    }
    // Each sample falls anywhere inside its jiffy, so the count is off by less
    // than one either way.
    let fits = |hz: &u32| {
        let exact = u128::from(*hz) * u128::from(ns);
        let count = |jiffies: u32| u128::from(jiffies) * NS_PER_SECOND;
        (count(jiffies - 1)..=count(jiffies.saturating_add(1))).contains(&exact)
    };
    only(CHOICES.into_iter().filter(fits))
}

/// Jiffies per second of the running kernel, from the resolution of its coarse
/// clocks.
///
/// They advance once a jiffy, and `clock_getres(2)` says how far:
/// `KTIME_LOW_RES`, which is `TICK_NSEC` (`include/vdso/ktime.h`, and its
/// predecessors since 2.6.18). Unlike two samples it takes no time, and it
/// gives the rates of kernels that offer their own (500 and 600 are in use).
/// Measured 250 on 6.18 with `CONFIG_HZ=250`.
pub fn of_this_kernel() -> Option<u32> {
    let resolution = clock_getres(ClockId::MonotonicCoarse);
    if resolution.tv_sec != 0 {
        return None;
    }
    from_tick(u64::try_from(resolution.tv_nsec).ok()?)
}

/// Jiffies per second where one takes `ns`.
fn from_tick(ns: u64) -> Option<u32> {
    let second = u64::try_from(NS_PER_SECOND).ok()?;
    let hz = second.checked_add(ns / 2)?.checked_div(ns)?;
    // `TICK_NSEC` is a whole number of nanoseconds near one HZ-th of a second;
    // another resolution is no tick.
    let is_tick = second.checked_div(hz)?.abs_diff(ns) <= 1;
    u32::try_from(hz)
        .ok()
        .filter(|hz| is_tick && PLAUSIBLE.contains(hz))
}

/// From the slowest tick that an architecture offers to well above the fastest.
const PLAUSIBLE: RangeInclusive<u32> = 24..=10_000;
const NS_PER_SECOND: u128 = 1_000_000_000;

fn only(mut choices: impl Iterator<Item = u32>) -> Option<u32> {
    let choice = choices.next()?;
    choices.next().is_none().then_some(choice)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(jiffies: u32, ms: u64) -> Sample {
        Sample {
            jiffies,
            ns: ms * 1_000_000,
        }
    }

    #[test]
    fn two_samples_give_the_rate_across_a_wrap() {
        let first = sample(u32::MAX - 99, 5_000);
        assert_eq!(between(first, sample(400, 7_000)), Some(250));
        assert_eq!(between(first, sample(401, 7_000)), Some(250));
        assert_eq!(between(first, sample(100, 7_000)), Some(100));
        assert_eq!(between(first, sample(500, 7_000)), Some(300));
        assert_eq!(between(first, sample(1_900, 7_000)), Some(1000));
    }

    #[test]
    fn what_is_not_clear_is_not_guessed() {
        // Too close together, in either measure.
        assert_eq!(between(sample(0, 0), sample(15, 60)), None);
        assert_eq!(between(sample(0, 0), sample(0, 60)), None);
        // A rate that no kernel offers.
        assert_eq!(between(sample(0, 0), sample(400, 2_000)), None);
        // Backwards.
        assert_eq!(between(sample(0, 2_000), sample(500, 0)), None);
    }

    #[test]
    fn a_tick_gives_the_rate() {
        for (ns, hz) in [
            (10_000_000, Some(100)),
            (4_000_000, Some(250)),
            (3_333_333, Some(300)),
            (1_000_000, Some(1000)),
            (1_666_667, Some(600)),
            (976_563, Some(1024)),
            // A resolution of 1 ns is that of high-resolution timers.
            (1, None),
            (0, None),
            (999_000_000, None),
            (3_900_001, None),
        ] {
            assert_eq!(from_tick(ns), hz, "{ns}");
        }
    }

    #[test]
    fn this_kernel_has_a_rate() {
        assert!(of_this_kernel().is_some());
    }

    proptest! {
        /// Whatever the moments of the samples, the answer is right or none.
        #[test]
        fn the_rate_is_never_wrong(
            hz in prop::sample::select(&CHOICES[..]),
            start in 0..1_u64 << 50,
            span_ms in 0_u64..5_000,
        ) {
            let at = |ns: u64| Sample {
                jiffies: u32::try_from(
                    u128::from(ns) * u128::from(hz) / NS_PER_SECOND % (1 << 32)
                ).unwrap(),
                ns,
            };
            let answer = between(at(start), at(start + span_ms * 1_000_000));
            prop_assert!(answer.is_none_or(|answer| answer == hz));
            // A fifth of a second is always enough.
            prop_assert!(span_ms < 200 || answer == Some(hz));
        }
    }
}
