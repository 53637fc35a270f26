//! One connection of the ladder and what became of it.

use std::time::Duration;

/// What became of a connection that was silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its use after the silence was answered.
    Alive,
    /// Its use drew a RST.
    ResetOnUse,
    /// A RST came by itself during the silence.
    ResetByItself,
    /// A FIN came during the silence.
    Closed,
    /// Its use was not answered at all, while a new connection was.
    Dropped,
    /// Its use was not answered, and neither was an attempt to connect.
    PathDead,
}

impl Outcome {
    /// Whether the silence killed the connection; `None` where that cannot be said.
    #[must_use]
    pub const fn died(self) -> Option<bool> {
        match self {
            Self::Alive => Some(false),
            Self::ResetOnUse | Self::ResetByItself | Self::Closed | Self::Dropped => Some(true),
            Self::PathDead => None,
        }
    }

    /// For people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::ResetOnUse => "reset when used",
            Self::ResetByItself => "reset by itself",
            Self::Closed => "closed (FIN)",
            Self::Dropped => "no answer",
            Self::PathDead => "no answer, and none to a new connection",
        }
    }

    /// Whether the end came during the silence: the silence is the timer.
    #[must_use]
    pub const fn by_itself(self) -> bool {
        matches!(self, Self::ResetByItself | Self::Closed)
    }
}

/// How long a connection was silent. Both bounds are measured: what a device
/// saw lies between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silence {
    /// From when the last packet was seen to have passed.
    pub least: Duration,
    /// From the earliest moment at which it can have.
    pub most: Duration,
}

/// One connection of the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// In which round, from 1.
    pub round: u8,
    /// Port of this end.
    pub local_port: u16,
    /// How long it was to be silent.
    pub planned: Duration,
    /// How long it was.
    pub silent: Silence,
    /// What became of it.
    pub outcome: Outcome,
    /// From its use to the answer.
    pub answered: Option<Duration>,
    /// Packets came in during the silence, such as keepalives of the broker's
    /// host; the silence counts from the last of them.
    pub disturbed: bool,
}
