//! How far the clocks of two hosts are apart, learned from RSTs that one sent and the other
//! received.

use std::collections::{BTreeMap, VecDeque};

use super::agents::HostId;

/// Samples of each pair that count: clocks drift.
const SAMPLES: usize = 32;

/// The clocks of all hosts.
#[derive(Debug, Default)]
pub(super) struct Clocks(BTreeMap<(HostId, HostId), Pair>);

#[derive(Debug, Default)]
struct Pair {
    /// Nanoseconds that the second host's clock is ahead.
    ahead_ns: VecDeque<i64>,
    samples: u64,
}

impl Pair {
    fn median_ns(&self) -> Option<i64> {
        let mut sorted: Vec<_> = self.ahead_ns.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// What is known of the clocks of two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skew {
    /// The hosts.
    pub(super) hosts: (HostId, HostId),
    /// Nanoseconds that the second host's clock is ahead, the way of a RST included.
    pub(super) ahead_ns: i64,
    /// RSTs that this was learned from.
    pub(super) samples: u64,
}

impl Clocks {
    /// Both hosts saw one RST.
    pub(super) fn learn(&mut self, a: (HostId, i64), b: (HostId, i64)) {
        if a.0 == b.0 {
            return;
        }
        let (first, second) = if a.0 < b.0 { (a, b) } else { (b, a) };
        let pair = self.0.entry((first.0, second.0)).or_default();
        pair.samples += 1;
        pair.ahead_ns.push_back(second.1.saturating_sub(first.1));
        if pair.ahead_ns.len() > SAMPLES {
            pair.ahead_ns.pop_front();
        }
    }

    /// Nanoseconds to add to a time of `from` for that of `to`; `None` if unknown.
    pub(super) fn skew_ns(&self, from: HostId, to: HostId) -> Option<i64> {
        if from == to {
            return Some(0);
        }
        let key = if from < to { (from, to) } else { (to, from) };
        let ahead = self.0.get(&key)?.median_ns()?;
        Some(if from < to {
            ahead
        } else {
            ahead.saturating_neg()
        })
    }

    /// All pairs.
    pub(super) fn all(&self) -> impl Iterator<Item = Skew> {
        self.0.iter().filter_map(|(hosts, pair)| {
            Some(Skew {
                hosts: *hosts,
                ahead_ns: pair.median_ns()?,
                samples: pair.samples,
            })
        })
    }
}
