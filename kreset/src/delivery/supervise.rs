//! A thread that panics is counted and started again: a fault in one sink must
//! neither end it in silence nor end the run.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use super::{Backoff, status::Status};
use crate::util::stderr::log;

/// What a sink's thread does.
pub(super) trait Worker {
    /// Works until there is nothing left to do.
    fn run(&mut self);

    /// Counts what it held when it panicked as lost, and prepares to go on.
    fn recover(&mut self);

    /// Waits, or less if it is time to stop; returns whether it is.
    fn wait(&self, longest: Duration) -> bool;
}

/// Runs `worker` of the sink `name` until it is done.
pub(super) fn supervise(name: &str, status: &Arc<Status>, worker: &mut dyn Worker) {
    let mut backoff = Backoff::default();
    // What a panic leaves behind is put right by `recover`.
    while catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
        status.restarted();
        worker.recover();
        log(format_args!(
            "sink {name}: its thread failed; it is started again"
        ));
        if worker.wait(backoff.failed()) {
            return;
        }
    }
}
