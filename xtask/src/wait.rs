//! Waits for conditions.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How long to wait for anything: the machine may be under load.
const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until `happened` holds, or fails naming `what` did not happen.
pub(crate) fn await_that(what: &str, mut happened: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        if Instant::now() > deadline {
            bail!("not within {PATIENCE:?}: {what}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
