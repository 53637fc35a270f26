//! From the kernel's clock to the wall's.
//!
//! The kernel stamps records with `CLOCK_MONOTONIC`, which counts from boot.
//! The distance to `CLOCK_REALTIME` changes whenever the wall clock is
//! stepped, so sample it for each batch of records rather than once.

use jiff::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Kernel clocks against the wall's, sampled together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// `CLOCK_MONOTONIC`: the clock of records.
    pub monotonic: WallClock,
    /// `CLOCK_BOOTTIME`: the clock of process starts.
    pub boot: WallClock,
    /// `CLOCK_MONOTONIC` now, ns.
    pub now_ns: u64,
}

/// The distance from `CLOCK_MONOTONIC` to `CLOCK_REALTIME` at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    offset_ns: i64,
}

impl WallClock {
    /// The distance now.
    #[must_use]
    pub fn sample() -> Self {
        let monotonic = clock_gettime(ClockId::Monotonic);
        Self::new(
            nanoseconds(clock_gettime(ClockId::Realtime)),
            nanoseconds(monotonic),
        )
    }

    /// From both clocks read one right after the other, in nanoseconds.
    #[must_use]
    pub const fn new(realtime_ns: i64, monotonic_ns: i64) -> Self {
        Self {
            offset_ns: realtime_ns.saturating_sub(monotonic_ns),
        }
    }

    /// The distance, in nanoseconds.
    #[must_use]
    pub const fn offset_ns(self) -> i64 {
        self.offset_ns
    }

    /// The wall time of a kernel time. Any will do: a record is decoded as
    /// untrusted bytes, and 64 bits of nanoseconds end before the calendar.
    #[must_use]
    pub fn timestamp(self, ktime_ns: u64) -> Timestamp {
        let nanoseconds = i128::from(ktime_ns) + i128::from(self.offset_ns);
        Timestamp::from_nanosecond(nanoseconds).unwrap_or(Timestamp::MAX)
    }
}

/// A time in nanoseconds: 64 bits of them last until the year 2262.
const fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn now_is_now() {
        let ktime = u64::try_from(nanoseconds(clock_gettime(ClockId::Monotonic))).unwrap();
        let distance = WallClock::sample()
            .timestamp(ktime)
            .duration_until(Timestamp::now());
        assert!(
            distance.unsigned_abs() < std::time::Duration::from_secs(1),
            "{distance}"
        );
    }

    #[test]
    fn nothing_overflows() {
        for clock in [
            WallClock::new(i64::MAX, i64::MIN),
            WallClock::new(i64::MIN, i64::MAX),
        ] {
            for ktime in [0, u64::MAX] {
                let text = format!("{:.9}", clock.timestamp(ktime));
                assert_eq!(text.len(), "2026-11-23T14:22:07.123456789Z".len(), "{text}");
            }
        }
        assert_eq!(
            WallClock::new(i64::MIN, 0)
                .timestamp(u64::MAX)
                .as_nanosecond(),
            i128::from(u64::MAX) + i128::from(i64::MIN)
        );
    }

    proptest! {
        /// The library's parser and an independent calendar agree.
        #[test]
        fn the_calendar_is_right(realtime in 0..=i64::MAX, ktime in 0..1_u64 << 62) {
            let clock = WallClock::new(realtime, i64::try_from(ktime).unwrap());
            let text = format!("{:.9}", clock.timestamp(ktime));
            prop_assert_eq!(text.len(), "2026-11-23T14:22:07.123456789Z".len());
            prop_assert_eq!(text.parse::<Timestamp>().unwrap().as_nanosecond(), i128::from(realtime));

            let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
            let days = days_from_civil(number(0..4), number(5..7), number(8..10));
            let seconds = ((days * 24 + number(11..13)) * 60 + number(14..16)) * 60 + number(17..19);
            prop_assert_eq!(seconds * SECOND + number(20..29), realtime);
        }
    }

    /// Days since 1970-01-01, counted year by year and month by month.
    fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let years: i64 = (1970..year)
            .map(|year| if leap(year) { 366 } else { 365 })
            .sum();
        let months = [
            31,
            if leap(year) { 29 } else { 28 },
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
            31,
        ];
        years
            + months
                .iter()
                .take(usize::try_from(month - 1).unwrap())
                .sum::<i64>()
            + day
            - 1
    }
}
