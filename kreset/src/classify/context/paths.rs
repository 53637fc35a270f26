//! Per path: which silences it came through, and which it died of.

use std::{collections::VecDeque, num::NonZeroUsize};

use lru::LruCache;

use crate::facts::{Facts, PacketFacts, PathKey};

/// Paths remembered.
const PATHS: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
/// Deaths remembered of each.
const DEATHS: usize = 16;

/// A silence that a flow did not come through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Death {
    /// When; monotonic ns.
    pub at_ns: u64,
    /// How long the wire had been silent, ms.
    pub idle_ms: f64,
    /// The RST came by itself: the silence is the timer.
    pub on_timer: bool,
}

/// What is known of one path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PathView {
    /// Longest silence that came through, ms.
    pub survived_ms: Option<f64>,
    /// Shortest silence that did not, ms.
    pub fatal_ms: Option<f64>,
    /// Silences that either rests on.
    pub samples: u64,
    /// The latest deaths, oldest first.
    pub deaths: Vec<Death>,
    /// The latest silences that may have been fatal, ms: of resets that several causes
    /// fit.
    pub suspects_ms: Vec<f64>,
    /// TTL or hop limit of the far end's packets, from any connection.
    pub ttl: Option<u8>,
    /// When a device reset several connections in use at once, the last time; monotonic ns.
    pub failed_over_ns: Option<u64>,
}

/// Silences within this share of each other are those of one timer.
const ONE_TIMER: f64 = 0.05;

#[derive(Debug, Default)]
struct Path {
    survived_ms: f64,
    samples: u64,
    deaths: VecDeque<Death>,
    suspects_ms: VecDeque<f64>,
    fatal_ms: Option<f64>,
    ttl: Option<u8>,
    failed_over_ns: Option<u64>,
}

impl Path {
    fn died(&mut self, death: Death) {
        if self.deaths.len() == DEATHS {
            self.deaths.pop_front();
        }
        self.deaths.push_back(death);
        self.samples += 1;
        let least = self.fatal_ms.unwrap_or(f64::INFINITY);
        self.fatal_ms = Some(least.min(death.idle_ms));
    }
}

/// All paths.
#[derive(Debug)]
pub struct Paths {
    paths: LruCache<PathKey, Path>,
    /// Paths evicted because the table was full.
    pub evicted: u64,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            paths: LruCache::new(PATHS),
            evicted: 0,
        }
    }
}

impl Paths {
    /// Takes in the longest silence that a connection came through.
    pub fn survived(&mut self, facts: &Facts) {
        let Some(ms) = facts
            .packets
            .as_ref()
            .and_then(|packets| packets.survived_ms)
        else {
            return;
        };
        let path = self.path(facts.path());
        path.survived_ms = path.survived_ms.max(ms);
        path.samples += 1;
    }

    /// Takes in how far the far end is.
    pub fn distance(&mut self, facts: &Facts) {
        if let Some(ttl) = facts.packets.as_ref().and_then(PacketFacts::baseline_ttl) {
            self.path(facts.path()).ttl = Some(ttl);
        }
    }

    /// Takes in that a silence was fatal.
    pub fn died(&mut self, facts: &Facts, on_timer: bool) {
        let Some(idle) = facts.idle else {
            return;
        };
        let path = self.path(facts.path());
        let death = Death {
            at_ns: facts.at_ns,
            idle_ms: idle.wire_ms,
            on_timer,
        };
        // Those before that were like it, and undecided then.
        let suspects = std::mem::take(&mut path.suspects_ms);
        for idle_ms in suspects {
            if alike(idle_ms, death.idle_ms) {
                path.died(Death { idle_ms, ..death });
            } else {
                path.suspects_ms.push_back(idle_ms);
            }
        }
        path.died(death);
    }

    /// Takes in that a silence may have been fatal.
    pub fn suspect(&mut self, facts: &Facts) {
        let Some(idle) = facts.idle else {
            return;
        };
        let path = self.path(facts.path());
        if path.suspects_ms.len() == DEATHS {
            path.suspects_ms.pop_front();
        }
        path.suspects_ms.push_back(idle.wire_ms);
    }

    /// Takes in that a device reset a connection in use, and others with it.
    pub fn failed_over(&mut self, facts: &Facts) {
        self.path(facts.path()).failed_over_ns = Some(facts.at_ns);
    }

    /// What is known of a path.
    #[must_use]
    pub fn view(&mut self, key: &PathKey) -> PathView {
        let Some(path) = self.paths.get(key) else {
            return PathView::default();
        };
        PathView {
            survived_ms: (path.survived_ms > 0.0).then_some(path.survived_ms),
            fatal_ms: path.fatal_ms,
            samples: path.samples,
            deaths: path.deaths.iter().copied().collect(),
            suspects_ms: path.suspects_ms.iter().copied().collect(),
            ttl: path.ttl,
            failed_over_ns: path.failed_over_ns,
        }
    }

    fn path(&mut self, key: PathKey) -> &mut Path {
        if self.paths.len() == PATHS.get() && !self.paths.contains(&key) {
            self.evicted += 1;
        }
        self.paths.get_or_insert_mut(key, Path::default)
    }
}

/// Two silences may be those of one timer.
#[must_use]
pub fn alike(a: f64, b: f64) -> bool {
    (a - b).abs() <= ONE_TIMER * a.max(b)
}
