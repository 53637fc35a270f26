//! Least privilege, once everything is attached: an attacker who controls this
//! process can do only what it still needs to do.
//!
//! Three steps: programs that it executes gain no privileges (`no_new_privs`),
//! capabilities that are not used are dropped, and system calls that the event loop
//! does not make are denied. All three hold for the calling thread and the threads
//! that it starts later: call [`confine`] before there are any.

mod capabilities;
mod syscalls;

use std::io;

use thiserror::Error;

pub use self::syscalls::Needs;

/// Why a step failed.
#[derive(Debug, Error)]
pub enum ConfineError {
    /// prctl(2) with `PR_SET_NO_NEW_PRIVS`.
    #[error("cannot set no_new_privs: {0}")]
    NoNewPrivileges(#[source] io::Error),
    /// capset(2).
    #[error("cannot drop capabilities: {0}")]
    Capabilities(#[source] io::Error),
    /// The kernel does not accept the filter.
    #[error("cannot install the system call filter: {0}")]
    Filter(#[from] seccompiler::Error),
    /// The filter cannot be built from its rules.
    #[error("cannot build the system call filter: {0}")]
    Rules(#[from] seccompiler::BackendError),
}

/// Drops all privileges that are not needed. `needs` are those of the sinks beside
/// the event loop, and `works` checks that everything still works.
///
/// Capabilities are first dropped on trial: if `works` fails then, those that it
/// may need are kept.
///
/// # Errors
///
/// If a step fails. The steps before it remain in effect.
pub fn confine(needs: Needs, works: impl Fn() -> bool) -> Result<(), ConfineError> {
    rustix::thread::set_no_new_privs(true)
        .map_err(|error| ConfineError::NoNewPrivileges(error.into()))?;
    capabilities::drop_unused(works).map_err(ConfineError::Capabilities)?;
    syscalls::filter(needs)
}
