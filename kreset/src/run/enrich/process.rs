//! When a process started.

use crate::{event::Time, facts::Owner, util::clock::WallClock};

/// From the kernel's record, as the process may have ended.
/// `boot` counts from boot, suspended time included (`CLOCK_BOOTTIME`).
#[must_use]
pub fn start_time(owner: &Owner, boot: WallClock) -> Option<Time> {
    owner
        .start_boottime_ns
        .map(|since_boot| boot.timestamp(since_boot).into())
}
