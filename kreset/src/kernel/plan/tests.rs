use std::{collections::BTreeSet, num::NonZeroU32, path::Path};

use super::*;
use crate::kernel::{
    btf::{Btf, BtfError, synthetic::Builder},
    facts::{CgroupMount, Loads, Lockdown, NoTypes},
    feature::Feature,
    offsets::synthetic::{Edit, add_kernel},
    privilege::{Capabilities, Capability, Privileges},
    programs::{
        ACCEPT_ENDS, CONNECT_ENDS, MARK_VICTIM, MARK_VICTIM_TASK, PACKETS_IN, PACKETS_OUT,
        PROCESS_EXIT, PROCESS_EXIT_GROUP, RESET_ENTERS, SEED, SEED_BY_PROBE, SEND_RESET,
        SEND_RESET_REASON, SIGNAL_GENERATE,
    },
};

/// What differs between the kernels of `kernel-facts.md`.
struct Release {
    name: &'static str,
    send_reset: usize,
    reasons: bool,
    storage: bool,
    /// Arguments of `mark_victim` and of `sched_process_exit`.
    victim_and_exit: (usize, usize),
}

const V5_10: Release = Release {
    name: "5.10.262",
    send_reset: 2,
    reasons: false,
    storage: false,
    victim_and_exit: (1, 1),
};
const V6_1: Release = Release {
    name: "6.1.192",
    storage: true,
    ..V5_10
};
const V6_12: Release = Release {
    name: "6.12.117",
    send_reset: 3,
    reasons: true,
    storage: true,
    victim_and_exit: (2, 1),
};
const V6_18: Release = Release {
    name: "6.18.44",
    victim_and_exit: (2, 2),
    ..V6_12
};

/// The facts of a release, as root and without lockdown.
fn facts(release: &Release, edits: &[Edit]) -> KernelFacts {
    let mut b = Builder::new();
    add_kernel(&mut b, edits);
    b.tracepoint("tcp_receive_reset", 1);
    b.tracepoint("tcp_send_reset", release.send_reset);
    b.tracepoint("inet_sock_set_state", 3);
    b.tracepoint("tcp_destroy_sock", 1);
    b.tracepoint("signal_generate", 5);
    let (victim, exit) = release.victim_and_exit;
    b.tracepoint("mark_victim", victim);
    b.tracepoint("sched_process_exit", exit);
    if release.reasons {
        b.enumeration("sk_rst_reason", false, &[("SK_RST_REASON_NO_SOCKET", 1)]);
    }
    b.structure("bpf_iter__task_file", 0, &[]);
    for (function, parameters) in [
        ("tcp_reset", if release.storage { 2 } else { 1 }),
        ("tcp_finish_connect", 2),
        ("tcp_child_process", 3),
    ] {
        let prototype = b.prototype(&vec![0; parameters]);
        b.function(function, prototype);
    }
    if release.storage {
        let prototype = b.prototype(&[]);
        b.function("bpf_sk_storage_get_tracing", prototype);
        b.function("bpf_sock_from_file", prototype);
        b.function("bpf_get_current_task_btf", prototype);
    }
    facts_of(release.name, &b.finish())
}

/// The facts of a kernel with these types, as root and without lockdown.
pub(super) fn facts_of(release: &str, blob: &[u8]) -> KernelFacts {
    let path = Path::new("/sys/kernel/btf/vmlinux");
    KernelFacts {
        release: release.to_owned(),
        types: Ok(Types::read(&Btf::parse(blob).unwrap(), path)),
        privileges: privileges(Capability::ALL),
        lockdown: Lockdown::None,
        hz: Some(250),
        cgroup: Some(CgroupMount {
            path: PathBuf::from("/sys/fs/cgroup"),
            is_whole: true,
        }),
        pressure: true,
        loads: Loads {
            ring_buffer: Availability::Yes,
            jiffies: Availability::Yes,
            probe_read: Availability::Yes,
            packet_programs: Availability::Yes,
            function_entries: Availability::Yes,
            refused: BTreeMap::new(),
        },
    }
}

pub(super) fn privileges(capabilities: &[Capability]) -> Privileges {
    Privileges {
        capabilities: capabilities.iter().copied().collect::<Capabilities>(),
        user_namespace: false,
        is_filtered: false,
    }
}

/// Linux 6.18, but for a change.
fn changed(change: impl FnOnce(&mut KernelFacts)) -> KernelFacts {
    let mut facts = facts(&V6_18, &[]);
    change(&mut facts);
    facts
}

fn types(facts: &mut KernelFacts) -> &mut Types {
    facts.types.as_mut().unwrap()
}

/// Linux 6.18 without one field.
fn without_field(member: &'static str) -> KernelFacts {
    facts(&V6_18, &[Edit::Without(member)])
}

/// Something that is different from a kernel where all works.
pub(super) type Change = fn(&mut KernelFacts);

fn no(reason: &str) -> Availability {
    Availability::No(reason.to_owned())
}

fn planned(facts: &KernelFacts) -> Plan {
    planned_as(facts, &Request::default())
}

fn planned_as(facts: &KernelFacts, request: &Request) -> Plan {
    let plan = plan(facts, request).unwrap();
    check(&plan);
    plan
}

fn exactly(packet_evidence: PacketEvidence) -> Request {
    Request {
        packet_evidence: PacketChoice::Exactly(packet_evidence),
        ..Request::default()
    }
}

/// What is said to whoever asked for what this kernel cannot do.
fn refusal(facts: &KernelFacts, request: &Request) -> String {
    let refusal = plan(facts, request).unwrap_err();
    assert_actionable(&refusal);
    refusal.to_string()
}

fn degraded(plan: &Plan) -> Vec<Feature> {
    plan.degradations
        .iter()
        .map(|found| found.feature)
        .collect()
}

/// What no plan may break, whatever the facts.
pub(super) fn check(plan: &Plan) {
    let has = |program| plan.programs.contains(&program);
    assert!(has(&RECEIVE_RESET) && has(&SET_STATE));
    assert!(!(has(&SEND_RESET) && has(&SEND_RESET_REASON)));
    // The kernel skips a program that is already active. What only looks for the ends that
    // others missed needs no second copy, nor does what is not about packets.
    for program in &plan.programs {
        let tracepoint = matches!(program.hook, Hook::Tracepoint { .. })
            && *program != &DESTROY_SOCK
            && program.feature.is_none();
        assert_eq!(program.twin.is_some(), tracepoint, "{}", program.name);
    }
    let packets = plan.packet_evidence == PacketEvidence::CgroupSkb;
    assert_eq!(has(&PACKETS_IN), packets);
    assert_eq!(has(&PACKETS_OUT), packets);
    assert_eq!(plan.cgroup.is_some(), packets);
    let fentry = plan.packet_evidence == PacketEvidence::Fentry;
    for program in [&RESET_ENTERS, &CONNECT_ENDS, &ACCEPT_ENDS] {
        assert_eq!(has(program), fentry);
    }
    assert_eq!(plan.settings.fentry, u32::from(fentry));
    assert!(!(has(&SEED) && has(&SEED_BY_PROBE)));
    assert!(!(has(&MARK_VICTIM) && has(&MARK_VICTIM_TASK)));
    assert!(!(has(&PROCESS_EXIT) && has(&PROCESS_EXIT_GROUP)));
    assert_eq!(plan.settings.packets, u32::from(packets));
    let names: BTreeSet<_> = plan.programs.iter().map(|program| program.name).collect();
    assert_eq!(names.len(), plan.programs.len());
}

#[test]
fn control_groups_are_named_without_packet_programs() {
    let mut facts = facts(&V6_12, &[]);
    facts.privileges = privileges(&[Capability::Bpf, Capability::Perfmon]);
    let plan = planned(&facts);
    let hierarchy = Path::new("/sys/fs/cgroup").to_owned();
    assert_eq!((plan.cgroup, plan.hierarchy), (None, Some(hierarchy)));
}

#[test]
fn linux_6_18_has_everything() {
    let plan = planned(&facts(&V6_18, &[]));
    assert_eq!(plan.degradations, []);
    assert_eq!(
        plan.programs,
        [
            &PACKETS_IN,
            &PACKETS_OUT,
            &RECEIVE_RESET,
            &SET_STATE,
            &DESTROY_SOCK,
            &SEND_RESET_REASON,
            &SIGNAL_GENERATE,
            &MARK_VICTIM_TASK,
            &PROCESS_EXIT_GROUP,
            &SEED,
        ]
    );
    assert_eq!(
        plan.settings,
        Settings {
            netns: 0,
            probe_read: 1,
            packets: 1,
            debug: 0,
            hash_storage: 0,
            silence_jiffies: 125,
            task_btf: 1,
            fentry: 0,
            busy_jiffies: 8,
            unanswered_jiffies: 1_250,
            max_connections: 200_000,
            ..Settings::default()
        }
    );
    assert_eq!(plan.packet_evidence, PacketEvidence::CgroupSkb);
    assert_eq!(plan.cgroup.as_deref(), Some(Path::new("/sys/fs/cgroup")));
    assert_eq!(plan.hz, 250);
    assert_eq!(
        plan.reset_reasons.get(&1).map(String::as_str),
        Some("NO_SOCKET")
    );
    assert_ne!(plan.offsets, Offsets::UNRESOLVED);
}

#[test]
fn linux_6_12_is_as_good_as_6_18() {
    let [older, mut newer] = [&V6_12, &V6_18].map(|release| planned(&facts(release, &[])));
    let exit = newer.programs.iter_mut();
    for program in exit.filter(|it| **it == &PROCESS_EXIT_GROUP) {
        *program = &PROCESS_EXIT;
    }
    assert_eq!(older, newer);
}

#[test]
fn linux_6_1_tells_no_reasons() {
    let plan = planned(&facts(&V6_1, &[]));
    assert_eq!(degraded(&plan), [Feature::ResetReason, Feature::Socketless]);
    assert!(plan.programs.contains(&&SEND_RESET));
    assert!(plan.programs.contains(&&SEED));
    assert_eq!(plan.settings.hash_storage, 0);
}

#[test]
fn linux_5_10_remembers_connections_in_a_table() {
    // As it was until stable kernels took the change of 5.15.
    let plan = planned(&facts(&V5_10, &[Edit::Without("sock_cgroup_data.cgroup")]));
    assert_eq!(
        degraded(&plan),
        [
            Feature::ResetReason,
            Feature::Socketless,
            Feature::SocketStorage,
            Feature::Cgroup,
        ]
    );
    assert!(!plan.programs.contains(&&SEED));
    assert!(plan.programs.contains(&&SEED_BY_PROBE));
    assert_eq!((plan.settings.hash_storage, plan.settings.task_btf), (1, 0));
    assert_eq!(plan.packet_evidence, PacketEvidence::CgroupSkb);
    let cgroup = plan.degradations.last().unwrap();
    assert_eq!(
        cgroup.reason,
        "the kernel has no usable sock.sk_cgrp_data.cgroup (no member sk_cgrp_data.cgroup)"
    );
}

#[test]
fn what_was_asked_reaches_the_kernel_side() {
    let request = Request {
        netns: Some(4_026_531_840),
        debug: true,
        silence: Duration::from_micros(4_001),
        max_connections: NonZeroU32::new(1_000).unwrap(),
        ..exactly(PacketEvidence::Off)
    };
    let plan = plan(&facts(&V6_18, &[]), &request).unwrap();
    assert_eq!((plan.settings.max_connections, plan.table), (1_000, 1_000));
    check(&plan);
    assert_eq!(plan.settings.netns, 4_026_531_840);
    assert_eq!(plan.settings.debug, 1);
    assert_eq!(plan.settings.silence_jiffies, 2, "rounded up");
    assert_eq!(plan.packet_evidence, PacketEvidence::Off);
    assert_eq!(plan.degradations, [], "nothing is lost that was wanted");
    assert_eq!(jiffies(Duration::MAX, 250), u32::MAX);
}

#[test]
fn without_a_way_to_the_packets_verdicts_rest_on_sockets() {
    let blocks: [(Change, &[Feature], &str, &str); 4] = [
        (
            |facts| facts.cgroup = None,
            &[Feature::Cgroup],
            "no cgroup v2 hierarchy is mounted",
            "mount one, in a container the host's /sys/fs/cgroup",
        ),
        (
            |facts| facts.privileges = privileges(&[Capability::Bpf, Capability::Perfmon]),
            &[],
            "packet programs take CAP_NET_ADMIN",
            "run with CAP_NET_ADMIN",
        ),
        (
            |facts| facts.loads.packet_programs = no("they are not built in"),
            &[],
            "they are not built in",
            "CONFIG_CGROUP_BPF=y",
        ),
        (
            |facts| {
                facts.privileges.is_filtered = true;
                facts.loads.packet_programs = denied();
            },
            &[],
            "Operation not permitted",
            "use a seccomp profile",
        ),
    ];
    for (block, besides, reason, remedy) in blocks {
        let mut facts = changed(block);
        let by_entries = planned(&facts);
        assert_eq!(by_entries.packet_evidence, PacketEvidence::Fentry);
        assert_eq!(
            degraded(&by_entries),
            [besides, &[Feature::FirstBytes, Feature::SurvivedSilences]].concat()
        );
        let last = by_entries.degradations.last().unwrap();
        assert!(last.reason.contains(reason), "{last:?}");
        assert!(last.remedy.contains(remedy), "{last:?}");

        // As on kernels that refuse tracing programs on functions.
        facts.loads.function_entries = no("they are refused");
        let plan = planned(&facts);
        let of_packets = Feature::ALL.iter().filter(|it| it.is_of_packets());
        let expected: Vec<_> = besides.iter().chain(of_packets).copied().collect();
        assert_eq!(degraded(&plan), expected);
        let last = plan.degradations.last().unwrap();
        assert!(last.reason.contains(reason), "{last:?}");
        assert!(last.remedy.contains(remedy), "{last:?}");

        let refusal = refusal(&facts, &exactly(PacketEvidence::CgroupSkb));
        assert!(
            refusal.starts_with("packet evidence from cgroup_skb is not available here, since "),
            "{refusal}"
        );
        assert!(refusal.contains(reason), "{refusal}");
    }
}

/// As a call is denied by a container's seccomp profile.
fn denied() -> Availability {
    Availability::Denied("probing it failed: Operation not permitted (os error 1)".to_owned())
}

/// The packets of a container that sees its own control group as the root: function entries see
/// more, and where there are none it is said that the rest is missing.
#[test]
fn the_packets_of_a_container_alone_are_not_taken_for_all() {
    let mut facts = changed(|facts| facts.cgroup.as_mut().unwrap().is_whole = false);
    let by_entries = planned(&facts);
    assert_eq!(by_entries.packet_evidence, PacketEvidence::Fentry);
    assert_eq!(
        degraded(&by_entries),
        [
            Feature::Cgroup,
            Feature::FirstBytes,
            Feature::SurvivedSilences
        ]
    );

    let asked_for = plan(&facts, &exactly(PacketEvidence::CgroupSkb)).unwrap();
    facts.loads.function_entries = no("they are refused");
    for found in [asked_for, planned(&facts)] {
        check(&found);
        assert_eq!(found.packet_evidence, PacketEvidence::CgroupSkb);
        assert_eq!(
            degraded(&found),
            [
                Feature::Cgroup,
                Feature::PacketEvidence,
                Feature::FirstBytes,
                Feature::SurvivedSilences
            ]
        );
        for found in found.degradations {
            assert!(found.reason.contains("this container alone"), "{found:?}");
            assert_eq!(
                found.remedy,
                "mount the host's /sys/fs/cgroup in the container"
            );
        }
    }
    let required = Request {
        require: vec![Feature::PacketEvidence],
        ..Request::default()
    };
    refusal(&facts, &required);
}

#[test]
fn function_entries_are_used_where_they_are_asked_for() {
    let plan = planned_as(&facts(&V6_18, &[]), &exactly(PacketEvidence::Fentry));
    assert_eq!(plan.packet_evidence, PacketEvidence::Fentry);
    assert_eq!(
        degraded(&plan),
        [Feature::FirstBytes, Feature::SurvivedSilences]
    );
}

#[test]
fn function_entries_are_refused_with_the_reason() {
    let breaks: [(KernelFacts, &str); 3] = [
        (facts(&V5_10, &[]), "before Linux 5.11"),
        (
            changed(|facts| facts.lockdown = Lockdown::Confidentiality),
            "lockdown",
        ),
        (
            changed(|facts| facts.loads.function_entries = no("Operation not permitted")),
            "Operation not permitted",
        ),
    ];
    for (facts, says) in breaks {
        let refusal = refusal(&facts, &exactly(PacketEvidence::Fentry));
        assert!(refusal.contains(says), "{refusal}");
    }
}

/// On 5.10 the older way of reading needs the helper that lockdown forbids.
#[test]
fn lockdown_takes_more_from_linux_5_10() {
    let mut facts = facts(&V5_10, &[]);
    facts.lockdown = Lockdown::Confidentiality;
    let plan = planned(&facts);
    assert_eq!(
        degraded(&plan),
        [
            Feature::ResetReason,
            Feature::Socketless,
            Feature::SocketStorage,
            Feature::Owner,
            Feature::ProcessExit,
            Feature::Seeding,
        ]
    );
    assert!(!plan.programs.contains(&&SEED_BY_PROBE));
}

/// Why seeding failed when it was tried is what is said.
#[test]
fn a_failed_seeding_gives_its_own_reason() {
    let facts = changed(|facts| {
        let refused = "program seed: the kernel refuses to load it (Invalid argument)";
        types(facts).sockets_of_files = no(refused);
        types(facts).iterates_files = false;
    });
    let plan = planned(&facts);
    assert_eq!(degraded(&plan), [Feature::Seeding]);
    assert!(plan.degradations[0].reason.contains("Invalid argument"));
}

#[test]
fn lockdown_in_confidentiality_mode_hides_packets_of_socketless_resets() {
    let by_mode: Change = |facts| facts.lockdown = Lockdown::Confidentiality;
    let by_trial: Change = |facts| {
        facts.lockdown = Lockdown::Unknown;
        facts.loads.probe_read = no("the kernel does not offer bpf_probe_read_kernel");
    };
    for hides in [by_mode, by_trial] {
        let plan = planned(&changed(hides));
        assert_eq!(degraded(&plan), [Feature::Socketless]);
        assert_eq!(plan.settings.probe_read, 0);
    }
    let integrity = changed(|facts| facts.lockdown = Lockdown::Integrity);
    assert_eq!(planned(&integrity).degradations, []);
}

#[test]
fn a_send_reset_of_another_shape_is_left_alone() {
    for (arity, has) in [(1, "1 arguments"), (4, "4 arguments")] {
        let facts = changed(|facts| _ = types(facts).arguments.insert("tcp_send_reset", arity));
        let plan = planned(&facts);
        let features = [
            Feature::SentResets,
            Feature::ResetReason,
            Feature::Socketless,
        ];
        assert_eq!(degraded(&plan), features);
        assert!(plan.degradations[0].reason.contains(has));
        assert!(!plan.programs.contains(&&SEND_RESET));
        assert!(!plan.programs.contains(&&SEND_RESET_REASON));
    }
}

#[test]
fn reasons_without_names_stay_numbers() {
    let release = Release {
        reasons: false,
        ..V6_18
    };
    let plan = planned(&facts(&release, &[]));
    assert_eq!(degraded(&plan), [Feature::ResetReason]);
    assert!(plan.programs.contains(&&SEND_RESET_REASON));
}

/// One line, one sentence, and something to do after the colon.
fn assert_actionable(refusal: &Refusal) {
    let sentence = refusal.to_string();
    assert!(
        !sentence.contains(['\n', ';']) && !sentence.contains(". "),
        "{sentence}"
    );
    assert!(!sentence.ends_with('.'), "{sentence}");
    let (_, remedy) = sentence.rsplit_once(": ").expect("a remedy");
    let first = remedy.split(' ').next().unwrap();
    assert!(
        ["run", "use", "boot", "mount", "remove"].contains(&first),
        "{sentence}"
    );
}

#[test]
fn what_cannot_run_is_refused_in_one_sentence() {
    let breaks: [(Change, &str); 13] = [
        (
            |facts| facts.privileges.user_namespace = true,
            "in a user namespace",
        ),
        (
            |facts| facts.privileges = privileges(&[]),
            "CAP_BPF and CAP_PERFMON are missing: run it as root, or",
        ),
        (
            |facts| facts.privileges = privileges(&[Capability::Bpf]),
            "CAP_PERFMON",
        ),
        (
            |facts| {
                facts.types = Err(NoTypes::Unreadable {
                    path: "/sys/kernel/btf/vmlinux".into(),
                    why: "No such file or directory (os error 2)".to_owned(),
                });
            },
            "/sys/kernel/btf/vmlinux cannot be read",
        ),
        (
            |facts| {
                facts.types = Err(NoTypes::Invalid {
                    path: "/tmp/btf".into(),
                    why: BtfError::NotBtf { found: 0 },
                });
            },
            "/tmp/btf cannot be used",
        ),
        (|facts| facts.hz = None, "tick length"),
        (
            |facts| _ = types(facts).arguments.remove("tcp_receive_reset"),
            "no tracepoint tcp_receive_reset",
        ),
        (
            |facts| _ = types(facts).arguments.insert("inet_sock_set_state", 4),
            "inet_sock_set_state has 4 arguments",
        ),
        (
            |facts| {
                *facts = without_field("tcp_sock.lsndtime");
            },
            "kernel field tcp_sock.lsndtime: no member lsndtime",
        ),
        (
            |facts| facts.loads.ring_buffer = no("there is no ring"),
            "there is no ring",
        ),
        (
            |facts| facts.loads.jiffies = no("there are no jiffies"),
            "there are no jiffies",
        ),
        // With the capabilities, so that to ask for these would be of no help.
        (
            |facts| {
                facts.privileges.is_filtered = true;
                facts.loads.ring_buffer = denied();
            },
            "use a seccomp profile, of the container or the unit, that allows bpf(2)",
        ),
        (
            |facts| facts.loads.ring_buffer = denied(),
            "use a security policy, such as that of AppArmor or SELinux",
        ),
    ];
    for (break_it, says) in breaks {
        let refusal = refusal(&changed(break_it), &Request::default());
        assert!(refusal.contains(says), "{refusal}");
    }
}

#[test]
fn a_kernel_not_looked_at_is_refused() {
    let refusal = plan(&KernelFacts::default(), &Request::default()).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::Privileges,
        "what a user can mend comes first"
    );
}

/// Linux 6.18 without one tracepoint.
fn without_tracepoint(name: &str) -> KernelFacts {
    changed(|facts| _ = types(facts).arguments.remove(name))
}

/// A program about processes that the kernel refuses takes its own feature, and nothing else.
#[test]
fn a_refused_program_about_processes_is_planned_around() {
    for (program, feature) in [
        (&SIGNAL_GENERATE, Feature::Signals),
        (&MARK_VICTIM_TASK, Feature::OutOfMemory),
        (&PROCESS_EXIT_GROUP, Feature::ProcessEnd),
    ] {
        let mut facts = facts(&V6_18, &[]);
        let all = planned(&facts).programs;
        let reason = "the kernel refuses to load it (Invalid argument)".to_owned();
        facts.loads.refused.insert(program.name, reason.clone());
        let plan = planned(&facts);
        assert_eq!(degraded(&plan), [feature]);
        assert_eq!(plan.degradations[0].reason, reason);
        assert_eq!(plan.programs.len() + 1, all.len());
        assert!(!plan.programs.contains(&program));
    }
}

/// `mark_victim` and `sched_process_exit` have had two forms each.
#[test]
fn each_form_of_a_tracepoint_has_its_program() {
    let of = |release| planned(&facts(release, &[])).programs;
    let oldest = of(&V5_10);
    assert!(oldest.contains(&&MARK_VICTIM) && oldest.contains(&&PROCESS_EXIT));
    let between = of(&V6_12);
    assert!(between.contains(&&MARK_VICTIM_TASK) && between.contains(&&PROCESS_EXIT));
}

/// Facts in which `feature` does not work and all else may.
fn without(feature: Feature) -> KernelFacts {
    match feature {
        Feature::PacketEvidence => changed(|facts| {
            facts.loads.packet_programs = no("they are not built in");
            facts.loads.function_entries = no("they are refused");
        }),
        Feature::FirstBytes | Feature::SurvivedSilences => changed(|facts| facts.cgroup = None),
        Feature::AcceptedPackets => without_field("tcp_sock.rcv_wnd"),
        Feature::Idle => without_field("tcp_sock.first_tx_mstamp"),
        Feature::ResetTimestamps => without_field("tcp_options_received.saw_tstamp"),
        Feature::ResetReason | Feature::Socketless => facts(&V6_1, &[]),
        Feature::UnobservedEnds => without_tracepoint("tcp_destroy_sock"),
        Feature::SentResets => without_tracepoint("tcp_send_reset"),
        Feature::Owner | Feature::Seeding => {
            let mut facts = facts(&V5_10, &[]);
            facts.loads.probe_read = no("it is refused");
            facts
        }
        Feature::SocketStorage => facts(&V5_10, &[]),
        Feature::ProcessExit => without_field("task_struct.flags"),
        Feature::ProcessEnd => without_field("signal_struct.group_exit_code"),
        Feature::Signals => without_tracepoint("signal_generate"),
        Feature::OutOfMemory => without_tracepoint("mark_victim"),
        Feature::Cgroup => without_field("kernfs_node.id"),
        Feature::Keepalive => without_field("inet_connection_sock.icsk_probes_out"),
        Feature::Retransmits => without_field("tcp_sock.total_retrans"),
        Feature::Timeouts => without_field("sock.sk_err"),
        Feature::Load => without_field("tcp_sock.snd_wnd"),
        Feature::Bytes => without_field("tcp_sock.bytes_sent"),
        Feature::Rtt => without_field("tcp_sock.srtt_us"),
    }
}

/// Distributions build the kernel with it and leave it off.
#[test]
fn a_host_without_pressure_says_how_to_get_it() {
    let plan = planned(&changed(|facts| facts.pressure = false));
    let found: Vec<_> = plan
        .degradations
        .iter()
        .map(|it| (it.feature, it.remedy.as_str()))
        .collect();
    assert_eq!(found, [(Feature::Load, "boot with psi=1")]);
}

#[test]
fn each_feature_degrades_with_a_reason_and_refuses_when_required() {
    for feature in Feature::ALL {
        let lacking = without(*feature);
        let plan = planned(&lacking);
        let found = plan
            .degradations
            .iter()
            .find(|found| found.feature == *feature);
        let found = found.unwrap_or_else(|| panic!("{feature} is not degraded"));

        let required = Request {
            require: vec![*feature],
            ..Request::default()
        };
        let refusal = super::plan(&lacking, &required).unwrap_err();
        assert_actionable(&refusal);
        assert_eq!(
            refusal,
            Refusal::Required {
                feature: *feature,
                reason: found.reason.clone(),
                remedy: found.remedy.clone(),
            }
        );
        // And is no hindrance where it works.
        super::plan(&facts(&V6_18, &[]), &required).unwrap();
    }
}

#[test]
fn what_is_turned_off_cannot_be_required() {
    for feature in [
        Feature::PacketEvidence,
        Feature::FirstBytes,
        Feature::SurvivedSilences,
    ] {
        let request = Request {
            require: vec![feature],
            ..exactly(PacketEvidence::Off)
        };
        let refusal = refusal(&facts(&V6_18, &[]), &request);
        assert!(refusal.contains("--packet-evidence off turns it off"));
    }
}

/// A failed attachment is written into the facts; planning again degrades.
#[test]
fn a_failure_on_the_way_is_planned_around() {
    let mut facts = facts(&V6_18, &[]);
    assert_eq!(planned(&facts).packet_evidence, PacketEvidence::CgroupSkb);
    let reason = "attaching failed: Device or resource busy";
    facts.loads.packet_programs = Availability::Failed(reason.to_owned());
    facts.loads.function_entries = no("Operation not permitted");
    let plan = planned(&facts);
    assert_eq!(plan.packet_evidence, PacketEvidence::Off);
    assert_eq!(
        degraded(&plan),
        [
            Feature::PacketEvidence,
            Feature::FirstBytes,
            Feature::SurvivedSilences,
        ]
    );
    // The kernel has what it takes: another one is no remedy.
    assert!(!plan.degradations[0].remedy.contains("CONFIG"));
}

#[test]
fn a_few_ranges_of_ports_become_constants_and_more_stay_in_the_bitmap() {
    let ranges = |list: &str| {
        let mut plan = planned(&facts(&V6_18, &[]));
        plan.set_port_ranges(&list.parse().unwrap());
        let count = plan.settings.port_range_count as usize;
        plan.settings.port_ranges[..count]
            .iter()
            .map(|it| (it.first, it.more))
            .collect::<Vec<_>>()
    };
    assert_eq!(ranges("9092,9094-9096"), [(9092, 0), (9094, 2)]);
    assert_eq!(ranges("1-65535"), [(1, 65_534)]);
    assert_eq!(ranges("1,3,5,7").len(), 4);
    assert_eq!(ranges("1,3,5,7,9"), []);
}

#[test]
fn a_busy_connection_is_one_that_was_heard_from_in_less_time_than_acknowledgements_wait() {
    for hz in [100, 250, 300, 1_000] {
        let facts = changed(|facts| facts.hz = Some(hz));
        let busy = planned(&facts).settings.busy_jiffies;
        assert!(busy >= 2 && busy * 1_000 / hz < 40, "{busy} at {hz} Hz");
    }
}
