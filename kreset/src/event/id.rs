//! Names of events, by which a receiver drops repeats.
//!
//! Delivery is at least once: after a failure an event may arrive again. It
//! then carries the same id.

use std::{
    fmt::{self, Write as _},
    fs,
};

use arrayvec::ArrayString;
use rustix::{
    rand::{GetRandomFlags, getrandom},
    time::{ClockId, clock_gettime},
};

/// The id of an event: three numbers of at most 16 digits.
pub type Id = ArrayString<50>;

/// The file with the kernel's id of this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Names the events of one run: `BOOT-RUN-NUMBER`, hexadecimal.
///
/// The first half of the kernel's boot id distinguishes hosts and boots, the
/// nanosecond since boot at which the run began distinguishes runs, and the
/// number orders the events of a run.
#[derive(Clone, Debug)]
pub struct Ids {
    run: Id,
    next: u64,
}

impl Ids {
    /// Ids for a run that begins now.
    #[must_use]
    pub fn of_this_run() -> Self {
        let since_boot = clock_gettime(ClockId::Boottime);
        let nanoseconds = since_boot
            .tv_sec
            .saturating_mul(1_000_000_000)
            .saturating_add(since_boot.tv_nsec);
        Self {
            run: id(format_args!("{:016x}-{nanoseconds:x}", boot())),
            next: 0,
        }
    }

    /// The id of the next event.
    pub fn next_id(&mut self) -> Id {
        let id = id(format_args!("{}-{:x}", self.run, self.next));
        self.next += 1;
        id
    }
}

fn id(text: fmt::Arguments<'_>) -> Id {
    let mut id = Id::new();
    // There is room for every number.
    let _whole = id.write_fmt(text);
    id
}

/// 64 bits that are this boot's alone.
fn boot() -> u64 {
    fs::read_to_string(BOOT_ID)
        .ok()
        .and_then(|id| parse(&id))
        .unwrap_or_else(random)
}

fn parse(boot_id: &str) -> Option<u64> {
    let digits: String = boot_id
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(16)
        .collect();
    u64::from_str_radix(&digits, 16)
        .ok()
        .filter(|_| digits.len() == 16)
}

/// For a host that hides its boot id: differs between hosts, and between runs of
/// one host too, which the time since boot distinguishes anyway.
fn random() -> u64 {
    let mut bytes = [0; 8];
    // The kernel's pool is ready long before any agent starts; if it is not,
    // the time since boot still distinguishes runs.
    let _filled = getrandom(&mut bytes, GetRandomFlags::NONBLOCK);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_events_share_an_id() {
        let mut runs = [(); 3].map(|()| Ids::of_this_run());
        let ids: BTreeSet<_> = runs
            .iter_mut()
            .flat_map(|run| {
                std::iter::repeat_with(|| run.next_id())
                    .take(1000)
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(ids.len(), 3000);
    }

    #[test]
    fn runs_of_one_boot_share_its_part() {
        let [first, second] = [(); 2].map(|()| Ids::of_this_run().next_id());
        assert_eq!(first[..17], second[..17]);
        assert!(first.ends_with("-0"), "{first}");
    }

    #[test]
    fn a_boot_id_is_read_as_the_kernel_writes_it() {
        assert_eq!(
            parse("6f9619ff-8b86-d011-b42d-00cf4fc964ff\n"),
            Some(0x6f96_19ff_8b86_d011)
        );
        assert_eq!(parse("6f9619ff\n"), None);
        assert_ne!(random(), random());
    }
}
