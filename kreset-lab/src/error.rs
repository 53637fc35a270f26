//! What can go wrong in the lab, as opposed to what the tracer can get wrong.
//!
//! A verdict that differs from the truth is a result, not an error: see the judge.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

/// Shorthand for results of the lab.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the lab could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process may not create network namespaces.
    #[error("kreset-lab builds network namespaces and so must run as root: start it with sudo")]
    NotRoot,
    /// A program that the lab calls is not installed.
    #[error("`{program}` was not found: install the Debian package `{package}`")]
    MissingProgram {
        /// The program as it was called.
        program: &'static str,
        /// The Debian package that brings it.
        package: &'static str,
    },
    /// There is no tracer at the path given.
    #[error("no tracer at {}: build it with `cargo xtask build`, or name it with --tracer", .0.display())]
    MissingTracer(PathBuf),
    /// A part of the lab that `cargo xtask setup` does not install unless asked to.
    #[error("{what} is not in {}: install it with `cargo xtask setup --kafka`", .directory.display())]
    MissingKafka {
        /// What is missing.
        what: &'static str,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// A program that should have run on has ended.
    #[error("{program} ended ({status}), its last words: {last}")]
    Ended {
        /// The program, as its log is called.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        last: String,
    },
    /// A device was asked for a timeout that conntrack cannot keep.
    #[error("an idle timeout of {0:?} cannot be set: conntrack counts in whole seconds, from 1")]
    IdleTimeout(Duration),
    /// A program that the lab calls said no.
    #[error("`{command}` failed ({status}): {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to standard error, trimmed.
        stderr: String,
    },
    /// A system call failed.
    #[error("cannot {context}")]
    Io {
        /// What the lab was doing, to be read after "cannot".
        context: String,
        /// The system's answer.
        source: io::Error,
    },
    /// Something that should have happened did not, within its deadline.
    #[error("timed out after {waited:?} while waiting for {what}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
    },
    /// The network did something else than the scenario is about, so nothing can be judged.
    #[error("the scenario went wrong before the tracer could be judged: {0}")]
    Staging(String),
    /// A tracer ended, or never began, in a way that leaves nothing to judge.
    #[error("kreset-trace on {host} {what}; standard error: {stderr}")]
    Tracer {
        /// Where it watched.
        host: String,
        /// What it did.
        what: String,
        /// How it ended, if it has.
        status: Option<ExitStatus>,
        /// What it wrote to standard error, trimmed.
        stderr: String,
    },
    /// The user asked the lab to stop.
    #[error("stopped on request")]
    Stopped,
}

impl Error {
    /// Whether the machine, rather than the lab or the tracer, is the reason: nothing can be run
    /// here until that is changed.
    pub const fn cannot_run_here(&self) -> bool {
        matches!(
            self,
            Self::NotRoot
                | Self::MissingProgram { .. }
                | Self::MissingTracer(_)
                | Self::MissingKafka { .. }
        )
    }
}

/// Adds to an I/O error what the lab was doing.
pub(crate) trait Context<T> {
    /// `context` is read after "cannot".
    fn context(self, context: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, context: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Io {
            context: context(),
            source: error.into(),
        })
    }
}
