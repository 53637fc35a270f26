//! Values as agents write them, read where they stand.
//!
//! Each function gives what serde gives for the same bytes, or `None`: that value serde has to
//! read, or say what is wrong with it. A line has some thirty values, and the way of each
//! through a deserializer costs more than reading it.

use std::{net::Ipv4Addr, str};

use jiff::{civil, tz::Offset};
use memchr::memchr;
use smallvec::SmallVec;

use super::line::{Flow, Origin};
use crate::{
    event::{Candidate, Endpoint, Verdict},
    util::plain::is_plain,
};

/// Digits of a number that a double has room for, whatever they are.
const EXACT_DIGITS: usize = 15;
/// Powers of ten up to that many digits: doubles have each exactly.
const POWERS: [f64; EXACT_DIGITS + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];
/// Digits of the greatest number of 64 bits, less one: with so many it cannot overflow.
const SAFE_DIGITS: usize = 19;

/// What stands between the quotes, whatever that is.
pub(super) fn quoted(value: &[u8]) -> Option<&[u8]> {
    match value {
        [b'"', text @ .., b'"'] => Some(text),
        _ => None,
    }
}

/// Text without what JSON escapes: as it stands it is what it says.
pub(super) fn plain(value: &[u8]) -> Option<&str> {
    let text = quoted(value)?;
    is_plain(text).then(|| str::from_utf8(text).ok()).flatten()
}

/// One of some words, in quotes.
pub(super) fn word<T: Copy>(
    value: &[u8],
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Option<T> {
    let text = quoted(value)?;
    all.iter().copied().find(|it| name(*it).as_bytes() == text)
}

/// A whole number that is not negative. JSON has no zero in front.
pub(super) fn integer(value: &[u8]) -> Option<u64> {
    match value {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] if value.len() <= SAFE_DIGITS => digits(value),
        _ => None,
    }
}

/// A number that is not negative, with few enough digits that its nearest double is found by one
/// division.
pub(super) fn decimal(value: &[u8]) -> Option<f64> {
    let (whole, fraction) = match memchr(b'.', value) {
        Some(point) => (&value[..point], &value[point + 1..]),
        None => (value, &b""[..]),
    };
    let is_whole = matches!(whole, [b'0'] | [b'1'..=b'9', ..]);
    let is_decimal = fraction.is_empty() == (whole.len() == value.len());
    if !is_whole || !is_decimal || whole.len() + fraction.len() > EXACT_DIGITS {
        return None;
    }
    let number =
        digits(whole)? * 10_u64.pow(u32::try_from(fraction.len()).ok()?) + digits(fraction)?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "15 digits are exact, and so is the power: one rounding is left"
    )]
    Some(number as f64 / POWERS[fraction.len()])
}

/// The number that digits make; of none, zero.
fn digits(digits: &[u8]) -> Option<u64> {
    let mut number = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = 10 * number + u64::from(digit);
    }
    Some(number)
}

/// The number that up to 16 hexadecimal digits make.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let mut number = 0;
    for byte in digits {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        number = (number << 4) | u64::from(digit);
    }
    Some(number)
}

/// `BOOT-RUN-NUMBER`
pub(super) fn origin(id: &[u8]) -> Option<Origin> {
    let (boot, rest) = id.split_at(memchr(b'-', id)?);
    let rest = &rest[1..];
    let (run, number) = rest.split_at(memchr(b'-', rest)?);
    Some(Origin {
        boot: hexadecimal(boot)?,
        run: hexadecimal(run)?,
        number: hexadecimal(&number[1..])?,
    })
}

/// `"CLIENT-BROKER"`, eight digits each.
pub(super) fn flow(value: &[u8]) -> Option<Flow> {
    let id: &[u8; 17] = quoted(value)?.try_into().ok()?;
    if id[8] != b'-' {
        return None;
    }
    Some(Flow::of(hexadecimal(&id[..8])?, hexadecimal(&id[9..])?))
}

/// `{"name":"HOST"}`
pub(super) fn host(object: &[u8]) -> Option<&str> {
    plain(object.strip_prefix(br#"{"name":"#)?.strip_suffix(b"}")?)
}

/// Without white space, and in this order.
pub(super) fn endpoint(object: &[u8]) -> Option<Endpoint> {
    let rest = object.strip_prefix(br#"{"address":""#)?;
    let (address, rest) = rest.split_at(memchr(b'"', rest)?);
    let port = rest.strip_prefix(br#"","port":"#)?.strip_suffix(b"}")?;
    let address = match ipv4(address) {
        Some(address) => address.into(),
        None => str::from_utf8(address).ok()?.parse().ok()?,
    };
    Some(Endpoint {
        address,
        port: integer(port)?.try_into().ok()?,
    })
}

/// `10.0.0.1`
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split(|byte| *byte == b'.');
    for octet in &mut octets {
        *octet = integer(parts.next()?)?.try_into().ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}

/// Verdicts with their shares, each object in either order.
pub(super) fn candidates(array: &[u8]) -> Option<SmallVec<[Candidate; 8]>> {
    let mut rest = array.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let mut all = SmallVec::new();
    while !rest.is_empty() {
        if !all.is_empty() {
            rest = rest.strip_prefix(b",")?;
        }
        let (object, after) = rest.split_at(memchr(b'}', rest)?);
        let (verdict, share) = if let Some(members) = object.strip_prefix(br#"{"share":"#) {
            let (share, members) = members.split_at(memchr(b',', members)?);
            (members.strip_prefix(br#","verdict":"#)?, share)
        } else {
            let members = object.strip_prefix(br#"{"verdict":"#)?;
            let (verdict, members) = members.split_at(memchr(b',', members)?);
            (verdict, members.strip_prefix(br#","share":"#)?)
        };
        all.push(Candidate {
            verdict: word(verdict, Verdict::ALL, Verdict::as_str)?,
            share: decimal(share)?,
        });
        rest = &after[1..];
    }
    Some(all)
}

/// Reads times; nearly all are of the day of the one before.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// `2026-11-23`, and when it began, seconds since 1970.
    day: [u8; 10],
    day_s: i64,
}

impl Clock {
    /// Nanoseconds since 1970 of `"2026-11-23T14:22:07.123456789Z"`, as agents write every time.
    pub(super) fn at_ns(&mut self, value: &[u8]) -> Option<i64> {
        let time: &[u8; 30] = quoted(value)?.try_into().ok()?;
        let marks = [(10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (29, b'Z')];
        if !marks.into_iter().all(|(at, mark)| time[at] == mark) {
            return None;
        }
        let [hour, minute, second] = [11, 14, 17].map(|at| digits(&time[at..at + 2]));
        let (hour, minute, second) = (hour?, minute?, second?);
        // A leap second is left to the parser.
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let of_day = i64::try_from(3_600 * hour + 60 * minute + second).ok()?;
        let nanoseconds = i64::try_from(digits(&time[20..29])?).ok()?;
        let seconds = self.day_s(&time[..10])?.checked_add(of_day)?;
        seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
    }

    /// When a day began, seconds since 1970.
    fn day_s(&mut self, text: &[u8]) -> Option<i64> {
        if text == self.day {
            return Some(self.day_s);
        }
        let day: &[u8; 10] = text.try_into().ok()?;
        if day[4] != b'-' || day[7] != b'-' {
            return None;
        }
        let date = civil::Date::new(
            digits(&day[..4])?.try_into().ok()?,
            digits(&day[5..7])?.try_into().ok()?,
            digits(&day[8..])?.try_into().ok()?,
        );
        let begins = date.ok()?.to_datetime(civil::Time::midnight());
        self.day_s = Offset::UTC.to_timestamp(begins).ok()?.as_second();
        self.day = *day;
        Some(self.day_s)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::event::{FlowId, Host, Time};

    fn json<T: DeserializeOwned>(text: &str) -> Option<T> {
        serde_json::from_str(text).ok()
    }

    fn at_ns(text: &str) -> Option<i64> {
        Clock::default().at_ns(text.as_bytes())
    }

    #[test]
    fn what_agents_do_not_write_is_left_to_the_parser() {
        assert_eq!(
            at_ns("\"2026-11-23T14:22:07.123456789Z\""),
            Some(1_795_443_727_123_456_789)
        );
        for other in [
            "2026-11-23T14:22:07.12345678Z",
            "2026-11-23T14:22:07.1234567890Z",
            "2026-11-23T14:22:60.123456789Z",
            "2026-11-23T24:00:00.000000000Z",
            "2026-02-29T14:22:07.123456789Z",
            "2026-11-23T14:22:07,123456789Z",
            "2026-11-23T14:22:07.12345678 Z",
            "2026-11-23T14:22:07.+23456789Z",
            "2026_11_23T14:22:07.123456789Z",
            "9999-11-23T14:22:07.123456789Z",
        ] {
            assert_eq!(at_ns(&format!("\"{other}\"")), None, "{other}");
        }
        for other in [
            r#"{"address":"10.0.0.1","port":09092}"#,
            r#"{"address":"10.0.0.1","port":+9092}"#,
            r#"{"address":"10.0.0.1","port":}"#,
            r#"{"address":"10.0.0.1","port":70000}"#,
            r#"{"address":"10.0.0","port":1}"#,
            r#"{"address":"10.0.0.256","port":1}"#,
            r#"{"address":"10.0.0.01","port":1}"#,
            r#"{"address":"10.0.0.1.1","port":1}"#,
            r#"{"address":"10.0.0.1","port":1,"name":"a"}"#,
            r#"{"port":1,"address":"10.0.0.1"}"#,
        ] {
            assert_eq!(endpoint(other.as_bytes()), None, "{other}");
        }
        for other in [
            "",
            "-1",
            "+1",
            "01",
            "1.0",
            "1e3",
            "18446744073709551616",
            "null",
            "1 ",
        ] {
            assert_eq!(integer(other.as_bytes()), None, "{other}");
        }
        for other in [
            "",
            ".5",
            "1.",
            "01.5",
            "-0.5",
            "1e3",
            "1.5e3",
            "1.2.3",
            "1234567890.123456",
            "1. 5",
        ] {
            assert_eq!(decimal(other.as_bytes()), None, "{other}");
        }
        for other in [
            "1-2",
            "1-2-3-4",
            "1--3",
            "1-2-g",
            "12345678901234567-2-3",
            "1-+2-3",
        ] {
            assert_eq!(origin(other.as_bytes()), None, "{other}");
        }
        for other in [
            r#""1234567-012345678""#,
            r#""12345678-1234567""#,
            r#""12345678+12345678""#,
        ] {
            assert_eq!(flow(other.as_bytes()), None, "{other}");
        }
        for other in [
            r#"{"name":"a","b":1}"#,
            r#"{"name":"\u0061"}"#,
            r#"{"name":1}"#,
            r#"{ "name":"a"}"#,
        ] {
            assert_eq!(host(other.as_bytes()), None, "{other}");
        }
        for other in [
            "[1]",
            r#"[{"share":1,"verdict":"nobody"}]"#,
            r#"[{"share":1,"verdict":"indeterminate"},]"#,
            r#"[{"share":1,"verdict":"indeterminate"}{"share":1,"verdict":"indeterminate"}]"#,
            r#"[{"share":1,"verdict":"indeterminate","more":1}]"#,
        ] {
            assert_eq!(candidates(other.as_bytes()), None, "{other}");
        }
    }

    /// Texts of the bytes that numbers consist of.
    fn like_a_number() -> impl Strategy<Value = String> {
        prop_oneof!["[0-9]{1,20}", "[0-9]{1,9}[.][0-9]{0,9}", "[-+0-9.eE]{0,8}"]
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_the_parser(text in like_a_number()) {
            if let Some(number) = integer(text.as_bytes()) {
                prop_assert_eq!(Some(number), json(&text));
            }
            if let Some(number) = decimal(text.as_bytes()) {
                prop_assert_eq!(Some(number.to_bits()), json(&text).map(f64::to_bits));
            }
        }

        #[test]
        fn numbers_of_agents_need_no_parser(number in 0..1_000_000_000_000_u64, tenths in 0..100_000_u32) {
            prop_assert_eq!(integer(number.to_string().as_bytes()), Some(number));
            let share = f64::from(tenths) / 1_000.0;
            prop_assert_eq!(decimal(serde_json::to_string(&share).unwrap().as_bytes()), Some(share));
        }

        #[test]
        fn times_are_read_as_the_parser_reads_them(all in prop::collection::vec(any::<i64>(), 1..4)) {
            let mut clock = Clock::default();
            for ns in all {
                let time = Time(jiff::Timestamp::from_nanosecond(ns.into()).unwrap());
                let text = format!("\"{time}\"");
                prop_assert_eq!(clock.at_ns(text.as_bytes()), Some(ns));
            }
        }

        #[test]
        fn ends_are_read_as_the_parser_reads_them(address: std::net::IpAddr, port: u16) {
            let end = Endpoint { address, port };
            prop_assert_eq!(endpoint(&serde_json::to_vec(&end).unwrap()), Some(end));
        }

        #[test]
        fn addresses_are_those_of_the_parser(text in "[0-9]{0,4}([.][0-9]{0,3}){2,4}") {
            let parsed: Option<Ipv4Addr> = text.parse().ok();
            prop_assert_eq!(ipv4(text.as_bytes()), parsed);
        }

        #[test]
        fn names_of_events_and_flows_are_whole(boot: u64, run: u64, number: u64, client: u32, broker: u32) {
            let id = format!("{boot:016x}-{run:x}-{number:x}");
            prop_assert_eq!(origin(id.as_bytes()), Some(Origin { boot, run, number }));
            let read = flow(format!("\"{client:08x}-{broker:08x}\"").as_bytes()).unwrap();
            prop_assert_eq!(read.id(), FlowId::from(&format!("{client:08x}-{broker:08x}")).unwrap());
        }

        #[test]
        fn hosts_have_the_name_that_the_parser_reads(name in r#"[ -~é"\\]{0,12}"#) {
            let text = serde_json::to_string(&Host { name: name.as_str().into() }).unwrap();
            prop_assert!(host(text.as_bytes()).is_none_or(|read| read == name));
            let is_plain = name.bytes().all(|it| it.is_ascii() && !matches!(it, b'"' | b'\\'));
            prop_assert_eq!(host(text.as_bytes()).is_some(), is_plain);
        }

        #[test]
        fn shares_are_read_as_the_parser_reads_them(
            all in prop::collection::vec((prop::sample::select(Verdict::ALL), 0..=1_000_u32), 0..6),
            is_sorted: bool,
        ) {
            let all: Vec<Candidate> = all
                .into_iter()
                .map(|(verdict, share)| Candidate { verdict, share: f64::from(share) / 1_000.0 })
                .collect();
            let text = if is_sorted {
                serde_json::to_vec(&serde_json::to_value(&all).unwrap())
            } else {
                serde_json::to_vec(&all)
            };
            prop_assert_eq!(candidates(&text.unwrap()).unwrap().into_vec(), all);
        }

        #[test]
        fn no_bytes_are_fatal(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _read = (integer(&bytes), decimal(&bytes), origin(&bytes), flow(&bytes));
            let _read = (host(&bytes), endpoint(&bytes), candidates(&bytes));
            let _read = Clock::default().at_ns(&bytes);
        }
    }
}
