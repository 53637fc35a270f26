//! Ending a run early without leaving anything behind.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::lock::lock;
use crate::error::{Error, Result};

/// A request to stop, shared by everything that waits.
///
/// The lab has no handler that tears things down: every wait ends with [`Error::Stopped`] once a
/// stop was requested, and namespaces, processes and threads go the way they always go, by `Drop`.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Longest time that a wait which cannot listen to this request may take before it looks.
    pub(crate) const GLANCE: Duration = Duration::from_millis(50);

    /// Asks everything that shares this request to stop.
    pub fn request(&self) {
        *self.lock() = true;
        self.0.changed.notify_all();
    }

    /// [`Error::Stopped`] if a stop was requested.
    pub fn check(&self) -> Result<()> {
        if *self.lock() {
            Err(Error::Stopped)
        } else {
            Ok(())
        }
    }

    /// Does nothing for `time`: the silence that a scenario is about.
    pub fn sleep(&self, time: Duration) -> Result<()> {
        let (requested, _) = self
            .0
            .changed
            .wait_timeout_while(self.lock(), time, |requested| !*requested)
            .unwrap_or_else(PoisonError::into_inner);
        if *requested {
            Err(Error::Stopped)
        } else {
            Ok(())
        }
    }

    /// Waits until `look` finds something; looks again after each `step`.
    ///
    /// # Errors
    /// [`Error::Deadline`] after `patience`, naming `what`; [`Error::Stopped`]; what `look` says.
    pub fn until<T>(
        &self,
        what: &str,
        patience: Duration,
        step: Duration,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(Error::Deadline {
                    what: what.to_owned(),
                    waited: patience,
                });
            }
            self.sleep(step)?;
        }
    }

    /// The same for what holds or does not.
    pub fn until_holds(
        &self,
        what: &str,
        patience: Duration,
        mut holds: impl FnMut() -> bool,
    ) -> Result<()> {
        const STEP: Duration = Duration::from_millis(10);
        self.until(what, patience, STEP, || Ok(holds().then_some(())))
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        lock(&self.0.requested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_a_sleep_at_once() {
        let stop = Stop::default();
        let sleeper = stop.clone();
        let began = Instant::now();
        let thread = std::thread::spawn(move || sleeper.sleep(Duration::from_mins(1)));
        stop.request();
        assert!(matches!(thread.join(), Ok(Err(Error::Stopped))));
        assert!(began.elapsed() < Duration::from_secs(30));
        assert!(matches!(stop.check(), Err(Error::Stopped)));
    }

    #[test]
    fn a_sleep_that_nobody_ends_lasts() {
        let began = Instant::now();
        Stop::default().sleep(Duration::from_millis(20)).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(20));
    }
}
