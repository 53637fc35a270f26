//! Points in time.

use std::fmt;

use arrayvec::ArrayString;
use jiff::{
    Timestamp,
    fmt::{StdFmtWrite, temporal::DateTimePrinter},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time. Written as RFC 3339 in UTC, always with nine decimals, so
/// that text order is time order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

/// Of a year of six digits with a sign.
const LONGEST: usize = 33;
const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(9));

impl From<Timestamp> for Time {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9}", self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // As it is displayed, without the way through a formatter: findings have many.
        let mut text = StdFmtWrite(ArrayString::<LONGEST>::new());
        match PRINTER.print_timestamp(&self.0, &mut text) {
            Ok(()) => serializer.serialize_str(&text.0),
            Err(_full) => serializer.collect_str(self),
        }
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
    use super::*;

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
