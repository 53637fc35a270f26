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

named_enum! {
    /// How long nothing is said before something happens that no timer stands behind.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Silence all {
        /// Next to none.
        None = "0s",
        /// Less than a second.
        Brief = "below_1s",
        /// Longer than a second.
        Second = "above_1s",
        /// Some seconds.
        Seconds = "some_s",
        /// Longer than ten seconds.
        Long = "above_10s",
    }
}

impl Silence {
    /// Those of a connection in use.
    pub(crate) const BUSY: [Self; 2] = [Self::None, Self::Brief];

    /// Those that are over soon.
    pub(crate) const SHORT: [Self; 3] = [Self::None, Self::Brief, Self::Second];

    /// Whether it is one of [`Self::BUSY`].
    pub(crate) const fn is_busy(self) -> bool {
        matches!(self, Self::None | Self::Brief)
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

named_enum! {
    /// How a broker ends a connection that has not come to be in use, in the shapes that real ones
    /// give it: what was read and what was not, and who ends first, decides what is on the wire.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Ending all {
        /// FIN, and the client answers in kind: no reset at all.
        Fin = "fin",
        /// FIN, and the client does nothing.
        FinAlone = "fin_alone",
        /// FIN, and a while later the client writes.
        LateWrite = "late_write",
        /// FIN, and a close with data unread: RST,ACK.
        FinThenReset = "fin_rst",
        /// The same, after the delay of failed authentications.
        DelayedFinThenReset = "delayed_fin_rst",
    }
}
