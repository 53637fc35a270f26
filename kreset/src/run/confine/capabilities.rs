//! Drops capabilities.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// Drops every capability of this thread, except `CAP_BPF` if `works` fails without
/// it: reading a map needs it if `kernel.unprivileged_bpf_disabled` is
/// set, up to Linux 5.18 (kernel: `__sys_bpf`; since 5.19 a descriptor is
/// enough). Before 5.8 that was `CAP_SYS_ADMIN`.
pub(super) fn drop_unused(works: impl Fn() -> bool) -> io::Result<()> {
    let held = capabilities(None)?;
    // Without CAP_SETPCAP the bounding set stays as it is: no_new_privs makes it
    // irrelevant.
    for capability in CapabilitySet::all() {
        let _not_permitted = remove_capability_from_bounding_set(capability);
    }
    // None before 4.3.
    let _absent = clear_ambient_capability_set();
    let needed = [
        CapabilitySet::empty(),
        CapabilitySet::BPF,
        CapabilitySet::SYS_ADMIN,
    ]
    .into_iter()
    .find(|needed| {
        let kept = held.permitted.intersection(*needed);
        kept == *needed
            && set_capabilities(
                None,
                CapabilitySets {
                    effective: kept,
                    ..held
                },
            )
            .is_ok()
            && works()
    });
    // Whatever fails, it is not for want of another one: none stays.
    let kept = needed.ok_or_else(|| {
        let expected = "the BPF counters cannot be read with CAP_BPF or CAP_SYS_ADMIN";
        io::Error::new(io::ErrorKind::PermissionDenied, expected)
    })?;
    let wanted = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, wanted)?;
    let left = capabilities(None)?;
    if !kept.contains(left.effective.union(left.permitted).union(left.inheritable)) {
        return Err(io::Error::other("the kernel kept some"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Capabilities are a thread's own: the test's other threads keep theirs.
    #[test]
    fn nothing_is_kept_that_is_not_used() {
        let held = thread::spawn(|| {
            drop_unused(|| true).unwrap();
            capabilities(None).unwrap()
        });
        let held = held.join().unwrap();
        assert!(held.effective.is_empty() && held.permitted.is_empty());
        assert!(held.inheritable.is_empty());
    }

    #[test]
    fn what_fails_with_every_capability_keeps_none_and_is_an_error() {
        let outcome = thread::spawn(|| drop_unused(|| false)).join().unwrap();
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn what_is_used_is_kept_and_nothing_more() {
        if !capabilities(None)
            .unwrap()
            .permitted
            .contains(CapabilitySet::BPF)
        {
            // Without the capability this is the test above.
            return;
        }
        let held = thread::spawn(|| {
            let has_bpf =
                || capabilities(None).is_ok_and(|held| held.effective.contains(CapabilitySet::BPF));
            drop_unused(has_bpf).unwrap();
            capabilities(None).unwrap()
        });
        let held = held.join().unwrap();
        assert_eq!(held.effective, CapabilitySet::BPF);
        assert_eq!(held.permitted, CapabilitySet::BPF);
    }
}
