//! What kreset can do on a good kernel, each by a name of its own.

use std::str::FromStr;

use crate::util::named::named;

named! {
    /// Something that a kernel or a privilege may not allow and that kreset
    /// can work without: it then judges with less, and says so. In the order in which people
    /// read them.
    Feature,
    /// The name on the command line (`--require`) and in `start`.
    name {
        /// TTLs, RST headers and first bytes, from the packets themselves.
        PacketEvidence = "packet-evidence",
        /// The first bytes each way, and the API key of the last request.
        FirstBytes = "first-bytes",
        /// The silences that a connection came through, which bound the timer of
        /// whatever stands on its path.
        SurvivedSilences = "survived-silences",
        /// Which received packets the kernel accepted: others may be forged.
        AcceptedPackets = "accepted-packets",
        /// Idle time before the packet that drew a RST, and the delay to the RST.
        Idle = "idle",
        /// Whether a RST carried TCP timestamps, and whether they were negotiated.
        ResetTimestamps = "reset-timestamps",
        /// The kernel's own reason for a RST that this host sent.
        ResetReason = "reset-reason",
        /// RSTs that this host sent.
        SentResets = "sent-resets",
        /// RSTs that this host sent without a socket: closed ports, lost state.
        Socketless = "socketless",
        /// The process that owns a connection.
        Owner = "owner",
        /// Whether a connection was closed by the end of its process.
        ProcessExit = "process-exit",
        /// How the process of a listener ended: its exit code, its signal.
        ProcessEnd = "process-end",
        /// Who sent that process a signal that ends it or stops it.
        Signals = "signals",
        /// Whether the out-of-memory killer ended it.
        OutOfMemory = "out-of-memory",
        /// Connections that are older than the tracer.
        Seeding = "seeding",
        /// Memory kept in the socket itself, inherited by accepted connections.
        SocketStorage = "socket-storage",
        /// The control group, and so the container, of a connection.
        Cgroup = "cgroup",
        /// Distinguishing keepalive probes from data.
        Keepalive = "keepalive",
        /// Retransmissions.
        Retransmits = "retransmits",
        /// Connections that ended in silence (`ETIMEDOUT`).
        Timeouts = "timeouts",
        /// Ends that no program saw, found when the socket is freed.
        UnobservedEnds = "unobserved-ends",
        /// How busy the broker was: its accept queue, its windows, the pressure on its processor,
        /// memory and disks.
        Load = "load",
        /// Bytes and segments each way.
        Bytes = "bytes",
        /// Round-trip times.
        Rtt = "rtt",
    }
}

impl Feature {
    /// It is there only while packets are watched.
    #[must_use]
    pub const fn is_of_packets(self) -> bool {
        matches!(
            self,
            Self::PacketEvidence | Self::FirstBytes | Self::SurvivedSilences
        )
    }
}

/// A name that is not a [`Feature`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown feature {name:?}; expected one of {}", names())]
pub struct UnknownFeature {
    name: String,
}

fn names() -> String {
    Feature::ALL
        .iter()
        .map(|feature| feature.name())
        .collect::<Vec<_>>()
        .join(", ")
}

impl FromStr for Feature {
    type Err = UnknownFeature;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|feature| feature.name() == name)
            .ok_or_else(|| UnknownFeature {
                name: name.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::Feature;

    #[test]
    fn every_name_reads_back() {
        for feature in Feature::ALL {
            assert_eq!(feature.name().parse(), Ok(*feature));
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        let sentence = "idel".parse::<Feature>().unwrap_err().to_string();
        assert!(sentence.starts_with(
            "unknown feature \"idel\"; expected one of packet-evidence, first-bytes,"
        ));
        assert!(
            Feature::ALL
                .iter()
                .all(|feature| sentence.contains(feature.name()))
        );
    }
}
