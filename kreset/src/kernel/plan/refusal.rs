//! Why kreset does not start: each in one sentence that says what to do.

use super::{Degradation, PacketChoice, PacketEvidence};
use crate::kernel::{facts::NoTypes, feature::Feature, offsets::OffsetError};

/// Why a feature of packets is not there where none were to be watched.
pub const TURNED_OFF: &str = "--packet-evidence off turns it off";

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Capabilities of a user namespace are none to BPF.
    #[error(
        "inside a user namespace no capability counts for BPF: \
         run it as root of the host"
    )]
    UserNamespace,
    /// Not privileged.
    #[error(
        "CAP_BPF and CAP_PERFMON are missing: \
         run it as root, or give the program or its container these and CAP_NET_ADMIN"
    )]
    Privileges,
    /// No BTF, or none that can be read.
    #[error(
        "the kernel's description of its types is needed, and {0}: \
         use a kernel built with CONFIG_DEBUG_INFO_BTF=y"
    )]
    NoTypes(NoTypes),
    /// The length of a jiffy is unknown, and with it all times of a socket.
    #[error(
        "nothing tells how long a jiffy of this kernel is: \
         use one whose coarse clocks advance with the tick"
    )]
    NoJiffies,
    /// A tracepoint is missing.
    #[error("this kernel has no tracepoint {name}: use Linux 5.10 or newer")]
    NoTracepoint {
        /// Its name.
        name: &'static str,
    },
    /// A tracepoint has other arguments than any known kernel.
    #[error(
        "tracepoint {name} has {found} arguments here rather than {known}: \
         use a kreset-trace that is made for this kernel"
    )]
    OtherTracepoint {
        /// Its name.
        name: &'static str,
        /// Arguments it has.
        found: u32,
        /// Arguments it should have.
        known: u32,
    },
    /// A kernel structure is not as it should be.
    #[error("{0}, but all depends on it: use a kreset-trace that is made for this kernel")]
    Offsets(OffsetError),
    /// A map type or helper without which nothing works.
    #[error("nothing works without this, and {reason}: use Linux 5.10 or newer")]
    CannotLoad {
        /// A clause that can follow "since".
        reason: String,
    },
    /// The source of packet evidence that was asked for does not work.
    #[error("packet evidence from {asked} does not work here, since {reason}: {remedy}")]
    PacketEvidence {
        /// The source asked for.
        asked: PacketEvidence,
        /// A clause that can follow "since".
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// A required feature does not work.
    #[error("{feature} is required and does not work here, since {reason}: {remedy}")]
    Required {
        /// The feature.
        feature: Feature,
        /// A clause that can follow "since".
        reason: String,
        /// What to do.
        remedy: String,
    },
}

/// Refuses the first required feature that is degraded or turned off.
pub(super) fn check_required(
    required: &[Feature],
    degradations: &[Degradation],
    packets: PacketChoice,
) -> Result<(), Refusal> {
    let is_off = packets == PacketChoice::Exactly(PacketEvidence::Off);
    for feature in required {
        if is_off && feature.is_of_packets() {
            return Err(Refusal::Required {
                feature: *feature,
                reason: TURNED_OFF.to_owned(),
                remedy: "leave one of the two options out".to_owned(),
            });
        }
        if let Some(found) = degradations.iter().find(|found| found.feature == *feature) {
            return Err(Refusal::Required {
                feature: *feature,
                reason: found.reason.clone(),
                remedy: found.remedy.clone(),
            });
        }
    }
    Ok(())
}
