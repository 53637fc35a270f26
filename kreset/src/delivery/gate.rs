//! What the threads of one sink share, and how they wait for each other.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A shared value with the end of a sink's life.
#[derive(Debug, Default)]
pub(super) struct Gate<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

/// Behind the lock.
#[derive(Debug, Default)]
pub(super) struct State<T> {
    /// What is shared.
    pub(super) value: T,
    /// Nothing more comes in.
    pub(super) ended: bool,
    /// From then on nothing is tried any more.
    stop_at: Option<Instant>,
}

impl<T> State<T> {
    /// Whether it is time to leave things as they are.
    pub(super) fn is_over(&self) -> bool {
        self.stop_at.is_some_and(|at| Instant::now() >= at)
    }
}

impl<T> Gate<T> {
    pub(super) const fn new(value: T) -> Self {
        let state = State {
            value,
            ended: false,
            stop_at: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// The value, for this thread alone.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A thread that panicked held no half of a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value and wakes whoever waits.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut State<T>) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Nothing is tried any more from `at` on.
    pub(super) fn stop_at(&self, at: Instant) {
        self.update(|state| state.stop_at = Some(at));
    }

    /// Waits until `ready`, until the time to stop, or for `longest`.
    pub(super) fn wait(&self, longest: Duration, ready: impl Fn(&State<T>) -> bool) {
        let until = Instant::now() + longest;
        let mut state = self.lock();
        loop {
            let until = state.stop_at.map_or(until, |at| at.min(until));
            let left = until.saturating_duration_since(Instant::now());
            if ready(&state) || left.is_zero() {
                drop(state);
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}
