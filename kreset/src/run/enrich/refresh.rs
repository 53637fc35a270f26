//! Reads what is slow in a thread: some hosts have so many routes or connections that it
//! takes seconds.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

/// What a thread read last.
#[derive(Debug)]
pub struct Latest<T> {
    /// `None` where nothing reads.
    ask: Option<SyncSender<()>>,
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    /// `None` until it was read once.
    value: Mutex<Option<T>>,
    changed: Condvar,
}

impl<T: Clone + Default + Send + 'static> Latest<T> {
    /// Starts a thread called `name`, which reads for the first time.
    ///
    /// # Errors
    ///
    /// When the system cannot start a thread.
    pub fn of(name: &str, mut read: impl FnMut() -> T + Send + 'static) -> io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        let shared = Arc::new(Shared {
            value: Mutex::new(None),
            changed: Condvar::new(),
        });
        let latest = Self {
            ask: Some(ask),
            shared: Arc::clone(&shared),
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                for () in asked {
                    let value = read();
                    *shared.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
                    shared.changed.notify_all();
                }
            })?;
        latest.refresh();
        Ok(latest)
    }

    /// Of no host: what a file holds does not tell it.
    #[must_use]
    pub fn unknown() -> Self {
        let shared = Shared {
            value: Mutex::new(Some(T::default())),
            changed: Condvar::new(),
        };
        Self {
            ask: None,
            shared: Arc::new(shared),
        }
    }

    /// Has it read again.
    pub fn refresh(&self) {
        if let Some(ask) = &self.ask {
            // If it has been asked already, it reads once for both.
            let _asked = ask.try_send(());
        }
    }

    /// What it read last; waits for the first time for at most `longest`.
    #[must_use]
    pub fn get(&self, longest: Duration) -> T {
        let Shared { value, changed } = &*self.shared;
        let waited = changed.wait_timeout_while(
            value.lock().unwrap_or_else(PoisonError::into_inner),
            longest,
            |value| value.is_none(),
        );
        waited
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .clone()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn nobody_waits_for_a_list_that_is_long() {
        let (release, held) = channel::<()>();
        let latest = Latest::of("test", move || {
            // Until the sender is gone.
            let _gone = held.recv();
            Some(1)
        });
        let latest = latest.unwrap();
        // Were it to wait for the list, this would never end.
        for _ in 0..100 {
            latest.refresh();
            assert_eq!(latest.get(Duration::ZERO), None);
        }
        drop(release);
        assert_eq!(latest.get(Duration::from_secs(30)), Some(1));
    }
}
