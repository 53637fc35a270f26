//! What a user asks of the kernel side.

use std::{num::NonZeroU32, str::FromStr, time::Duration};

use crate::{kernel::feature::Feature, util::named::named};

/// The options of one run that the kernel side depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `--packet-evidence`.
    pub packet_evidence: PacketChoice,
    /// `--require`: features without which not to start.
    pub require: Vec<Feature>,
    /// Inode number of the only network namespace to trace (`--netns`).
    pub netns: Option<u32>,
    /// Silences at least this long are reported when a path survives them.
    pub silence: Duration,
    /// Log each decision of the kernel side.
    pub debug: bool,
    /// Sockets that are tracked at once, at most.
    pub max_connections: NonZeroU32,
}

/// Sockets that are tracked at once, unless told otherwise. With 721 bytes each, they take
/// 144 MB.
pub const MAX_CONNECTIONS: NonZeroU32 = NonZeroU32::new(200_000).unwrap();

impl Default for Request {
    fn default() -> Self {
        Self {
            packet_evidence: PacketChoice::Auto,
            require: Vec::new(),
            netns: None,
            // A connection reports a survived silence only when it is a quarter
            // longer than the last, so a consumer with heartbeats every 3 s
            // reports at most eight times in its life.
            silence: Duration::from_millis(500),
            debug: false,
            max_connections: MAX_CONNECTIONS,
        }
    }
}

named! {
    /// A source of packet evidence.
    PacketEvidence,
    /// The name on the command line and in `start`.
    name {
        /// Function entries that see the RST and the handshake: no cost per
        /// packet, and no first bytes or survived silences.
        Fentry = "fentry",
        /// Packet programs on a control group.
        CgroupSkb = "cgroup_skb",
        /// None: verdicts rest on the sockets alone.
        Off = "off",
    }
}

/// What was asked of packet evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PacketChoice {
    /// The best source that works here.
    #[default]
    Auto,
    /// This one or nothing.
    Exactly(PacketEvidence),
}

/// A name that is not a source of packet evidence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown packet evidence {name:?}; expected one of auto, {}", names())]
pub struct UnknownSource {
    name: String,
}

fn names() -> String {
    let names: Vec<_> = PacketEvidence::ALL
        .iter()
        .map(|source| source.name())
        .collect();
    names.join(", ")
}

impl FromStr for PacketChoice {
    type Err = UnknownSource;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name == "auto" {
            return Ok(Self::Auto);
        }
        PacketEvidence::ALL
            .iter()
            .find(|source| source.name() == name)
            .map(|source| Self::Exactly(*source))
            .ok_or_else(|| UnknownSource {
                name: name.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_back_and_others_are_named() {
        assert_eq!("auto".parse(), Ok(PacketChoice::Auto));
        for source in PacketEvidence::ALL {
            assert_eq!(source.name().parse(), Ok(PacketChoice::Exactly(*source)));
        }
        assert_eq!(
            "tcpdump".parse::<PacketChoice>().unwrap_err().to_string(),
            "unknown packet evidence \"tcpdump\"; expected one of auto, fentry, cgroup_skb, off"
        );
    }
}
