//! Durations as people write them: `500ms`, `30s`, `1h30m`, `7d`.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, de::Error as _};
use thiserror::Error;

/// Units, largest first, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a duration longer than zero: whole numbers with units, from large
/// to small, without spaces.
///
/// # Errors
/// When `text` is anything else; the error says what is wrong with it.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text;
    let mut units = UNITS.as_slice();
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split_while(rest, |c| c.is_ascii_digit());
        let (unit, after) = split_while(after, char::is_alphabetic);
        if number.is_empty() {
            return Err(DurationError::NotADuration);
        }
        if unit.is_empty() && after.is_empty() {
            if number.bytes().all(|digit| digit == b'0') {
                return Err(DurationError::Zero);
            }
            return Err(DurationError::NoUnit {
                number: number.to_owned(),
            });
        }
        let Some(place) = units.iter().position(|(name, _)| *name == unit) else {
            return Err(if UNITS.iter().any(|(name, _)| *name == unit) {
                DurationError::Order
            } else {
                DurationError::NotADuration
            });
        };
        let milliseconds = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(units[place].1))
            .and_then(|milliseconds| total.checked_add(milliseconds));
        total = milliseconds.ok_or(DurationError::TooLong)?;
        units = &units[place + 1..];
        rest = after;
    }
    match total {
        0 if text.is_empty() => Err(DurationError::NotADuration),
        0 => Err(DurationError::Zero),
        total => Ok(Duration::from_millis(total)),
    }
}

/// Reads a duration of the configuration.
///
/// # Errors
/// When it is not what [`parse`] reads.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text)
        .map_err(|error| D::Error::custom(format_args!("invalid duration \"{text}\": {error}")))
}

/// Splits `text` after its longest prefix of characters that `belongs` takes.
fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// Why a duration was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Not a list of numbers with units.
    #[error("expected whole numbers with units d, h, m, s or ms, such as 30s, 10m or 1h30m")]
    NotADuration,
    /// A number without unit: it could mean seconds or milliseconds.
    #[error("missing unit after {number}: use {number}s, {number}m or {number}h")]
    NoUnit {
        /// The number.
        number: String,
    },
    /// A unit twice, or a larger one after a smaller one.
    #[error("units must go from large to small, each once, such as 1h30m")]
    Order,
    /// Zero.
    #[error("must be longer than zero")]
    Zero,
    /// More milliseconds than 64 bits hold.
    #[error("too long")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_write() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("90m", 5_400_000),
            ("7d", 604_800_000),
            ("1d1h1m1s1ms", 90_061_001),
            ("0h5s", 5_000),
        ] {
            assert_eq!(
                parse(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, error) in [
            ("", DurationError::NotADuration),
            ("s", DurationError::NotADuration),
            ("-5s", DurationError::NotADuration),
            ("+5s", DurationError::NotADuration),
            ("1.5h", DurationError::NotADuration),
            ("1h 30m", DurationError::NotADuration),
            ("10 m", DurationError::NotADuration),
            ("5sec", DurationError::NotADuration),
            ("10M", DurationError::NotADuration),
            (
                "30",
                DurationError::NoUnit {
                    number: "30".to_owned(),
                },
            ),
            (
                "1h30",
                DurationError::NoUnit {
                    number: "30".to_owned(),
                },
            ),
            ("30m1h", DurationError::Order),
            ("1h1h", DurationError::Order),
            ("0s", DurationError::Zero),
            ("0", DurationError::Zero),
            ("0d0ms", DurationError::Zero),
            ("99999999999999999999s", DurationError::TooLong),
            ("18446744073709551615d", DurationError::TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_is_the_sum_of_its_units(
            d in 0..100_000_u64, h in 0..100_000_u64, m in 0..100_000_u64,
            s in 0..100_000_u64, ms in 1..100_000_u64,
        ) {
            let seconds = ((d * 24 + h) * 60 + m) * 60 + s;
            let sum = Duration::from_secs(seconds) + Duration::from_millis(ms);
            prop_assert_eq!(parse(&format!("{d}d{h}h{m}m{s}s{ms}ms")), Ok(sum));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}|[0-9dhms]{0,24}") {
            if let Ok(duration) = parse(&text) {
                prop_assert!(!duration.is_zero());
            }
        }
    }
}
