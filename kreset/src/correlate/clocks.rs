//! How far the clocks of two hosts are apart, learned from RSTs that one sent and the other
//! received.

use std::collections::BTreeMap;

use foldhash::HashMap;
use smallvec::SmallVec;

use super::{agents::HostId, line::Origin};

/// Samples of each pair that count: clocks drift.
const SAMPLES: usize = 32;
/// Those that are this much older than the last one do not count.
const OLDEST_NS: i64 = 3_600_000_000_000;
/// Samples of one pair that are kept before old ones are looked for.
const KEPT: usize = 4 * SAMPLES;

/// The clocks of all hosts.
#[derive(Debug)]
pub(super) struct Clocks {
    pairs: HashMap<(HostId, HostId), Pair>,
    /// How long after an event others of that time may come.
    window_ns: i64,
}

/// By when both hosts had seen it, then by the event of the host that sent it: nanoseconds that
/// the second host's clock is ahead.
#[derive(Debug, Default)]
struct Pair {
    samples: BTreeMap<(i64, Origin), i64>,
    count: u64,
    /// When the last of them was: nothing else is needed of most pairs to forget the old ones.
    last_ns: i64,
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
    /// With nothing learned yet; events come out of order by no more than `window_ns`.
    pub(super) fn new(window_ns: i64) -> Self {
        Self {
            pairs: HashMap::default(),
            window_ns,
        }
    }

    /// Both hosts saw one RST, which `sent` is the event of.
    pub(super) fn learn(&mut self, sent: Origin, a: (HostId, i64), b: (HostId, i64)) {
        if a.0 == b.0 {
            return;
        }
        let (first, second) = if a.0 < b.0 { (a, b) } else { (b, a) };
        let pair = self.pairs.entry((first.0, second.0)).or_default();
        let at_ns = first.1.max(second.1);
        let ahead_ns = second.1.saturating_sub(first.1);
        if pair.samples.is_empty() || at_ns > pair.last_ns {
            pair.last_ns = at_ns;
        }
        if pair.samples.insert((at_ns, sent), ahead_ns).is_none() {
            pair.count += 1;
        }
    }

    /// Nanoseconds to add to a time of `from` for that of `to`, about `at_ns`; `None` if unknown.
    pub(super) fn skew_ns(&self, from: HostId, to: HostId, at_ns: i64) -> Option<i64> {
        if from == to {
            return Some(0);
        }
        let key = if from < to { (from, to) } else { (to, from) };
        let ahead = self
            .pairs
            .get(&key)?
            .median_ns(at_ns.saturating_add(self.window_ns))?;
        Some(if from < to {
            ahead
        } else {
            ahead.saturating_neg()
        })
    }

    /// Forgets what no event from `from_ns` on needs, and pairs that have not been learned from
    /// for long.
    pub(super) fn forget(&mut self, from_ns: i64) {
        let oldest_ns = from_ns.saturating_sub(OLDEST_NS);
        self.pairs.retain(|_, pair| pair.last_ns >= oldest_ns);
        for pair in self.pairs.values_mut() {
            if pair.samples.len() <= KEPT {
                continue;
            }
            let before = (from_ns, Origin::default());
            let mut older = pair.samples.range(..before).rev();
            if let Some((last_needed, _)) = older.nth(SAMPLES) {
                let last_needed = *last_needed;
                pair.samples = pair.samples.split_off(&last_needed);
            }
        }
    }

    /// All pairs, as they are last known.
    pub(super) fn all(&self) -> impl Iterator<Item = Skew> {
        self.pairs.iter().filter_map(|(hosts, pair)| {
            Some(Skew {
                hosts: *hosts,
                ahead_ns: pair.median_ns(pair.samples.last_key_value()?.0.0)?,
                samples: pair.count,
            })
        })
    }
}

impl Pair {
    /// The median of the last samples until then.
    fn median_ns(&self, until_ns: i64) -> Option<i64> {
        let mut until = self.samples.range(..=(until_ns, Origin::LAST)).rev();
        let ((last_ns, _), ahead_ns) = until.next()?;
        let oldest_ns = last_ns.saturating_sub(OLDEST_NS);
        let mut ahead: SmallVec<[i64; SAMPLES]> = SmallVec::new();
        ahead.push(*ahead_ns);
        let others = until.take_while(|((at_ns, _), _)| *at_ns >= oldest_ns);
        ahead.extend(others.take(SAMPLES - 1).map(|(_, ahead_ns)| *ahead_ns));
        ahead.sort_unstable();
        ahead.get(ahead.len() / 2).copied()
    }
}
