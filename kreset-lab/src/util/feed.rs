//! A list that grows while others wait for what it will hold.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::lock::lock;
use crate::{
    Stop,
    error::{Error, Result},
};

/// A growing list, shared by who writes it and who waits for it.
#[derive(Debug)]
pub(crate) struct Feed<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    items: Mutex<Items<T>>,
    grew: Condvar,
}

/// The items of a feed. Its oldest may be forgotten; they still count.
#[derive(Debug)]
pub(crate) struct Items<T> {
    /// Those that are remembered, in order.
    pub(crate) kept: Vec<T>,
    forgotten: usize,
    /// Nothing more will come.
    pub(crate) ended: bool,
}

impl<T> Default for Feed<T> {
    fn default() -> Self {
        let items = Items {
            kept: Vec::new(),
            forgotten: 0,
            ended: false,
        };
        Self(Arc::new(Inner {
            items: Mutex::new(items),
            grew: Condvar::new(),
        }))
    }
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Items<T> {
    /// Those from number `first` on, counted from the beginning.
    pub(crate) fn from(&self, first: usize) -> &[T] {
        let first = first.saturating_sub(self.forgotten);
        self.kept.get(first..).unwrap_or_default()
    }

    /// How many there were.
    pub(crate) const fn count(&self) -> usize {
        self.forgotten + self.kept.len()
    }

    /// Forgets the oldest `count` of those that are kept.
    pub(crate) fn forget(&mut self, count: usize) -> Vec<T> {
        self.forgotten += count;
        self.kept.drain(..count).collect()
    }
}

impl<T> Feed<T> {
    pub(crate) fn push(&self, item: T) {
        self.lock().kept.push(item);
        self.0.grew.notify_all();
    }

    /// Says that nothing more will come.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.0.grew.notify_all();
    }

    /// The items, which do not grow while they are held.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Items<T>> {
        lock(&self.0.items)
    }

    /// Waits until `look` finds something; it is asked whenever items were added.
    ///
    /// # Errors
    /// [`Error::Deadline`] after `patience`, naming `what`; [`Error::Stopped`].
    pub(crate) fn wait_until<R>(
        &self,
        what: &str,
        patience: Duration,
        stop: &Stop,
        mut look: impl FnMut(&Items<T>) -> Option<R>,
    ) -> Result<R> {
        let deadline = Instant::now() + patience;
        let mut items = self.lock();
        loop {
            if let Some(found) = look(&items) {
                return Ok(found);
            }
            stop.check()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Deadline {
                    what: what.to_owned(),
                    waited: patience,
                });
            }
            items = self.wait(items, left.min(Stop::GLANCE));
        }
    }

    fn wait<'a>(
        &self,
        items: MutexGuard<'a, Items<T>>,
        time: Duration,
    ) -> MutexGuard<'a, Items<T>> {
        let waited = self.0.grew.wait_timeout(items, time);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl<T: Clone> Feed<T> {
    /// All that are kept.
    pub(crate) fn all(&self) -> Vec<T> {
        self.lock().kept.clone()
    }

    /// Waits up to `patience` for more than `seen` items, and returns those after `seen`.
    pub(crate) fn after(&self, seen: usize, patience: Duration) -> Vec<T> {
        let mut items = self.lock();
        if items.count() <= seen {
            items = self.wait(items, patience);
        }
        items.from(seen).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_still_counts() {
        let feed = Feed::default();
        (1..=4).for_each(|number| feed.push(number));
        assert_eq!(feed.lock().forget(2), [1, 2]);
        for (first, rest) in [(0, &[3, 4][..]), (3, &[4]), (4, &[])] {
            assert_eq!(feed.lock().from(first), rest);
        }
        assert_eq!(feed.lock().count(), 4);
    }
}
