//! In which surroundings a case is played: what the kernels and the tracers do otherwise than usual.

use std::time::Duration;

use crate::{Side, driver::Options, error::Result, net::Network};

/// The brokers' `connections.max.idle.ms` where it is the shorter one.
const MAX_IDLE: Duration = Duration::from_secs(3);

/// Where it is the longer one.
const LONGER_MAX_IDLE: Duration = Duration::from_secs(8);

/// How long the broker's kernel keeps the remainder of a closed socket in
/// [`Environment::LongIdle`].
pub(super) const FIN_TIMEOUT: Duration = Duration::from_secs(2);

named_enum! {
    /// The surroundings of a case. Every draw depends on the names, so these stay as they are.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Environment {
        /// Tracers that were there first, showing what an operator sees.
        Usual = "usual",
        /// The same, and the brokers' `connections.max.idle.ms` is longer.
        LongIdle = "patient",
        /// Tracers that begin once the connections are there and silent.
        LateTracers = "late",
        /// Tracers that show routine closes as well.
        ShowAll = "show_all",
        /// The client's kernel gives up after a few retransmissions.
        FewRetries = "gives_up",
        /// Tracers without packet evidence.
        NoPackets = "blind",
        /// Kernels that negotiate no TCP timestamps.
        NoTimestamps = "bare",
        /// Everything as it comes by default, and everything shown: what `run` plays in.
        Default = "default",
    }
}

impl Environment {
    /// Those of the accuracy matrix.
    pub const DRAWN: [Self; 7] = [
        Self::Usual,
        Self::LongIdle,
        Self::LateTracers,
        Self::ShowAll,
        Self::FewRetries,
        Self::NoPackets,
        Self::NoTimestamps,
    ];

    /// The brokers' `connections.max.idle.ms`, which the tracers are given.
    pub(super) const fn max_idle(self) -> Duration {
        match self {
            Self::LongIdle => LONGER_MAX_IDLE,
            Self::Default => Duration::from_mins(10),
            _ => MAX_IDLE,
        }
    }

    /// Whether the tracers show routine closes.
    pub(super) const fn shows_all(self) -> bool {
        matches!(self, Self::ShowAll | Self::Default)
    }

    /// How the tracers are started.
    pub(crate) fn options(self) -> Options {
        let mut options = Options::default();
        if self != Self::Default {
            options = options.broker_max_idle(self.max_idle());
        }
        if !self.shows_all() {
            options = options.without_noise();
        }
        if self == Self::NoPackets {
            options = options.without_packets();
        }
        options
    }

    /// What its kernels do otherwise than others.
    pub(crate) fn apply(self, network: &Network) -> Result<()> {
        match self {
            Self::FewRetries => network
                .host(Side::Client)
                .sysctl(&[("ipv4/tcp_retries2", "3")]),
            Self::LongIdle => {
                let seconds = FIN_TIMEOUT.as_secs().to_string();
                network
                    .host(Side::Broker)
                    .sysctl(&[("ipv4/tcp_fin_timeout", &seconds)])
            }
            Self::NoTimestamps => Side::BOTH
                .into_iter()
                .try_for_each(|side| network.host(side).sysctl(&[("ipv4/tcp_timestamps", "0")])),
            Self::Usual | Self::LateTracers | Self::ShowAll | Self::NoPackets | Self::Default => {
                Ok(())
            }
        }
    }
}
