//! Memory that a start needs and a run does not.

/// Gives memory that is free in the heap back to the system. Reading the
/// kernel's types takes 17 MB that nothing needs once all is attached.
pub(crate) fn trim() {
    // Other libraries give large blocks back by themselves.
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer and touches free memory alone.
    unsafe {
        libc::malloc_trim(0);
    }
}
