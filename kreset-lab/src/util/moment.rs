//! Points in time, as the kernel stamps packets and the tracer writes them.

use std::{fmt, time::Duration};

use jiff::Timestamp;

/// A point in time on the clock that the kernel stamps packets with, in ns since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub(crate) u64);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Self::of(Timestamp::now()).unwrap_or_default()
    }

    fn of(time: Timestamp) -> Option<Self> {
        u64::try_from(time.as_nanosecond()).ok().map(Self)
    }

    pub(crate) fn from_epoch(time: Duration) -> Self {
        Self(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Reads a moment as the tracer writes it: RFC 3339, UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let time: Timestamp = text.strip_suffix('Z').and_then(|_| text.parse().ok())?;
        Self::of(time)
    }

    /// The moment that was `time` ago at this one.
    pub(crate) fn before(self, time: Duration) -> Self {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(time))
    }

    /// The time from `earlier` to this moment; zero if it was not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Moment {
    /// Seconds since the Unix epoch, as `date --date=@..` takes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Duration::from_nanos(self.0);
        write!(f, "{}.{:03}", time.as_secs(), time.subsec_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_the_tracer_writes_it() {
        for (text, ns) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00.5Z", 951_825_600_500_000_000),
            ("2026-11-23T16:29:23.345053494Z", 1_795_451_363_345_053_494),
        ] {
            assert_eq!(Moment::parse(text), Some(Moment(ns)), "{text}");
        }
        for text in ["", "now", "2026-11-23T16:29:23+01:00"] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }
}
