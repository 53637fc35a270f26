//! What brokers and clients wrote in their logs about their connections.
//!
//! Logs are text from outside: a line is read up to a bound, so many are kept, and what is
//! shown of one is short and plain.

pub mod broker;
pub mod client;
mod time;

use std::{
    fmt::Write as _,
    io::{self, BufRead, Read as _},
    net::IpAddr,
};

use smol_str::SmolStr;

pub use self::{broker::BrokerLogs, client::ClientLogs};
use crate::{event::Endpoint, util::escape::Escaped};

/// A line that names only an address is of an event this near, ns.
const NEAR_NS: i64 = 2_000_000_000;
/// Bytes that are read of a line.
const LINE: u64 = 16 * 1_024;
/// Lines that are kept of the logs of one kind.
const LINES: usize = 200_000;
/// Longest text of a line that is shown, characters.
const SHOWN: usize = 200;

/// The logs that a run was given.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    /// Of brokers.
    pub brokers: BrokerLogs,
    /// Of clients.
    pub clients: ClientLogs,
}

impl Logs {
    /// Whether no line is about a connection.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.brokers.is_empty() && self.clients.is_empty()
    }
}

/// Gives each line of a log to `take`, without its end, until that says no.
fn lines(mut log: impl BufRead, mut take: impl FnMut(&str) -> bool) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if log.by_ref().take(LINE).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(());
        }
        if !bytes.ends_with(b"\n") {
            log.skip_until(b'\n')?;
        }
        if !take(String::from_utf8_lossy(&bytes).trim_end()) {
            return Ok(());
        }
    }
}

/// The beginning of a line, with every character that is not plain escaped.
fn shown(text: &str) -> SmolStr {
    let mut shown = String::new();
    let start = text
        .char_indices()
        .nth(SHOWN)
        .map_or(text, |(at, _)| &text[..at]);
    // Writing to a string cannot fail.
    let _written = write!(shown, "{}", Escaped(start));
    SmolStr::new(shown)
}

/// `10.0.7.9:51544`; IPv6 as Java prints it, with or without brackets.
fn endpoint(text: &str) -> Option<Endpoint> {
    let (address, port) = text.rsplit_once(':')?;
    Some(Endpoint {
        address: address
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .ok()?
            .to_canonical(),
        port: port.parse().ok()?,
    })
}

/// The address after a slash, as `InetAddress` is printed: `/10.0.7.9`.
fn slashed(text: &str) -> Option<IpAddr> {
    text.split('/').skip(1).find_map(|rest| {
        let is_end = |letter: char| !letter.is_ascii_hexdigit() && !".:".contains(letter);
        let word = rest.get(..rest.find(is_end).unwrap_or(rest.len()))?;
        let word = word.trim_end_matches(['.', ':']);
        let address = word.parse::<IpAddr>().ok();
        let address = address.or_else(|| endpoint(word).map(|endpoint| endpoint.address));
        address.map(|address| address.to_canonical())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_is_read_up_to_a_bound() {
        let mut log = vec![b'x'; 100_000];
        log.extend(b"\nsecond\nthird");
        let mut seen = Vec::new();
        lines(log.as_slice(), |line| {
            seen.push(line.len());
            true
        })
        .unwrap();
        assert_eq!(seen, [16 * 1_024, 6, 5]);
    }

    #[test]
    fn what_is_shown_moves_no_cursor() {
        assert_eq!(shown("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(shown(&"ü".repeat(500)).chars().count(), SHOWN);
    }
}
