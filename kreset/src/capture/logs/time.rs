//! The time of a line, wherever its log, a journal or a shipper puts it.

use jiff::{
    civil::DateTime,
    tz::{Offset, TimeZone},
};

/// `2026-11-29 17:00:00` without its fraction.
const SECONDS: usize = 19;

/// Nanoseconds since the Unix epoch: the first date and time of log4j, logback or ISO 8601,
/// or librdkafka's `%3|1796009295.516|`. A time without a zone is in `zone`.
pub(super) fn time(text: &str, zone: &TimeZone) -> Option<i64> {
    unix(text).or_else(|| date(text, zone))
}

/// What librdkafka writes before its facility.
fn unix(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once('%')?;
    let mut parts = rest.split('|');
    let level = parts.next()?;
    if level.len() != 1 || !level.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (seconds, millis) = parts.next()?.split_once('.')?;
    let millis: i64 = millis
        .parse()
        .ok()
        .filter(|millis| (0..1_000).contains(millis))?;
    let seconds: i64 = seconds.parse().ok()?;
    seconds
        .checked_mul(1_000)?
        .checked_add(millis)?
        .checked_mul(1_000_000)
}

fn date(text: &str, zone: &TimeZone) -> Option<i64> {
    const FORM: &[u8; SECONDS] = b"0000-00-00 00:00:00";
    let fits = |stamp: &[u8]| {
        stamp.iter().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            b' ' => matches!(byte, b' ' | b'T'),
            other => byte == other,
        })
    };
    let at = text.as_bytes().windows(SECONDS).position(fits)?;
    let stamp = text.get(at..at + SECONDS)?.replacen(' ', "T", 1);
    let rest = text.get(at + SECONDS..)?;
    let (fraction, rest) = match rest.strip_prefix([',', '.']) {
        Some(rest) => {
            let end = rest.find(|letter: char| !letter.is_ascii_digit());
            rest.split_at(end.unwrap_or(rest.len()))
        }
        None => ("", rest),
    };
    let fraction = fraction.get(..fraction.len().min(9))?;
    let date: DateTime = if fraction.is_empty() {
        stamp.parse().ok()?
    } else {
        format!("{stamp}.{fraction}").parse().ok()?
    };
    let time = match offset(rest) {
        Some(offset) => offset.to_timestamp(date).ok()?,
        None => zone.to_timestamp(date).ok()?,
    };
    i64::try_from(time.as_nanosecond()).ok()
}

/// `Z`, `+01:00` or `+0100` right after the time.
fn offset(text: &str) -> Option<Offset> {
    if text.starts_with('Z') {
        return Some(Offset::UTC);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours: i32 = text.get(1..3)?.parse().ok()?;
    let rest = text.get(3..)?;
    let minutes: i32 = rest
        .strip_prefix(':')
        .unwrap_or(rest)
        .get(..2)?
        .parse()
        .ok()?;
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_log_has_its_form_of_the_time() {
        let expected = 1_796_009_295_516_000_000;
        for line in [
            "%6|1796009295.516|FAIL|orders#producer-1| [thrd:b:9092/1]: b:9092/1: Disconnected",
            "[2026-11-30 03:28:15,516] INFO [Producer clientId=orders] Node 1 disconnected.",
            "2026-11-30 03:28:15.516  INFO 1 --- [orders] o.a.k.c.NetworkClient : Node 1",
            "2026-11-30T03:28:15.516Z INFO Node 1 disconnected.",
            "2026-11-30T04:28:15.516+01:00 INFO Node 1 disconnected.",
            "Nov 30 03:28:15 h app[7]: 2026-11-29T22:28:15.516000-0500 INFO Node 1 disconnected.",
        ] {
            assert_eq!(time(line, &TimeZone::UTC), Some(expected), "{line}");
        }
        for line in [
            "",
            "%3|x.1|",
            "%3|9223372036854775807.1|",
            "2026-13-40 99:99:99,1",
            "2026-11-30",
            "1-2-3 ü",
        ] {
            assert_eq!(time(line, &TimeZone::UTC), None, "{line}");
        }
    }
}
