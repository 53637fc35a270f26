//! Plans for kernels that were run, from extracts of their BTF (`cargo xtask btf-extract`).

use std::{collections::BTreeMap, fmt::Write as _, fs};

use kreset_common::offsets::ABSENT;

use super::{
    Plan, Request, plan,
    tests::{Change, check, facts_of, privileges},
};
use crate::{
    kernel::{
        facts::{KernelFacts, Lockdown},
        offsets,
        privilege::Capability,
        programs::Hook,
    },
    util::golden::golden,
};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kernel/btf/fixtures");

/// What hosts take away. The first is a host that takes nothing.
const HOSTS: [(&str, Change); 6] = [
    ("root", |_| {}),
    ("lockdown=confidentiality", |facts| {
        facts.lockdown = Lockdown::Confidentiality;
    }),
    ("no cgroup v2", |facts| facts.cgroup = None),
    ("cgroup v2 of a container", |facts| {
        facts.cgroup.as_mut().unwrap().is_whole = false;
    }),
    ("CAP_BPF, CAP_PERFMON", |facts| {
        facts.privileges = privileges(&[Capability::Bpf, Capability::Perfmon]);
    }),
    ("lockdown=confidentiality, no cgroup v2", |facts| {
        facts.lockdown = Lockdown::Confidentiality;
        facts.cgroup = None;
    }),
];

/// The extracts by the name of their file.
fn extracts() -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(FIXTURES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "btf"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

fn planned(facts: &KernelFacts) -> Plan {
    let plan = plan(facts, &Request::default()).unwrap();
    check(&plan);
    plan
}

#[test]
fn each_architecture_has_the_kernels_that_differ() {
    let extracts = extracts();
    for architecture in ["amd64", "arm64"] {
        for version in ["5.10", "6.1", "6.12", "6.18", "7"] {
            let start = format!("{architecture}-{version}.");
            assert!(
                extracts.keys().any(|name| name.starts_with(&start)),
                "{start}"
            );
        }
    }
}

/// Fields that a kernel lacks, by the name of its extract: 5.10.223 is from before stable kernels
/// took `sk_cgrp_data.cgroup` from 5.15.
const MISSING: [(&str, &str); 1] = [("arm64-5.10.0-32", "sk_cgrp_data.cgroup")];

#[test]
fn every_kernel_has_every_field_but_for_those_on_record() {
    let mut missing = Vec::new();
    for (name, blob) in extracts() {
        let resolved = facts_of(&name, &blob).types.unwrap().offsets.unwrap();
        missing.extend(resolved.missing.iter().map(|it| (name.clone(), it.path)));
    }
    assert_eq!(missing, MISSING.map(|(name, path)| (name.to_owned(), path)));
}

#[test]
fn plans_are_as_on_record() {
    for (name, blob) in extracts() {
        let facts = facts_of(&name, &blob);
        let mut text = String::new();
        for (host, change) in HOSTS {
            let mut facts = facts.clone();
            change(&mut facts);
            text += &described(host, &planned(&facts));
        }
        text += "offsets\n";
        for (field, place) in offsets::listed(planned(&facts).offsets) {
            if place == ABSENT {
                writeln!(text, "  {field} absent").unwrap();
            } else {
                writeln!(text, "  {field} {place}").unwrap();
            }
        }
        golden(&format!("kernels/{name}.txt"), &text);
    }
}

fn described(host: &str, plan: &Plan) -> String {
    let mut text = format!("{host}: packet evidence from {}\n", plan.packet_evidence);
    for program in &plan.programs {
        let hook = match program.hook {
            Hook::Tracepoint { target, arguments } => format!("tracepoint {target}/{arguments}"),
            Hook::FunctionEntry { target, arguments } => format!("function {target}/{arguments}"),
            Hook::Packets(way) => format!("packets {way:?}"),
            Hook::OpenFiles => "open files".to_owned(),
        };
        writeln!(text, "  {}: {hook}", program.name).unwrap();
    }
    let settings = &plan.settings;
    writeln!(
        text,
        "  probe_read {}, hash_storage {}, task_btf {}, {} reset reasons",
        settings.probe_read,
        settings.hash_storage,
        settings.task_btf,
        plan.reset_reasons.len()
    )
    .unwrap();
    for found in &plan.degradations {
        let (feature, reason, remedy) = (found.feature, &found.reason, &found.remedy);
        writeln!(text, "  without {feature}, since {reason}: {remedy}").unwrap();
    }
    text.push('\n');
    text
}
