//! A loader of BPF objects that has not parsed the kernel's types.

use std::{collections::BTreeMap, thread};

use aya::EbpfLoader;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

/// A new loader, which knows no types.
///
/// `EbpfLoader::new` parses all of the kernel's, which takes 22 MB, before it can be told to use
/// others (aya 0.14). It goes on without those that it cannot open: so it is made by a thread
/// that may open nothing.
pub(super) fn loader<'a>() -> EbpfLoader<'a> {
    thread::scope(|scope| {
        let make = || {
            // A kernel without filters has to have the memory.
            let _filtered = open_nothing();
            let mut loader = EbpfLoader::new();
            loader.btf(None);
            loader
        };
        let thread = thread::Builder::new().spawn_scoped(scope, make).ok()?;
        thread.join().ok()
    })
    .unwrap_or_default()
}

/// From now on this thread cannot open a file.
fn open_nothing() -> Result<(), seccompiler::Error> {
    let calls = [
        libc::SYS_openat,
        libc::SYS_openat2,
        // How C libraries other than glibc open where there is such a call.
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open,
    ];
    let filter: BpfProgram = SeccompFilter::new(
        BTreeMap::from(calls.map(|call| (call, Vec::new()))),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EACCES.unsigned_abs()),
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?
    .try_into()?;
    apply_filter(&filter)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::kernel::facts::BTF;

    #[test]
    fn only_the_thread_that_makes_a_loader_opens_nothing() {
        let opened = thread::spawn(|| {
            open_nothing().expect("a kernel with filters");
            fs::read(BTF)
        });
        opened.join().unwrap().expect_err("it opens nothing");
        // What is parsed would be shown, type by type.
        let shown = format!("{:?}", loader());
        assert!(shown.contains("btf: None"), "{} bytes", shown.len());
        fs::read(BTF).expect("this kernel describes its types (BTF)");
    }
}
