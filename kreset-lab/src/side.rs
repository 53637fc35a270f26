//! The two ends of a connection.

use std::fmt;

/// The port that brokers listen on.
pub const PORT: u16 = 9092;

named_enum! {
    /// One of the two ends of a connection, and the host that it is on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Side {
        /// The end that connects.
        Client = "client",
        /// The end that listens on [`PORT`].
        Broker = "broker",
    }
}

impl Side {
    /// Both, in the order in which they are shown.
    pub const BOTH: [Self; 2] = [Self::Client, Self::Broker];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Broker,
            Self::Broker => Self::Client,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
