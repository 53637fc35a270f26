//! What cases are played with.

use std::time::Duration;

use super::{draw::Draw, traffic::Shape};
use crate::device::Ttl;

/// What a case can be played with; which of it means something is up to the act.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameters {
    /// Which of the devices' idle timers.
    pub(crate) timer: usize,
    /// The traffic before the end.
    pub(crate) shape: Shape,
    /// The silence before the end, where no timer decides.
    pub(crate) silence: Silence,
    /// How far away a device's resets come from.
    pub(crate) ttl: Ttl,
    /// How late one end does what the other one did not wait for.
    pub(crate) late: Late,
    /// How a broker ends a connection that is not in use yet.
    pub(crate) ending: Ending,
}

/// How long nothing is said before something happens that no timer stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Next to none.
    None,
    /// Less than a second.
    Brief,
    /// Longer than a second.
    Second,
    /// Some seconds.
    Seconds,
    /// Longer than ten seconds.
    Long,
}

impl Silence {
    pub(crate) const ALL: [Self; 5] = [
        Self::None,
        Self::Brief,
        Self::Second,
        Self::Seconds,
        Self::Long,
    ];

    /// Those of a connection in use.
    pub(crate) const BUSY: [Self; 2] = [Self::None, Self::Brief];

    /// Those that are over soon.
    pub(crate) const SHORT: [Self; 3] = [Self::None, Self::Brief, Self::Second];

    /// Whether it is one of [`Self::BUSY`].
    pub(crate) const fn is_busy(self) -> bool {
        matches!(self, Self::None | Self::Brief)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "0s",
            Self::Brief => "below_1s",
            Self::Second => "above_1s",
            Self::Seconds => "some_s",
            Self::Long => "above_10s",
        }
    }

    pub(super) fn draw(self, draw: &Draw) -> Duration {
        let (from, to) = match self {
            Self::None => (0, 60),
            Self::Brief => (200, 850),
            Self::Second => (1100, 2000),
            Self::Seconds => (2100, 9000),
            Self::Long => (11_000, 22_000),
        };
        draw.time(from, to)
    }
}

/// A name, and from how many to how many milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late(pub(crate) &'static str, pub(crate) u16, pub(crate) u16);

impl Late {
    pub(crate) fn draw(self, draw: &Draw) -> Duration {
        draw.time(self.1, self.2)
    }
}

/// How a broker ends a connection that has not come to be in use, in the shapes that real ones
/// give it: what was read and what was not, and who ends first, decides what is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// FIN, and the client answers in kind: no reset at all.
    Fin,
    /// FIN, and the client does nothing.
    FinAlone,
    /// FIN, and a while later the client writes.
    LateWrite,
    /// FIN, and a close with data unread: RST,ACK.
    FinThenReset,
    /// The same, after the delay of failed authentications.
    DelayedFinThenReset,
}

impl Ending {
    pub(crate) const ALL: [Self; 5] = [
        Self::Fin,
        Self::FinAlone,
        Self::LateWrite,
        Self::FinThenReset,
        Self::DelayedFinThenReset,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::FinAlone => "fin_alone",
            Self::LateWrite => "late_write",
            Self::FinThenReset => "fin_rst",
            Self::DelayedFinThenReset => "delayed_fin_rst",
        }
    }
}
