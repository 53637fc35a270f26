//! Sizes as people write them: `64M`, `2G`.

use serde::{Deserialize as _, Deserializer, de::Error as _};

/// No size is smaller.
const LEAST_BYTES: u64 = 1024 * 1024;

/// Reads a number of bytes with a unit K, M, G or T, powers of 1024.
///
/// # Errors
///
/// When it is not one, or less than 1M: a sentence.
pub fn parse(text: &str) -> Result<u64, &'static str> {
    const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let form = "expected a whole number with a unit K, M, G or T, such as 256M";
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(*unit));
    let (unit, shift) = unit.ok_or(form)?;
    let number = text.strip_suffix(*unit).unwrap_or_default();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(form);
    }
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift));
    match bytes {
        Some(bytes) if bytes < LEAST_BYTES => Err("must be at least 1M"),
        Some(bytes) => Ok(bytes),
        None => Err("too large"),
    }
}

/// Reads one as serde does.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text)
        .map(Some)
        .map_err(|expected| D::Error::custom(format_args!("invalid size \"{text}\": {expected}")))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_people_write() {
        assert_eq!(parse("256M"), Ok(256 << 20));
        assert_eq!(parse("2G"), Ok(2 << 30));
        assert_eq!(parse("1024K"), Ok(1 << 20));
        for text in [
            "",
            "M",
            "12",
            "1.5G",
            "-1M",
            "+1M",
            "1MM",
            "1m",
            "512K",
            "0G",
            "99999999999T",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
