//! State that the threads of one sink share: a mutex with a condition variable.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A shared value, and when the sink is to stop.
#[derive(Debug, Default)]
pub(super) struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

/// Behind the lock.
#[derive(Debug, Default)]
pub(super) struct State<T> {
    /// What is shared.
    pub(super) value: T,
    /// No more events come in.
    pub(super) ended: bool,
    /// When to stop trying.
    stop_at: Option<Instant>,
}

impl<T> State<T> {
    /// Whether it is time to stop.
    pub(super) fn is_over(&self) -> bool {
        self.stop_at.is_some_and(|at| Instant::now() >= at)
    }
}

impl<T> Shared<T> {
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

    /// Locks the value.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No thread panics in the middle of a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value and wakes the threads that wait.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut State<T>) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Stops trying at `at`.
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
