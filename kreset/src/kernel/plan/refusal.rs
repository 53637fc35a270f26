//! Why kreset does not start: each in one sentence that says what to do.

use super::{Degradation, PacketChoice, PacketEvidence};
use crate::kernel::{facts::NoTypes, feature::Feature, offsets::OffsetError};

/// Why a feature of packets is off where the user turned packet evidence off.
pub const TURNED_OFF: &str = "--packet-evidence off turns it off";

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// BPF ignores the capabilities of a user namespace.
    #[error(
        "BPF is not available in a user namespace, whatever its capabilities: \
         run it as root on the host"
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
        "kernel type information (BTF) is required, but {0}: \
         use a kernel built with CONFIG_DEBUG_INFO_BTF=y"
    )]
    NoTypes(NoTypes),
    /// The length of a jiffy is unknown, and with it all times of a socket.
    #[error(
        "cannot determine this kernel's tick length (HZ): \
         use a kernel whose coarse clocks advance with the tick"
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
        "tracepoint {name} has {found} arguments, expected {known}: \
         use a kreset-trace built for this kernel"
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
    #[error("required kernel field not usable: {0}: use a kreset-trace built for this kernel")]
    Offsets(OffsetError),
    /// A map type or helper that kreset cannot work without.
    #[error("a required BPF feature is missing, since {reason}: use Linux 5.10 or newer")]
    CannotLoad {
        /// A clause that can follow "since".
        reason: String,
    },
    /// BPF is denied to a process that has the capabilities.
    #[error("BPF is denied here although the capabilities are there, since {reason}: {remedy}")]
    Denied {
        /// A clause that can follow "since".
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The source of packet evidence that was asked for does not work.
    #[error("packet evidence from {asked} is not available here, since {reason}: {remedy}")]
    PacketEvidence {
        /// The source asked for.
        asked: PacketEvidence,
        /// A clause that can follow "since".
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// A required feature does not work.
    #[error("{feature} is required but not available here, since {reason}: {remedy}")]
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
                remedy: "remove one of the two options".to_owned(),
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
