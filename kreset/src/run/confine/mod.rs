//! Least privilege, once everything is attached: what this process cannot do
//! any more, nobody can make it do.
//!
//! Three steps, each of which takes away something that the next one need not:
//! no program that this one executes gains rights, no capability is kept that
//! is not used, and no system call works that the event loop does not make.
//! All three are the calling thread's, and those of threads that it starts
//! later: call [`confine`] before there are any.

mod capabilities;
mod syscalls;

use std::io;

use thiserror::Error;

pub use self::syscalls::Needs;

/// Why a step did not succeed.
#[derive(Debug, Error)]
pub enum ConfineError {
    /// prctl(2) with `PR_SET_NO_NEW_PRIVS`.
    #[error("cannot give up new privileges: {0}")]
    NoNewPrivileges(#[source] io::Error),
    /// capset(2).
    #[error("cannot give up capabilities: {0}")]
    Capabilities(#[source] io::Error),
    /// The filter of system calls is not accepted.
    #[error("cannot filter system calls: {0}")]
    Filter(#[from] seccompiler::Error),
    /// The filter cannot be made from its rules.
    #[error("cannot make the filter of system calls: {0}")]
    Rules(#[from] seccompiler::BackendError),
}

/// Takes away all that is not needed; `needs` is what the sinks take beside
/// the event loop, and `works` tells whether everything still works.
///
/// Capabilities are taken away first on trial: if `works` fails then, those
/// that it may need are kept.
///
/// # Errors
///
/// If a step is refused. The steps before it stay taken.
pub fn confine(needs: Needs, works: impl Fn() -> bool) -> Result<(), ConfineError> {
    rustix::thread::set_no_new_privs(true)
        .map_err(|error| ConfineError::NoNewPrivileges(error.into()))?;
    capabilities::give_up(works).map_err(ConfineError::Capabilities)?;
    syscalls::filter(needs)
}
