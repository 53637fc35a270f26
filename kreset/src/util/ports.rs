//! The set of traced ports, as people write it and as the kernel looks it up.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use kreset_common::ports::{PORT_WORDS, bit, word};
use smol_str::{SmolStr, format_smolstr};
use thiserror::Error;

/// The highest TCP port.
const LAST: u16 = u16::MAX;

/// A set of TCP ports, 1 to 65535.
///
/// It parses from a list of ports and ranges (`9092,9094-9096`) and displays
/// as the shortest such list.
#[derive(Clone, PartialEq, Eq)]
pub struct PortSet {
    // The layout of the kernel side's bitmap.
    words: Box<[u64; PORT_WORDS as usize]>,
}

impl PortSet {
    /// A set without any port.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            words: Box::new([0; PORT_WORDS as usize]),
        }
    }

    /// Adds every port of `range`.
    pub fn insert(&mut self, range: RangeInclusive<u16>) {
        for port in range {
            self.words[word(port) as usize] |= bit(port);
        }
    }

    /// Adds every port of `other`.
    pub fn extend(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(other.words.iter()) {
            *mine |= theirs;
        }
    }

    /// Whether `port` is in the set.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.words[word(port) as usize] & bit(port) != 0
    }

    /// Whether there is no port in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The words of the kernel's bitmap that are not zero, with their index.
    pub fn words(&self) -> impl Iterator<Item = (u32, u64)> {
        (0_u32..)
            .zip(self.words.iter().copied())
            .filter(|(_, word)| *word != 0)
    }

    /// The fewest ports and ranges that cover exactly this set, each as it is written:
    /// `9092`, `9094-9096`.
    #[must_use]
    pub fn list(&self) -> Vec<SmolStr> {
        self.ranges().map(written).collect()
    }

    /// The fewest ranges that cover exactly this set, in order.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> {
        let mut next = Some(0_u16);
        std::iter::from_fn(move || {
            let start = (next?..=LAST).find(|port| self.contains(*port))?;
            let end = (start..=LAST)
                .take_while(|port| self.contains(*port))
                .last()?;
            next = end.checked_add(1);
            Some(start..=end)
        })
    }
}

fn written(range: RangeInclusive<u16>) -> SmolStr {
    let (start, end) = range.into_inner();
    if start == end {
        format_smolstr!("{start}")
    } else {
        format_smolstr!("{start}-{end}")
    }
}

impl FromStr for PortSet {
    type Err = PortError;

    fn from_str(list: &str) -> Result<Self, PortError> {
        let mut set = Self::empty();
        for entry in list.split(',').map(str::trim) {
            let (start, end) = entry.split_once('-').unwrap_or((entry, entry));
            let range = port(start.trim())?..=port(end.trim())?;
            if range.is_empty() {
                return Err(PortError::Backwards {
                    start: *range.start(),
                    end: *range.end(),
                });
            }
            set.insert(range);
        }
        Ok(set)
    }
}

/// One port of a list.
fn port(text: &str) -> Result<u16, PortError> {
    if text.is_empty() {
        return Err(PortError::Missing);
    }
    // `u16::from_str` would take a sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PortError::NotANumber {
            entry: text.to_owned(),
        });
    }
    match text.parse() {
        Ok(port @ 1..) => Ok(port),
        // All digits: what is left is 0 and what u16 does not hold.
        _ => Err(PortError::OutOfRange {
            entry: text.to_owned(),
        }),
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.list().join(","))
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortSet({self})")
    }
}

/// Why a list of ports was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PortError {
    /// An empty entry, as in `9092,`.
    #[error("missing port: expected ports or ranges such as 9092,9094-9096")]
    Missing,
    /// Not digits.
    #[error("invalid port {entry:?}: expected 1 to 65535, or a range such as 9094-9096")]
    NotANumber {
        /// The entry.
        entry: String,
    },
    /// Not a TCP port.
    #[error("invalid port {entry}: expected 1 to 65535")]
    OutOfRange {
        /// The entry.
        entry: String,
    },
    /// A range that ends before it starts.
    #[error(
        "invalid port range {start}-{end}: the first port is greater than the last; use {end}-{start}"
    )]
    Backwards {
        /// The first port, as written.
        start: u16,
        /// The last port, as written.
        end: u16,
    },
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn parse(list: &str) -> Result<String, String> {
        list.parse::<PortSet>()
            .map(|set| set.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn lists_and_ranges_display_in_their_shortest_form() {
        for (list, shortest) in [
            ("9092", "9092"),
            ("9092,9094-9096", "9092,9094-9096"),
            ("9096, 9094,9095 ,9092", "9092,9094-9096"),
            ("9092-9094,9093-9095", "9092-9095"),
            ("9092-9092", "9092"),
            ("1-65535", "1-65535"),
            ("65535,1", "1,65535"),
            ("0009092", "9092"),
        ] {
            assert_eq!(parse(list).as_deref(), Ok(shortest), "{list}");
        }
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        for (list, sentence) in [
            ("", "missing port"),
            ("9092,", "missing port"),
            ("9092-", "missing port"),
            ("-9092", "missing port"),
            ("kafka", "invalid port \"kafka\": expected 1 to 65535, or"),
            ("+9092", "invalid port \"+9092\""),
            ("9092;9093", "invalid port \"9092;9093\""),
            ("1-2-3", "invalid port \"2-3\""),
            ("0", "invalid port 0: expected 1 to 65535"),
            ("65536", "invalid port 65536: expected 1 to 65535"),
            ("99999999999999999999", "invalid port 99999999999999999999"),
            (
                "9096-9094",
                "invalid port range 9096-9094: the first port is greater than the last; use 9094-9096",
            ),
        ] {
            let error = parse(list).unwrap_err();
            assert!(error.starts_with(sentence), "{list}: {error}");
        }
    }

    #[test]
    fn words_are_the_kernels_bitmap() {
        let set: PortSet = "63,64,65535".parse().unwrap();
        assert_eq!(
            set.words().collect::<Vec<_>>(),
            [(0, 1 << 63), (1, 1), (1023, 1 << 63)]
        );
        assert_eq!(PortSet::empty().words().count(), 0);
    }

    proptest! {
        #[test]
        fn a_set_holds_exactly_its_ports(ports in prop::collection::btree_set(1..=LAST, 1..40)) {
            let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
            let set: PortSet = list.parse().unwrap();
            prop_assert_eq!(&(1..=LAST).filter(|port| set.contains(*port)).collect::<BTreeSet<_>>(), &ports);
            prop_assert!(!set.is_empty());
        }

        #[test]
        fn display_parses_back_and_is_minimal(ranges in prop::collection::vec((1..=LAST, 0..200_u16), 1..10)) {
            let mut set = PortSet::empty();
            for (start, length) in ranges {
                set.insert(start..=start.saturating_add(length));
            }
            prop_assert_eq!(&set.to_string().parse::<PortSet>().unwrap(), &set);
            let ranges: Vec<_> = set.ranges().collect();
            prop_assert!(ranges.windows(2).all(|pair| u32::from(*pair[0].end()) + 1 < u32::from(*pair[1].start())));
        }

        #[test]
        fn no_text_panics(list in "\\PC{0,12}|[0-9,-]{0,24}") {
            if let Ok(set) = list.parse::<PortSet>() {
                prop_assert!(!set.is_empty() && !set.contains(0));
            }
        }
    }
}
