//! How a run ended, as scripts and service managers see it.

use std::process::ExitCode;

/// The exit codes of kreset. They are part of the command line's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Ended as requested: by a signal, by `--duration` or `--count`, or because
    /// the reader closed the output.
    Done = 0,
    /// Failed while running, such as a full disk under `--output`.
    Failed = 1,
    /// The command line or the configuration is invalid; nothing was started.
    Usage = 2,
    /// It cannot start on this host: a privilege or a kernel feature is missing.
    /// Retrying does not help.
    CannotStart = 3,
    /// A measurement on purpose (`probe`) found something with a timer.
    Found = 4,
}

impl Exit {
    /// Every code, in order.
    pub const ALL: [Self; 5] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::CannotStart,
        Self::Found,
    ];

    /// What it says, in words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => {
                "ended as requested: by a signal, --duration or --count, or because the reader \
                 closed the output"
            }
            Self::Failed => "failed while running, such as a full disk under --output",
            Self::Usage => "invalid command line or configuration; nothing was started",
            Self::CannotStart => {
                "cannot start on this host: a privilege or a kernel feature is missing"
            }
            Self::Found => "probe found something with an idle timer",
        }
    }

    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
