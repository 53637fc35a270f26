//! Points in time.

use std::fmt;

use arrayvec::ArrayString;
use jiff::{
    Timestamp,
    fmt::{StdFmtWrite, temporal::DateTimePrinter},
    tz::Offset,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time. Written as RFC 3339 in UTC, always with nine decimals, so
/// that text order is time order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

/// Of a year of six digits with a sign.
const LONGEST: usize = 33;
/// Two digits each.
const PAIRS: &str = "00010203040506070809101112131415161718192021222324252627282930313233343536373839\
                     40414243444546474849505152535455565758596061626364656667686970717273747576777879\
                     8081828384858687888990919293949596979899";

impl Time {
    /// As it is written, with up to nine decimals, the others cut off.
    ///
    /// Findings have many times, and each takes a formatter ten times as long.
    pub(crate) fn text(self, decimals: u8) -> ArrayString<LONGEST> {
        let mut out = ArrayString::new();
        if self.write(decimals, &mut out).is_none() {
            out.clear();
            let printer = DateTimePrinter::new().precision(Some(decimals));
            // There is room for every time.
            let _whole = printer.print_timestamp(&self.0, StdFmtWrite(&mut out));
        }
        out
    }

    /// `None` for years that do not have four digits.
    fn write(self, decimals: u8, out: &mut ArrayString<LONGEST>) -> Option<()> {
        let at = Offset::UTC.to_datetime(self.0);
        let mut pair = |number: u32, end: &str| {
            let first = 2 * number as usize;
            out.try_push_str(PAIRS.get(first..first + 2)?).ok()?;
            out.try_push_str(end).ok()
        };
        let year = u32::try_from(at.year()).ok()?;
        pair(year / 100, "")?;
        pair(year % 100, "-")?;
        pair(u32::try_from(at.month()).ok()?, "-")?;
        pair(u32::try_from(at.day()).ok()?, "T")?;
        pair(u32::try_from(at.hour()).ok()?, ":")?;
        pair(u32::try_from(at.minute()).ok()?, ":")?;
        let second = u32::try_from(at.second()).ok()?;
        if decimals == 0 {
            return pair(second, "Z");
        }
        pair(second, ".")?;
        // Ten digits, the last a zero, of which nine are decimals at most.
        let nanoseconds = u32::try_from(at.subsec_nanosecond()).ok()?;
        pair(nanoseconds / 10_000_000, "")?;
        pair(nanoseconds / 100_000 % 100, "")?;
        pair(nanoseconds / 1_000 % 100, "")?;
        pair(nanoseconds / 10 % 100, "")?;
        pair(10 * (nanoseconds % 10), "")?;
        out.truncate(out.len() - 10 + usize::from(decimals.min(9)));
        out.try_push('Z').ok()
    }
}

impl From<Timestamp> for Time {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(9))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text(9))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(super::parsed::Parsed::new())
            .map(Self)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<String>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Those of years that do not have four digits among them.
        #[test]
        fn times_are_written_as_the_formatter_writes_them(
            second in Timestamp::MIN.as_second()..=Timestamp::MAX.as_second(),
            nanosecond in 0..1_000_000_000,
            decimals in 0..=9_u8,
        ) {
            let time = Timestamp::new(second, nanosecond).unwrap_or_default();
            let expected = format!("{time:.*}", usize::from(decimals));
            let text = Time(time).text(decimals);
            prop_assert_eq!(text.as_str(), expected);
        }
    }

    #[test]
    fn every_time_has_nine_decimals() {
        for (nanoseconds, expected) in [
            (1_795_443_727_000_000_000, "2026-11-23T14:22:07.000000000Z"),
            (1_795_443_727_123_456_789, "2026-11-23T14:22:07.123456789Z"),
            (1_795_443_726_999_999_999, "2026-11-23T14:22:06.999999999Z"),
        ] {
            let time = Time(Timestamp::from_nanosecond(nanoseconds).unwrap());
            assert_eq!(time.to_string(), expected);
            assert_eq!(serde_json::to_value(time).unwrap(), expected);
        }
    }
}
