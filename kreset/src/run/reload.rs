//! Reads the configuration again, in a thread: the event loop must not wait for a
//! file that hangs, such as one on a dead network file system, or a pipe.

use std::{io, thread, time::Duration};

use tokio::{
    sync::oneshot::{Receiver, channel, error::TryRecvError},
    time::{Instant as Deadline, timeout_at},
};

use super::options::Options;

/// Time limit for reading it.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// Reads the options of a run again; the error is a sentence.
pub type ReadOptions = fn() -> Result<Options, String>;

/// Reads the options again, one time after the other.
pub(super) struct Reloader {
    read: ReadOptions,
    longest: Duration,
    /// The answer of the thread that reads, or that hung the last time.
    reading: Option<Receiver<Result<Options, String>>>,
    /// When it is no longer waited for.
    until: Option<Deadline>,
}

impl Reloader {
    /// Each time takes `longest` at most.
    pub(super) const fn new(read: ReadOptions, longest: Duration) -> Self {
        Self {
            read,
            longest,
            reading: None,
            until: None,
        }
    }

    /// Begins to read, unless the last time has not ended yet.
    pub(super) fn start(&mut self) -> io::Result<()> {
        if let Some(reading) = &mut self.reading
            && matches!(reading.try_recv(), Err(TryRecvError::Empty))
        {
            // It has no answer, and may hang for ever.
            self.until.get_or_insert_with(Deadline::now);
            return Ok(());
        }
        let (answer, reading) = channel();
        let read = self.read;
        thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || {
                // The run may have ended meanwhile.
                let _unread = answer.send(read());
            })?;
        self.reading = Some(reading);
        self.until = Some(Deadline::now() + self.longest);
        Ok(())
    }

    /// The answer; never comes if none is expected.
    pub(super) async fn answer(&mut self) -> Result<Options, String> {
        let (Some(reading), Some(until)) = (&mut self.reading, self.until) else {
            return std::future::pending().await;
        };
        let answer = timeout_at(until, reading).await;
        self.until = None;
        match answer {
            Ok(Ok(answer)) => {
                self.reading = None;
                answer
            }
            Ok(Err(_panicked)) => {
                self.reading = None;
                Err("the configuration cannot be read".to_owned())
            }
            Err(_elapsed) => Err(format!(
                "the configuration cannot be read within {:?}",
                self.longest
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    fn hangs() -> Result<Options, String> {
        let open = GATE.0.lock().unwrap();
        drop(GATE.1.wait_while(open, |open| !*open).unwrap());
        Err("read".to_owned())
    }

    #[tokio::test]
    async fn one_that_hangs_is_given_up_and_read_again_once_it_does_not() {
        let mut reloader = Reloader::new(hangs, Duration::from_millis(5));
        for _ in 0..3 {
            // No further thread waits for it.
            reloader.start().unwrap();
            let error = reloader.answer().await.unwrap_err();
            assert!(error.ends_with("within 5ms"), "{error}");
        }
        *GATE.0.lock().unwrap() = true;
        GATE.1.notify_all();
        loop {
            reloader.start().unwrap();
            if reloader.answer().await.unwrap_err() == "read" {
                break;
            }
        }
        // With nothing asked for, nothing comes.
        let none = tokio::time::timeout(Duration::from_millis(5), reloader.answer());
        none.await.unwrap_err();
    }
}
