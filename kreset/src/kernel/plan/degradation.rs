//! What works less well than it could, why, and what would help.

use std::path::PathBuf;

use crate::kernel::{
    facts::{Availability, CgroupMount, KernelFacts, Lockdown, Types},
    feature::Feature,
    offsets::{Missing, Resolved},
    privilege::Capability,
    programs::{
        ACCEPT_ENDS, CONNECT_ENDS, DESTROY_SOCK, MARK_VICTIM, MARK_VICTIM_TASK, PROCESS_EXIT,
        PROCESS_EXIT_GROUP, Program, RESET_ENTERS, SEED, SEED_BY_PROBE, SIGNAL_GENERATE,
    },
};

/// A feature that a kernel or a privilege does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degradation {
    /// The feature.
    pub feature: Feature,
    /// Why; a clause that can follow "since".
    pub reason: String,
    /// What to do about it; an imperative.
    pub remedy: String,
}

impl Degradation {
    fn new(feature: Feature, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            feature,
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }
}

/// All but packet evidence, in no order that matters.
pub(super) fn of_kernel(
    facts: &KernelFacts,
    types: &Types,
    resolved: &Resolved,
) -> Vec<Degradation> {
    let mut found = sent_resets(types);
    // A tracepoint that reports none of these is one degradation, not two.
    if !found.iter().any(|it| it.feature == Feature::Socketless) {
        found.extend(probe_read(facts).err());
    }
    found.extend(unobserved_ends(types));
    found.extend(processes(facts, types));
    found.extend(storage(types));
    found.extend(tasks(facts, types));
    found.extend(seeder(facts, types).err());
    found.extend(fields(&resolved.missing));
    if !facts.pressure && !found.iter().any(|it| it.feature == Feature::Load) {
        found.push(Degradation::new(
            Feature::Load,
            "the kernel shows no pressure stall information (/proc/pressure)",
            "boot with psi=1",
        ));
    }
    if let Some((reason, remedy)) = no_hierarchy(facts) {
        found.push(Degradation::new(Feature::Cgroup, reason, remedy));
    }
    found
}

/// What `tcp_send_reset` reports, by its number of arguments.
fn sent_resets(types: &Types) -> Vec<Degradation> {
    const REPORTED: [Feature; 3] = [
        Feature::SentResets,
        Feature::ResetReason,
        Feature::Socketless,
    ];
    match types.arguments.get("tcp_send_reset").copied() {
        None => REPORTED
            .map(|feature| {
                let reason = "the kernel has no tracepoint tcp_send_reset";
                Degradation::new(feature, reason, "use Linux 6.10 or newer")
            })
            .into(),
        Some(2) => vec![
            Degradation::new(
                Feature::ResetReason,
                "tcp_send_reset carries no reason before Linux 6.10",
                "use Linux 6.10 or newer",
            ),
            Degradation::new(
                Feature::Socketless,
                "before Linux 6.10 the kernel reports only resets that a socket sent",
                "use Linux 6.10 or newer",
            ),
        ],
        Some(3) if types.reset_reasons.is_empty() => vec![Degradation::new(
            Feature::ResetReason,
            "the kernel's types do not name its reasons, which stay numbers",
            "use a kernel whose BTF has enum sk_rst_reason",
        )],
        Some(3) => Vec::new(),
        Some(other) => REPORTED
            .map(|feature| {
                let reason =
                    format!("tcp_send_reset has {other} arguments, which no known kernel has");
                Degradation::new(feature, reason, "use a kreset-trace built for this kernel")
            })
            .into(),
    }
}

/// Whether packets may be read through `bpf_probe_read_kernel`, as takes a
/// reset without a socket: its addresses are in the packet that drew it.
pub(super) fn probe_read(facts: &KernelFacts) -> Result<(), Degradation> {
    let reason = match (facts.lockdown, &facts.loads.probe_read) {
        (Lockdown::Confidentiality, _) => "lockdown forbids programs to read packets",
        (_, found) => match found.obstacle() {
            Some(reason) => reason,
            None => return Ok(()),
        },
    };
    Err(Degradation::new(
        Feature::Socketless,
        reason,
        "boot without lockdown=confidentiality",
    ))
}

fn unobserved_ends(types: &Types) -> Option<Degradation> {
    (!types.fits(&DESTROY_SOCK)).then(|| {
        Degradation::new(
            Feature::UnobservedEnds,
            "the kernel has no known tracepoint tcp_destroy_sock, \
             so max-connections has no effect either",
            "use a kreset-trace built for this kernel",
        )
    })
}

/// What happens to the owners of listeners: each hook by itself, in whichever form this kernel
/// has it.
fn processes(facts: &KernelFacts, types: &Types) -> Vec<Degradation> {
    const HOOKS: [(Feature, &str, &[&Program]); 3] = [
        (
            Feature::ProcessEnd,
            "sched_process_exit",
            &[&PROCESS_EXIT, &PROCESS_EXIT_GROUP],
        ),
        (Feature::Signals, "signal_generate", &[&SIGNAL_GENERATE]),
        (
            Feature::OutOfMemory,
            "mark_victim",
            &[&MARK_VICTIM, &MARK_VICTIM_TASK],
        ),
    ];
    let of_hook = |(feature, target, programs): (_, _, &[&Program])| {
        let Some(program) = programs.iter().find(|program| types.fits(program)) else {
            return Some(Degradation::new(
                feature,
                format!("the kernel has no known tracepoint {target}"),
                "use a kreset-trace built for this kernel",
            ));
        };
        let reason = facts.loads.refused.get(program.name)?;
        Some(Degradation::new(
            feature,
            reason,
            "report this with the kernel's version, and run without it",
        ))
    };
    HOOKS.into_iter().filter_map(of_hook).collect()
}

fn storage(types: &Types) -> Option<Degradation> {
    (!types.storage_in_tracing).then(|| {
        Degradation::new(
            Feature::SocketStorage,
            "tracing programs cannot use socket storage before Linux 5.11, \
             so a map of limited size is used instead",
            "use Linux 5.11 or newer",
        )
    })
}

/// Whether the running task can be read.
fn tasks(facts: &KernelFacts, types: &Types) -> Vec<Degradation> {
    if types.task_in_tracing || probe_read(facts).is_ok() {
        return Vec::new();
    }
    let why = "programs cannot read the running process before Linux 5.11 \
               or under lockdown";
    let remedy = "boot without lockdown=confidentiality";
    vec![
        Degradation::new(Feature::Owner, why, remedy),
        Degradation::new(Feature::ProcessExit, why, remedy),
    ]
}

/// The program that finds connections older than the tracer.
pub(super) fn seeder(facts: &KernelFacts, types: &Types) -> Result<&'static Program, Degradation> {
    let reason = match &types.sockets_of_files {
        Availability::Yes => return Ok(&SEED),
        Availability::No(_) if types.iterates_files && probe_read(facts).is_ok() => {
            return Ok(&SEED_BY_PROBE);
        }
        Availability::No(reason) | Availability::Denied(reason) | Availability::Failed(reason) => {
            reason
        }
    };
    Err(Degradation::new(
        Feature::Seeding,
        reason,
        "use Linux 5.11 or newer, or start before the connections do",
    ))
}

/// One for each feature that misses fields.
fn fields(missing: &[Missing]) -> Vec<Degradation> {
    Feature::ALL
        .iter()
        .filter_map(|feature| {
            let fields: Vec<_> = missing
                .iter()
                .filter(|missing| missing.feature == *feature)
                .map(|missing| format!("{}.{} ({})", missing.structure, missing.path, missing.why))
                .collect();
            (!fields.is_empty()).then(|| {
                Degradation::new(
                    *feature,
                    format!("the kernel has no usable {}", fields.join(", ")),
                    "use a newer Linux, or a kreset-trace that is made for this kernel",
                )
            })
        })
        .collect()
}

/// The root of all control groups, if packet programs can be attached to it, or what is in the
/// way.
pub(super) fn all_packets(facts: &KernelFacts) -> Result<PathBuf, Degradation> {
    let mount = packets_of_mount(facts)?;
    if let Some((reason, remedy)) = no_hierarchy(facts) {
        return Err(Degradation::new(Feature::PacketEvidence, reason, remedy));
    }
    Ok(mount.path.clone())
}

/// The control group that packet programs can be attached to, which may be that of a container,
/// or what is in the way.
pub(super) fn packets_of_mount(facts: &KernelFacts) -> Result<&CgroupMount, Degradation> {
    let blocked =
        |reason: &str, remedy| Err(Degradation::new(Feature::PacketEvidence, reason, remedy));
    match &facts.loads.packet_programs {
        Availability::Yes => {}
        Availability::No(reason) => {
            return blocked(reason, "use a kernel built with CONFIG_CGROUP_BPF=y");
        }
        Availability::Denied(reason) => return blocked(reason, allow_bpf(facts)),
        Availability::Failed(reason) => {
            return blocked(
                reason,
                "use --packet-evidence fentry or off, and report this with the kernel's version",
            );
        }
    }
    // Asked for at attach: bpf_prog_attach_check_attach_type, 5.10 to 7.3. On
    // some, such as 5.10 and 6.1, CAP_SYS_ADMIN does not stand in for it.
    if !facts.privileges.capabilities.holds(Capability::NetAdmin) {
        return blocked(
            "packet programs take CAP_NET_ADMIN",
            "run with CAP_NET_ADMIN as well",
        );
    }
    facts
        .cgroup
        .as_ref()
        .map_or_else(|| blocked(NO_HIERARCHY.0, NO_HIERARCHY.1), Ok)
}

/// A reason and its remedy.
type Obstacle = (&'static str, &'static str);

const NO_HIERARCHY: Obstacle = (
    "no cgroup v2 hierarchy is mounted",
    "mount one, in a container the host's /sys/fs/cgroup, \
     on a host for example with `mount -t cgroup2 none /sys/fs/cgroup/unified`",
);

const PART_OF_HIERARCHY: Obstacle = (
    "the mounted cgroup v2 hierarchy has the control groups of this container alone",
    "mount the host's /sys/fs/cgroup in the container",
);

/// Why not all control groups of the host can be seen.
const fn no_hierarchy(facts: &KernelFacts) -> Option<Obstacle> {
    match &facts.cgroup {
        None => Some(NO_HIERARCHY),
        Some(mount) if !mount.is_whole => Some(PART_OF_HIERARCHY),
        Some(_) => None,
    }
}

/// What to do where a trial was denied. Only capabilities are seen otherwise, and they are there.
pub(super) const fn allow_bpf(facts: &KernelFacts) -> &'static str {
    if facts.privileges.is_filtered {
        "use a seccomp profile, of the container or the unit, that allows bpf(2)"
    } else {
        "use a security policy, such as that of AppArmor or SELinux, that allows bpf(2)"
    }
}

/// Whether programs on function entries can be tried, or why not.
pub(super) fn function_entries(facts: &KernelFacts) -> Result<(), Degradation> {
    let blocked =
        |reason: &str, remedy| Err(Degradation::new(Feature::PacketEvidence, reason, remedy));
    let programs = [RESET_ENTERS, CONNECT_ENDS, ACCEPT_ENDS];
    let fits = |types: &Types| programs.iter().all(|program| types.fits(program));
    if !facts.types.as_ref().is_ok_and(fits) {
        return blocked(
            "tcp_reset gets no packet before Linux 5.11",
            "use --packet-evidence cgroup_skb",
        );
    }
    if probe_read(facts).is_err() {
        return blocked(
            "lockdown forbids programs to read packets",
            "use --packet-evidence cgroup_skb",
        );
    }
    facts
        .loads
        .function_entries
        .obstacle()
        .map_or(Ok(()), |reason| {
            blocked(reason, "use --packet-evidence cgroup_skb")
        })
}

/// What is not seen where no packets are watched.
pub(super) fn of_no_packets(blocked: &Degradation) -> Vec<Degradation> {
    let of_packets = Feature::ALL.iter().filter(|it| it.is_of_packets());
    of_packets
        .map(|feature| Degradation {
            feature: *feature,
            ..blocked.clone()
        })
        .collect()
}

/// What programs on function entries do not see; `why` is the reason they are
/// used anyway, and `remedy` what to do about that.
pub(super) fn of_fentry(why: &str, remedy: &str) -> Vec<Degradation> {
    [Feature::FirstBytes, Feature::SurvivedSilences]
        .map(|feature| {
            Degradation::new(
                feature,
                format!("function entries see handshakes and resets only, and {why}"),
                remedy,
            )
        })
        .into()
}
