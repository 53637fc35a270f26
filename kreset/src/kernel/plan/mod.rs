//! Decides what to load, from facts alone: no system call is made here, so
//! that every kernel can be tried on any machine.
//!
//! Where a load or an attachment fails against expectation, write that into
//! the facts and plan again: what depends on it then degrades like anything
//! else that a kernel does not offer.

mod degradation;
#[cfg(test)]
mod kernels;
mod refusal;
mod request;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use kreset_common::{
    offsets::Offsets,
    settings::{PORT_RANGES, PortRange, Settings, UNANSWERED_MS},
    settled::BUSY_MS,
};

pub use self::{
    degradation::Degradation,
    refusal::{Refusal, TURNED_OFF},
    request::{MAX_CONNECTIONS, PacketChoice, PacketEvidence, Request, UnknownSource},
};
use super::{
    facts::{Availability, KernelFacts, Types},
    offsets::Resolved,
    programs::{DESTROY_SOCK, Hook, PROGRAMS, Program, RECEIVE_RESET, SET_STATE},
};
use crate::util::ports::PortSet;

/// What to load, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The programs, in the order in which they are attached.
    pub programs: Vec<&'static Program>,
    /// Constants of the kernel side.
    pub settings: Settings,
    /// Connections remembered where sockets cannot hold memory themselves; the
    /// least recently used goes first.
    pub table: u32,
    /// Fields of kernel structures, for the kernel side.
    pub offsets: Offsets,
    /// Where packet evidence comes from.
    pub packet_evidence: PacketEvidence,
    /// The control group to attach packet programs to, if there are any.
    pub cgroup: Option<PathBuf>,
    /// The hierarchy in which ids of control groups are looked up, wherever packet evidence comes
    /// from.
    pub hierarchy: Option<PathBuf>,
    /// Jiffies per second, for the decoder.
    pub hz: u32,
    /// Names of the kernel's reasons for a reset, for the decoder.
    pub reset_reasons: BTreeMap<u32, String>,
    /// What works less well than it could. A feature is there once for each
    /// thing in its way.
    pub degradations: Vec<Degradation>,
}

impl Plan {
    /// Sets the traced ports, if a few ranges hold them all. Otherwise the bitmap has to.
    pub fn set_port_ranges(&mut self, ports: &PortSet) {
        let mut ranges = [PortRange::default(); PORT_RANGES];
        let mut count = 0;
        for range in ports.ranges() {
            let Some(slot) = ranges.get_mut(count) else {
                return;
            };
            *slot = PortRange {
                first: (*range.start()).into(),
                more: u32::from(range.end() - range.start()),
            };
            count += 1;
        }
        self.settings.port_range_count = u32::try_from(count).unwrap_or(0);
        self.settings.port_ranges = ranges;
    }
}

/// [`Plan::table`].
const TABLE: u32 = 65_536;

/// Plans for a kernel what a user asked for.
///
/// # Errors
///
/// Where kreset cannot run at all, where packet evidence was asked for by a
/// name that does not work here, and where a feature was required that does
/// not.
pub fn plan(facts: &KernelFacts, request: &Request) -> Result<Plan, Refusal> {
    let Basis {
        types,
        resolved,
        hz,
    } = basis(facts)?;
    let packets = packets(facts, request.packet_evidence)?;
    let mut degradations = degradation::of_kernel(facts, types, resolved);
    match &packets {
        Source::CgroupSkb(_, found) | Source::Fentry(found) | Source::Nothing(found) => {
            degradations.extend(found.iter().cloned());
        }
        Source::Off => {}
    }
    refusal::check_required(&request.require, &degradations, request.packet_evidence)?;

    let (packet_evidence, cgroup) = match packets {
        Source::CgroupSkb(cgroup, _) => (PacketEvidence::CgroupSkb, Some(cgroup)),
        Source::Fentry(_) => (PacketEvidence::Fentry, None),
        Source::Nothing(_) | Source::Off => (PacketEvidence::Off, None),
    };
    Ok(Plan {
        programs: programs(facts, types, packet_evidence),
        settings: Settings {
            netns: request.netns.unwrap_or(0),
            probe_read: degradation::probe_read(facts).is_ok().into(),
            packets: cgroup.is_some().into(),
            debug: request.debug.into(),
            hash_storage: (!types.storage_in_tracing).into(),
            silence_jiffies: jiffies(request.silence, hz),
            task_btf: types.task_in_tracing.into(),
            fentry: (packet_evidence == PacketEvidence::Fentry).into(),
            busy_jiffies: BUSY_MS.saturating_mul(hz) / 1_000,
            unanswered_jiffies: UNANSWERED_MS.saturating_mul(hz) / 1_000,
            // Where no program sees a socket freed, those that are cannot be subtracted.
            max_connections: if types.fits(&DESTROY_SOCK) {
                request.max_connections.get()
            } else {
                u32::MAX
            },
            ..Settings::default()
        },
        table: TABLE.min(request.max_connections.get()),
        offsets: resolved.offsets,
        packet_evidence,
        cgroup,
        hierarchy: facts.cgroup.as_ref().map(|mount| mount.path.clone()),
        hz,
        reset_reasons: types.reset_reasons.clone(),
        degradations,
    })
}

/// What every plan rests on.
struct Basis<'facts> {
    types: &'facts Types,
    resolved: &'facts Resolved,
    hz: u32,
}

/// Checks what kreset cannot do without, in the order in which a user can do
/// something about it.
fn basis(facts: &KernelFacts) -> Result<Basis<'_>, Refusal> {
    if facts.privileges.user_namespace {
        return Err(Refusal::UserNamespace);
    }
    if !facts.privileges.capabilities.can_trace() {
        return Err(Refusal::Privileges);
    }
    let types = facts
        .types
        .as_ref()
        .map_err(|why| Refusal::NoTypes(why.clone()))?;
    let hz = facts.hz.ok_or(Refusal::NoJiffies)?;
    for (name, known) in [RECEIVE_RESET, SET_STATE]
        .iter()
        .filter_map(|program| program.hook.target())
    {
        match types.arguments.get(name).copied() {
            None => return Err(Refusal::NoTracepoint { name }),
            Some(found) if found != known => {
                return Err(Refusal::OtherTracepoint { name, found, known });
            }
            Some(_) => {}
        }
    }
    let resolved = types
        .offsets
        .as_ref()
        .map_err(|error| Refusal::Offsets(error.clone()))?;
    for needed in [&facts.loads.ring_buffer, &facts.loads.jiffies] {
        let Some(reason) = needed.obstacle() else {
            continue;
        };
        let reason = reason.to_owned();
        return Err(match needed {
            Availability::Denied(_) => Refusal::Denied {
                reason,
                remedy: degradation::allow_bpf(facts),
            },
            _ => Refusal::CannotLoad { reason },
        });
    }
    Ok(Basis {
        types,
        resolved,
        hz,
    })
}

/// Where packets can be watched.
enum Source {
    /// At a control group, with what it does not see where that is not the root of all.
    CgroupSkb(PathBuf, Vec<Degradation>),
    /// With what it cannot see.
    Fentry(Vec<Degradation>),
    /// Nowhere, against the request; with every feature that is missing for it.
    Nothing(Vec<Degradation>),
    /// Not wanted.
    Off,
}

/// Picks the source of packet evidence: the one named, or of those
/// that work the one that sees most.
///
/// Function entries cost nothing per packet, but see neither the first bytes of
/// a connection nor the silences that it came through; without these, the
/// causes of a failed handshake are one, and timers are bounded from above
/// only. So packet programs go before them.
fn packets(facts: &KernelFacts, choice: PacketChoice) -> Result<Source, Refusal> {
    let whole =
        || degradation::all_packets(facts).map(|cgroup| Source::CgroupSkb(cgroup, Vec::new()));
    // Better than nothing: the packets of this container alone.
    let part = |blocked: &Degradation| {
        degradation::packets_of_mount(facts)
            .map(|mount| Source::CgroupSkb(mount.path.clone(), degradation::of_no_packets(blocked)))
    };
    let fentry = |why: &str, remedy: &str| {
        degradation::function_entries(facts)
            .map(|()| Source::Fentry(degradation::of_fentry(why, remedy)))
    };
    let asked = match choice {
        PacketChoice::Auto => {
            return Ok(whole().unwrap_or_else(|blocked| {
                fentry(&blocked.reason, &blocked.remedy)
                    .or_else(|_| part(&blocked))
                    .unwrap_or_else(|_| Source::Nothing(degradation::of_no_packets(&blocked)))
            }));
        }
        PacketChoice::Exactly(asked) => asked,
    };
    let found = match asked {
        PacketEvidence::Off => Ok(Source::Off),
        PacketEvidence::CgroupSkb => whole().or_else(|blocked| part(&blocked)),
        PacketEvidence::Fentry => fentry(
            "--packet-evidence fentry was asked for",
            "use --packet-evidence cgroup_skb where it works",
        ),
    };
    found.map_err(|blocked| Refusal::PacketEvidence {
        asked,
        reason: blocked.reason,
        remedy: blocked.remedy,
    })
}

fn programs(facts: &KernelFacts, types: &Types, packets: PacketEvidence) -> Vec<&'static Program> {
    let seeder = degradation::seeder(facts, types).ok();
    PROGRAMS
        .into_iter()
        .filter(|program| match program.hook {
            Hook::Tracepoint { .. } => {
                types.fits(program) && !facts.loads.refused.contains_key(program.name)
            }
            Hook::FunctionEntry { .. } => packets == PacketEvidence::Fentry,
            Hook::Packets(_) => packets == PacketEvidence::CgroupSkb,
            Hook::OpenFiles => seeder == Some(*program),
        })
        .collect()
}

/// The first whole number of jiffies that is no shorter than `duration`.
fn jiffies(duration: Duration, hz: u32) -> u32 {
    let jiffies = (duration.as_nanos() * u128::from(hz)).div_ceil(1_000_000_000);
    u32::try_from(jiffies).unwrap_or(u32::MAX)
}
