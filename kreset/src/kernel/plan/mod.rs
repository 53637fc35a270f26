//! Decides what to load, from facts alone: no system call is made here, so
//! that every kernel can be tried on any machine.
//!
//! Where a load or an attachment fails against expectation, write that into
//! the facts and plan again: what depends on it then degrades like anything
//! else that a kernel does not offer.

mod degradation;
mod refusal;
mod request;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use kreset_common::{offsets::Offsets, settings::Settings};

pub use self::{
    degradation::Degradation,
    refusal::{Refusal, TURNED_OFF},
    request::{PacketChoice, PacketEvidence, Request, UnknownSource},
};
use super::{
    facts::{Availability, KernelFacts, Types},
    offsets::Resolved,
};

/// A program of the kernel side, by the name that it has in the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// BTF tracepoint `tcp_receive_reset`.
    ReceiveReset,
    /// The same again, for tasks that find the first one running.
    ReceiveResetAgain,
    /// BTF tracepoint `tcp_send_reset` with 2 arguments, up to 6.9.
    SendReset,
    /// The same again, for tasks that find the first one running.
    SendAgain,
    /// BTF tracepoint `tcp_send_reset` with 3 arguments, since 6.10.
    SendResetReason,
    /// The same again, for tasks that find the first one running.
    SendAgainReason,
    /// BTF tracepoint `inet_sock_set_state`.
    SetState,
    /// The same again, for tasks that find the first one running.
    SetStateAgain,
    /// `cgroup_skb/ingress`.
    PacketsIn,
    /// `cgroup_skb/egress`.
    PacketsOut,
    /// `fentry/tcp_reset`.
    ResetEnters,
    /// `fentry/tcp_finish_connect`.
    ConnectEnds,
    /// `fentry/tcp_child_process`.
    AcceptEnds,
    /// `iter/task_file`.
    Seed,
    /// The same where programs cannot tell a file's socket, up to 5.10.
    SeedByProbe,
}

impl Program {
    /// Name of its function.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReceiveReset => "receive_reset",
            Self::ReceiveResetAgain => "receive_reset_again",
            Self::SendReset => "send_reset",
            Self::SendAgain => "send_again",
            Self::SendResetReason => "send_reset_reason",
            Self::SendAgainReason => "send_again_reason",
            Self::SetState => "set_state",
            Self::SetStateAgain => "set_state_again",
            Self::PacketsIn => "packets_in",
            Self::PacketsOut => "packets_out",
            Self::ResetEnters => "reset_enters",
            Self::ConnectEnds => "connect_ends",
            Self::AcceptEnds => "accept_ends",
            Self::Seed => "seed",
            Self::SeedByProbe => "seed_by_probe",
        }
    }
}

/// What to load, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The programs, each once.
    pub programs: Vec<Program>,
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
    /// Jiffies per second, for the decoder.
    pub hz: u32,
    /// Names of the kernel's reasons for a reset, for the decoder.
    pub reset_reasons: BTreeMap<u32, String>,
    /// What works less well than it could. A feature is there once for each
    /// thing in its way.
    pub degradations: Vec<Degradation>,
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
        Source::Nothing(found) | Source::Fentry(found) => {
            degradations.extend(found.iter().cloned());
        }
        Source::CgroupSkb(_) | Source::Off => {}
    }
    refusal::check_required(&request.require, &degradations, request.packet_evidence)?;

    let (packet_evidence, cgroup) = match packets {
        Source::CgroupSkb(cgroup) => (PacketEvidence::CgroupSkb, Some(cgroup)),
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
        },
        table: TABLE,
        offsets: resolved.offsets,
        packet_evidence,
        cgroup,
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
    for (name, found, known) in [
        ("tcp_receive_reset", types.receive_reset, 1),
        ("inet_sock_set_state", types.set_state, 3),
    ] {
        match found {
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
        if let Availability::No(reason) | Availability::Failed(reason) = needed {
            return Err(Refusal::CannotLoad {
                reason: reason.clone(),
            });
        }
    }
    Ok(Basis {
        types,
        resolved,
        hz,
    })
}

/// Where packets can be watched.
enum Source {
    CgroupSkb(PathBuf),
    /// With what it cannot see.
    Fentry(Vec<Degradation>),
    /// Nowhere, although it was asked for; with all that is not seen therefore.
    Nothing(Vec<Degradation>),
    /// Not wanted.
    Off,
}

/// Picks the source of packet evidence: the one named, or the one that tells
/// most of those that work.
///
/// Function entries cost nothing per packet, but see neither the first bytes of
/// a connection nor the silences that it came through; without these, the
/// causes of a failed handshake are one, and timers are bounded from above
/// only. So packet programs go before them.
fn packets(facts: &KernelFacts, choice: PacketChoice) -> Result<Source, Refusal> {
    let cgroup = || degradation::cgroup_packets(facts);
    let fentry = |why: &str| {
        degradation::function_entries(facts).map(|()| Source::Fentry(degradation::of_fentry(why)))
    };
    let asked = match choice {
        PacketChoice::Auto => {
            return Ok(cgroup().map_or_else(
                |blocked| {
                    fentry(&blocked.reason)
                        .unwrap_or_else(|_| Source::Nothing(degradation::of_no_packets(&blocked)))
                },
                Source::CgroupSkb,
            ));
        }
        PacketChoice::Exactly(asked) => asked,
    };
    let found = match asked {
        PacketEvidence::Off => Ok(Source::Off),
        PacketEvidence::CgroupSkb => cgroup().map(Source::CgroupSkb),
        PacketEvidence::Fentry => fentry("--packet-evidence fentry was asked for"),
    };
    found.map_err(|blocked| Refusal::PacketEvidence {
        asked,
        reason: blocked.reason,
        remedy: blocked.remedy,
    })
}

fn programs(facts: &KernelFacts, types: &Types, packets: PacketEvidence) -> Vec<Program> {
    let mut programs = vec![
        Program::ReceiveReset,
        Program::ReceiveResetAgain,
        Program::SetState,
        Program::SetStateAgain,
    ];
    match types.send_reset {
        Some(2) => programs.extend([Program::SendReset, Program::SendAgain]),
        Some(3) => programs.extend([Program::SendResetReason, Program::SendAgainReason]),
        _ => {}
    }
    match packets {
        PacketEvidence::CgroupSkb => programs.extend([Program::PacketsIn, Program::PacketsOut]),
        PacketEvidence::Fentry => {
            programs.extend([
                Program::ResetEnters,
                Program::ConnectEnds,
                Program::AcceptEnds,
            ]);
        }
        PacketEvidence::Off => {}
    }
    programs.extend(degradation::seeder(facts, types).ok());
    programs
}

/// The first whole number of jiffies that is no shorter than `duration`.
fn jiffies(duration: Duration, hz: u32) -> u32 {
    let jiffies = (duration.as_nanos() * u128::from(hz)).div_ceil(1_000_000_000);
    u32::try_from(jiffies).unwrap_or(u32::MAX)
}
