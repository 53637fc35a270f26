//! How events of one path and cause come: now and then, in bursts, at a rate
//! that lasts, or at one silence again and again. A reset during a deploy is
//! normal; one that lasts is an alert.

use std::{collections::VecDeque, num::NonZeroUsize};

use lru::LruCache;
use smol_str::SmolStr;

use super::class::Class;
use crate::{event::Endpoint, facts::PathKey};

/// Paths and causes remembered.
const TRACKS: NonZeroUsize = NonZeroUsize::new(8_192).expect("not zero");
/// Events remembered of each.
const EVENTS: usize = 64;
/// Events further back than this do not count.
const WINDOW_NS: u64 = 600 * SECOND_NS;
const SECOND_NS: u64 = 1_000_000_000;
/// So many within so long are a burst.
const BURST: usize = 5;
const BURST_NS: u64 = 5 * SECOND_NS;
/// So many, in so many buckets of time, over so long are a rate that lasts.
const SUSTAINED: u64 = 6;
const SUSTAINED_BUCKETS: usize = 4;
const SUSTAINED_NS: u64 = 60 * SECOND_NS;
const BUCKET_NS: u64 = 10 * SECOND_NS;
/// So many fatal silences this much alike are periodic.
const PERIODIC: usize = 4;
const PERIODIC_SPREAD: f64 = 0.05;
/// Quiet for this many times its longest gap, a pattern has ended; at least
/// and at most so long.
const QUIET_GAPS: u64 = 3;
const QUIET_LEAST_NS: u64 = 60 * SECOND_NS;

/// How events come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pattern {
    /// Now and then.
    #[default]
    Occasional,
    /// Many within seconds.
    Burst,
    /// A rate that lasts.
    Sustained,
    /// Fatal silences that cluster round one value.
    Periodic,
}

impl Pattern {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Occasional => "occasional",
            Self::Burst => "burst",
            Self::Sustained => "sustained",
            Self::Periodic => "periodic",
        }
    }

    /// One that is worth an alert.
    #[must_use]
    pub const fn lasts(self) -> bool {
        matches!(self, Self::Sustained | Self::Periodic)
    }
}

/// A path that turned into a lasting pattern, or out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When; monotonic ns.
    pub at_ns: u64,
    /// Whether it began, rather than ended.
    pub begins: bool,
    /// The broker of the path.
    pub broker: Endpoint,
    /// What repeats.
    pub class: Class,
    /// How.
    pub pattern: Pattern,
    /// Events since it began to be watched.
    pub count: u64,
    /// The path.
    pub path: PathKey,
    /// The advice of the latest event.
    pub advice: SmolStr,
}

#[derive(Debug)]
struct Track {
    broker: Endpoint,
    /// The latest events.
    at_ns: VecDeque<u64>,
    /// Events of the window, by buckets of time: many more than the latest.
    buckets: VecDeque<Bucket>,
    silences_ms: VecDeque<f64>,
    count: u64,
    lasting: Option<Pattern>,
    advice: SmolStr,
}

/// Events within [`BUCKET_NS`].
#[derive(Clone, Copy, Debug)]
struct Bucket {
    first_ns: u64,
    count: u64,
}

/// The patterns of all paths.
#[derive(Debug)]
pub struct Patterns {
    tracks: LruCache<(PathKey, Class), Track>,
    /// Tracks evicted because the table was full.
    pub evicted: u64,
}

impl Default for Patterns {
    fn default() -> Self {
        Self {
            tracks: LruCache::new(TRACKS),
            evicted: 0,
        }
    }
}

/// One judged event, as patterns see it.
#[derive(Clone, Debug)]
pub struct Sighting<'a> {
    /// When; monotonic ns.
    pub at_ns: u64,
    /// The path.
    pub path: PathKey,
    /// The broker of the path.
    pub broker: Endpoint,
    /// What it was judged to be.
    pub class: Class,
    /// The silence that was fatal, if one was; ms.
    pub fatal_ms: Option<f64>,
    /// The advice that was given.
    pub advice: &'a SmolStr,
}

impl Patterns {
    /// Takes an event in: how they come by now, and whether that is new.
    pub fn observe(&mut self, sighting: &Sighting<'_>) -> (Pattern, Option<Turn>) {
        let key = (sighting.path, sighting.class);
        if self.tracks.len() == TRACKS.get() && !self.tracks.contains(&key) {
            self.evicted += 1;
        }
        let track = self.tracks.get_or_insert_mut(key, || Track {
            broker: sighting.broker,
            at_ns: VecDeque::new(),
            buckets: VecDeque::new(),
            silences_ms: VecDeque::new(),
            count: 0,
            lasting: None,
            advice: SmolStr::default(),
        });
        track.add(sighting);
        let pattern = track.pattern();
        let turns = pattern.lasts() && track.lasting.is_none();
        if turns {
            track.lasting = Some(pattern);
        }
        let turn = turns.then(|| track.turn(sighting.at_ns, true, key, pattern));
        (pattern, turn)
    }

    /// The lasting patterns that have ended by `now_ns`: it became quiet.
    pub fn ended(&mut self, now_ns: u64) -> Vec<Turn> {
        let mut turns = Vec::new();
        for (key, track) in &mut self.tracks {
            let Some(pattern) = track.lasting else {
                continue;
            };
            let quiet_ns = track
                .at_ns
                .back()
                .map_or(u64::MAX, |last| now_ns.saturating_sub(*last));
            if quiet_ns > track.patience_ns() {
                track.lasting = None;
                turns.push(track.turn(now_ns, false, *key, pattern));
                track.at_ns.clear();
                track.buckets.clear();
                track.silences_ms.clear();
                track.count = 0;
            }
        }
        turns
    }
}

impl Track {
    fn add(&mut self, sighting: &Sighting<'_>) {
        let Sighting {
            at_ns,
            fatal_ms,
            advice,
            ..
        } = sighting;
        while self
            .at_ns
            .front()
            .is_some_and(|first| at_ns.saturating_sub(*first) > WINDOW_NS)
            || self.at_ns.len() >= EVENTS
        {
            self.at_ns.pop_front();
        }
        self.at_ns.push_back(*at_ns);
        self.add_to_bucket(*at_ns);
        if let Some(ms) = fatal_ms {
            if self.silences_ms.len() >= PERIODIC {
                self.silences_ms.pop_front();
            }
            self.silences_ms.push_back(*ms);
        }
        self.count += 1;
        self.advice.clone_from(advice);
    }

    fn add_to_bucket(&mut self, at_ns: u64) {
        let since = |bucket: &Bucket| at_ns.saturating_sub(bucket.first_ns);
        while self.buckets.front().is_some_and(|it| since(it) > WINDOW_NS) {
            self.buckets.pop_front();
        }
        match self.buckets.back_mut() {
            Some(last) if since(last) < BUCKET_NS => last.count += 1,
            _ => self.buckets.push_back(Bucket {
                first_ns: at_ns,
                count: 1,
            }),
        }
    }

    fn pattern(&self) -> Pattern {
        if self.is_periodic() {
            Pattern::Periodic
        } else if self.is_sustained() {
            Pattern::Sustained
        } else if self.is_burst() {
            Pattern::Burst
        } else {
            Pattern::Occasional
        }
    }

    /// Connections that die together die of one silence each, but not again and
    /// again: the deaths must come in bouts.
    fn is_periodic(&self) -> bool {
        if self.silences_ms.len() < PERIODIC || self.bouts() < PERIODIC {
            return false;
        }
        let least = self
            .silences_ms
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min);
        let most = self.silences_ms.iter().copied().fold(0.0, f64::max);
        most - least <= most * PERIODIC_SPREAD
    }

    /// Events need no pauses between them: a storm that does not end is one too.
    fn is_sustained(&self) -> bool {
        let (Some(first), Some(last)) = (self.buckets.front(), self.at_ns.back()) else {
            return false;
        };
        self.buckets.len() >= SUSTAINED_BUCKETS
            && last.saturating_sub(first.first_ns) >= SUSTAINED_NS
            && self.buckets.iter().map(|it| it.count).sum::<u64>() >= SUSTAINED
    }

    fn is_burst(&self) -> bool {
        let Some(last) = self.at_ns.back() else {
            return false;
        };
        let recent = self.at_ns.iter().rev();
        recent
            .take_while(|at| last.saturating_sub(**at) <= BURST_NS)
            .take(BURST)
            .count()
            >= BURST
    }

    /// Groups of events with a pause between them.
    fn bouts(&self) -> usize {
        const PAUSE_NS: u64 = SECOND_NS;
        let pauses = self
            .at_ns
            .iter()
            .zip(self.at_ns.iter().skip(1))
            .filter(|(before, after)| after.saturating_sub(**before) > PAUSE_NS)
            .count();
        pauses + usize::from(!self.at_ns.is_empty())
    }

    fn patience_ns(&self) -> u64 {
        let longest = self
            .at_ns
            .iter()
            .zip(self.at_ns.iter().skip(1))
            .map(|(before, after)| after.saturating_sub(*before))
            .max()
            .unwrap_or(0);
        (longest.saturating_mul(QUIET_GAPS)).clamp(QUIET_LEAST_NS, WINDOW_NS)
    }

    fn turn(&self, at_ns: u64, begins: bool, key: (PathKey, Class), pattern: Pattern) -> Turn {
        Turn {
            at_ns,
            begins,
            broker: self.broker,
            class: key.1,
            pattern,
            count: self.count,
            path: key.0,
            advice: self.advice.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::PathFar;

    fn sighting(at_s: f64, fatal_ms: Option<f64>) -> Sighting<'static> {
        let broker = Endpoint {
            address: [10, 0, 0, 2].into(),
            port: 9092,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small, positive"
        )]
        let at_ns = (at_s * 1e9) as u64;
        Sighting {
            at_ns,
            path: PathKey {
                netns: 1,
                far: PathFar::Broker(broker),
            },
            broker,
            class: Class::IdleOnSend,
            fatal_ms,
            advice: const { &SmolStr::new_static("advice") },
        }
    }

    fn run(times: impl IntoIterator<Item = (f64, Option<f64>)>) -> (Patterns, Pattern, Vec<Turn>) {
        let mut patterns = Patterns::default();
        let mut turns = Vec::new();
        let mut pattern = Pattern::Occasional;
        for (at, fatal) in times {
            let (now, turn) = patterns.observe(&sighting(at, fatal));
            pattern = now;
            turns.extend(turn);
        }
        (patterns, pattern, turns)
    }

    #[test]
    fn one_now_and_then_is_occasional() {
        let (_, pattern, turns) = run([(0.0, None), (400.0, None), (900.0, None)]);
        assert_eq!((pattern, turns.len()), (Pattern::Occasional, 0));
    }

    #[test]
    fn many_within_seconds_are_a_burst_and_no_alert() {
        let (_, pattern, turns) = run((0..40).map(|n| (f64::from(n) / 10.0, Some(5_000.0))));
        assert_eq!((pattern, turns.len()), (Pattern::Burst, 0));
    }

    #[test]
    fn a_rate_that_lasts_alerts_once_and_once_when_it_ends() {
        let lasting = (0..30).map(|n| (f64::from(n) * 20.0, None));
        let (mut patterns, pattern, turns) = run(lasting);
        assert_eq!(pattern, Pattern::Sustained);
        assert_eq!(turns.len(), 1);
        assert!(turns[0].begins);
        assert_eq!(patterns.ended(610 * SECOND_NS), []);
        let ended = patterns.ended(700 * SECOND_NS);
        assert_eq!(ended.len(), 1);
        assert!(!ended[0].begins);
        assert_eq!(ended[0].count, 30);
        assert_eq!(patterns.ended(1_000 * SECOND_NS), []);
    }

    /// Each raised no alert, for want of pauses of a second.
    #[test]
    fn a_storm_without_a_pause_is_sustained_once_it_lasts() {
        for (rate, seconds) in [(5.0, 120.0), (18.6, 78.0), (1_000.0, 61.0)] {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "small, positive"
            )]
            let count = (rate * seconds) as u32;
            let storm = (0..count).map(|n| (f64::from(n) / rate, None));
            let (_, pattern, turns) = run(storm);
            assert_eq!((pattern, turns.len()), (Pattern::Sustained, 1), "{rate}/s");
            let at_s = turns[0].at_ns / SECOND_NS;
            assert_eq!(at_s, SUSTAINED_NS / SECOND_NS, "{rate}/s");
        }
        let deploy = (0..2_000).map(|n| (f64::from(n) / 50.0, None));
        let (_, pattern, turns) = run(deploy);
        assert_eq!((pattern, turns.len()), (Pattern::Burst, 0));
    }

    #[test]
    fn fatal_silences_at_one_value_are_periodic() {
        let at_350 = |n: u32| Some(f64::from(n).mul_add(1_000.0, 350_000.0));
        let (_, pattern, turns) = run((0..5).map(|n| (f64::from(n) * 30.0, at_350(n))));
        assert_eq!(pattern, Pattern::Periodic);
        assert_eq!(turns.len(), 1);
        let unlike = |n: u32| Some(f64::from(n).mul_add(90_000.0, 350_000.0));
        let (_, pattern, _) = run((0..5).map(|n| (f64::from(n) * 30.0, unlike(n))));
        assert_eq!(pattern, Pattern::Occasional);
    }

    #[test]
    fn deaths_together_are_not_periodic() {
        let (_, pattern, turns) = run((0..5).map(|n| (f64::from(n) / 100.0, Some(9_000.0))));
        assert_eq!((pattern, turns.len()), (Pattern::Burst, 0));
    }
}
