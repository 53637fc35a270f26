//! Whether the event loop and the sinks still work.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use crate::util::named::named;

/// An event loop that has not turned for this long has stalled: it turns at least
/// twice a second.
const STALLED: Duration = Duration::from_secs(10);
/// A sink that has been in one write or request for this long is stuck.
const STUCK: Duration = Duration::from_mins(1);

/// The state of the event loop, which it updates itself at every turn.
#[derive(Debug)]
pub struct Health {
    attached: AtomicBool,
    /// When the loop last turned.
    turn: Moment,
    /// Whether the last reload was successful.
    reload: AtomicBool,
    /// When the configuration was read successfully last.
    reloaded: Mutex<SystemTime>,
}

impl Default for Health {
    /// Of a run that has read its configuration just now.
    fn default() -> Self {
        Self {
            attached: AtomicBool::default(),
            turn: Moment::default(),
            reload: AtomicBool::new(true),
            reloaded: Mutex::new(SystemTime::now()),
        }
    }
}

impl Health {
    /// The event loop turns.
    pub fn turn(&self, now: Instant) {
        self.turn.set(now);
    }

    /// Sets whether the tracer is attached.
    pub fn set_attached(&self, attached: bool) {
        self.attached.store(attached, Relaxed);
    }

    /// Whether the tracer is attached.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.attached.load(Relaxed)
    }

    /// How long the event loop has not turned, if it has stalled.
    #[must_use]
    pub fn stalled(&self, now: Instant) -> Option<Duration> {
        self.turn.longer_ago_than(STALLED, now)
    }

    /// The configuration was reloaded, or the new one was rejected.
    pub fn reloaded(&self, successful: bool) {
        self.reload.store(successful, Relaxed);
        if successful {
            let mut at = self.reloaded.lock().unwrap_or_else(PoisonError::into_inner);
            *at = SystemTime::now();
        }
    }

    /// Whether the configuration was valid when it was read last, and when that was
    /// so last.
    #[must_use]
    pub fn last_reload(&self) -> (bool, SystemTime) {
        let at = self.reloaded.lock().unwrap_or_else(PoisonError::into_inner);
        (self.reload.load(Relaxed), *at)
    }
}

named! {
    /// The state of a sink.
    SinkState,
    /// The words for it.
    as_str {
        /// Events are delivered.
        Working = "working",
        /// The last attempt to deliver failed.
        Failing = "failing",
        /// Its spool cannot be written.
        SpoolFailing = "spool failing",
        /// It has been in one write or request for a minute.
        Stuck = "stuck",
    }
}

/// The state of a sink, as its threads set it.
#[derive(Debug, Default)]
pub(super) struct SinkHealth {
    failing: AtomicBool,
    spool_failing: AtomicBool,
    /// Since when it has been in one write or request.
    busy: Moment,
}

impl SinkHealth {
    pub(super) fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Relaxed);
    }

    pub(super) fn set_spool_failing(&self, failing: bool) {
        self.spool_failing.store(failing, Relaxed);
    }

    /// Does something that may take long.
    pub(super) fn busy<T>(&self, act: impl FnOnce() -> T) -> T {
        self.busy.set(Instant::now());
        let result = act();
        self.busy.clear();
        result
    }

    pub(super) fn idle(&self) {
        self.busy.clear();
    }

    pub(super) fn state(&self, now: Instant) -> SinkState {
        if self.busy.longer_ago_than(STUCK, now).is_some() {
            SinkState::Stuck
        } else if self.spool_failing.load(Relaxed) {
            SinkState::SpoolFailing
        } else if self.failing.load(Relaxed) {
            SinkState::Failing
        } else {
            SinkState::Working
        }
    }
}

/// A point in time that another thread reads; none, at first.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn set(&self, now: Instant) {
        self.0.store(milliseconds(now), Relaxed);
    }

    fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    /// How long ago it was, if it was longer ago than `limit`.
    fn longer_ago_than(&self, limit: Duration, now: Instant) -> Option<Duration> {
        let at = self.0.load(Relaxed);
        let ago = Duration::from_millis(milliseconds(now).saturating_sub(at));
        (at > 0 && ago > limit).then_some(ago)
    }
}

/// Milliseconds since the first call, from 1 on.
fn milliseconds(now: Instant) -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let began = *BEGAN.get_or_init(Instant::now);
    let since = now.saturating_duration_since(began).as_millis();
    u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stops_turning_is_noticed_and_one_that_did_not_begin_is_not() {
        let health = Health::default();
        let now = Instant::now();
        assert_eq!(health.stalled(now + STALLED * 3), None);
        health.turn(now);
        assert_eq!(health.stalled(now + STALLED), None);
        let stalled = health.stalled(now + STALLED * 2).unwrap();
        assert!(stalled > STALLED && stalled <= STALLED * 2, "{stalled:?}");
        health.turn(now + STALLED * 2);
        assert_eq!(health.stalled(now + STALLED * 2), None);
    }

    #[test]
    fn the_worst_of_a_sinks_states_is_shown() {
        let health = SinkHealth::default();
        let now = Instant::now();
        assert_eq!(health.state(now), SinkState::Working);
        health.set_failing(true);
        assert_eq!(health.state(now), SinkState::Failing);
        health.set_spool_failing(true);
        assert_eq!(health.state(now), SinkState::SpoolFailing);
        health.busy(|| {
            let later = Instant::now() + STUCK * 2;
            assert_eq!(health.state(later), SinkState::Stuck);
        });
        assert_eq!(health.state(now + STUCK * 4), SinkState::SpoolFailing);
    }

    #[test]
    fn the_last_reload_is_kept() {
        let health = Health::default();
        let (valid, began) = health.last_reload();
        assert!(valid);
        health.reloaded(false);
        assert_eq!(health.last_reload(), (false, began));
        health.reloaded(true);
        let (valid, at) = health.last_reload();
        assert!(valid && at >= began);
    }
}
