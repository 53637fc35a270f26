//! What the kernel did not run: a program that is running on the processor
//! already is skipped when its hook is called again there (`prog->active`;
//! kernel: `__bpf_trace_run`, `__bpf_prog_enter_recur`).
//!
//! For hooks whose calls leave no trace that a later one would miss. A change of
//! state does: the kernel side counts by itself what it missed of those.

use std::{
    fs::File,
    io::{self, Seek as _},
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
};

/// Reads how often that happened, from the programs' own counts
/// (`recursion_misses` of their descriptors' `fdinfo`, since 5.12; up to then
/// programs on tracepoints are never skipped).
pub(super) struct Skips {
    hooks: Vec<Vec<Count>>,
}

/// The count of one program.
struct Count {
    /// Open from the start: without rights a process may not open it later.
    info: Option<File>,
    /// `info` describes this descriptor, which keeps the program after its links are gone.
    _program: OwnedFd,
}

impl Skips {
    /// Of the programs of each hook.
    pub(super) fn of(hooks: &[Vec<BorrowedFd<'_>>]) -> io::Result<Self> {
        let hooks = hooks
            .iter()
            .map(|programs| programs.iter().copied().map(Count::of).collect())
            .collect::<io::Result<_>>()?;
        Ok(Self { hooks })
    }

    /// How many calls no program of their hook was run for, at most: a call that
    /// all were skipped for counts with each, and so does one that some were
    /// skipped for.
    pub(super) fn count(&mut self) -> u64 {
        let of_hook =
            |programs: &mut Vec<Count>| programs.iter_mut().map(Count::read).min().unwrap_or(0);
        self.hooks.iter_mut().map(of_hook).sum()
    }
}

impl Count {
    fn of(program: BorrowedFd<'_>) -> io::Result<Self> {
        let program = program.try_clone_to_owned()?;
        let path = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
        Ok(Self {
            info: File::open(path).ok(),
            _program: program,
        })
    }

    /// 0 where the kernel has no such count.
    fn read(&mut self) -> u64 {
        let text = self.info.as_mut().and_then(|info| {
            info.rewind().ok()?;
            io::read_to_string(info).ok()
        });
        text.and_then(|text| misses(&text)).unwrap_or(0)
    }
}

fn misses(fdinfo: &str) -> Option<u64> {
    let count = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::fd::AsFd as _};

    use super::*;

    /// Counts that stand in files, as those of programs do in `fdinfo`.
    fn skips(hooks: &[&[u64]]) -> (tempfile::TempDir, Skips) {
        let place = tempfile::tempdir().unwrap();
        let mut names = 0..;
        let mut count = |misses: &u64| {
            let path = place.path().join(names.next().unwrap().to_string());
            let text = format!("prog_type:\t26\nrecursion_misses:\t{misses}\nverified_insns:\t9\n");
            fs::write(&path, text).unwrap();
            let info = File::open(path).unwrap();
            Count {
                _program: info.as_fd().try_clone_to_owned().unwrap(),
                info: Some(info),
            }
        };
        let hooks = hooks
            .iter()
            .map(|programs| programs.iter().map(&mut count).collect())
            .collect();
        (place, Skips { hooks })
    }

    #[test]
    fn a_call_can_be_lost_only_where_all_programs_of_its_hook_were_skipped() {
        let (place, mut skips) = skips(&[&[7, 2], &[0, 5], &[3]]);
        assert_eq!(skips.count(), 2 + 3);
        fs::write(place.path().join("2"), "recursion_misses:\t4\n").unwrap();
        assert_eq!(skips.count(), 2 + 4 + 3, "it is read anew");
    }

    #[test]
    fn a_kernel_that_does_not_tell_has_skipped_nothing() {
        assert_eq!(misses("prog_type:\t26\nprog_id:\t4\n"), None);
        // No descriptor of this process is a program's.
        let file = File::open("/dev/null").unwrap();
        let mut skips = Skips::of(&[vec![file.as_fd()]]).unwrap();
        assert_eq!(skips.count(), 0);
    }
}
