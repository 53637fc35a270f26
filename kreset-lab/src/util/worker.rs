//! Threads, and their ends.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, ScopedJoinHandle},
};

/// What a thread came to; a panic in it goes on here.
pub(crate) fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// A thread that is asked to end, and waited for, when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts one; `work` ends soon after what it is given is true.
    pub(crate) fn start(work: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&ending);
        Self {
            ending,
            thread: Some(thread::spawn(move || work(&asked))),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed already; this may be running because of it.
            let _ended = thread.join();
        }
    }
}
