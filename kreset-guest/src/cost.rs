//! What the verifier spent on each program.

use std::{collections::BTreeMap, fs};

use anyhow::Result;
use aya::programs::loaded_programs;

use crate::say;

/// The programs of the tracer, by the first letters of their names (the kernel
/// keeps 15).
const NAMES: [&str; 21] = [
    "receive_reset",
    // receive_reset_again and its like
    "receive_reset_a",
    "set_state_again",
    "send_reset",
    "send_again",
    "send_reset_reas",
    "send_again_reas",
    "set_state",
    "packets_in",
    "packets_out",
    "seed",
    "seed_by_probe",
    "reset_enters",
    "connect_ends",
    "accept_ends",
    "destroy_sock",
    "signal_generate",
    "mark_victim",
    // mark_victim_task
    "mark_victim_tas",
    "process_exit",
    // process_exit_group
    "process_exit_gr",
];

/// Says it for what is loaded now.
pub(crate) fn report(source: &str) -> Result<()> {
    for program in loaded_programs() {
        let program = program?;
        let Some(name) = program.name_as_str().filter(|name| NAMES.contains(name)) else {
            continue;
        };
        let known = |count: Option<u32>| count.map_or_else(|| "-".to_owned(), |n| n.to_string());
        say(&[
            "cost",
            source,
            name,
            // Since 5.16.
            &known(program.verified_instruction_count()),
            &known(program.size_translated()),
        ]);
    }
    Ok(())
}

/// The programs of the hooks whose misses the tracer reports, by the first
/// letters of their names: what all of them missed is lost.
const HOOKS: [&[&str]; 5] = [
    &["send_reset", "send_again"],
    &["send_reset_reas", "send_again_reas"],
    &["reset_enters"],
    &["connect_ends"],
    &["accept_ends"],
];

/// Says how often the kernel skipped programs of the tracer because they were
/// running on that processor already (kernel: `prog->active`; counted since 5.12),
/// and how many calls none of a hook's programs was run for, at most.
pub(crate) fn report_misses(source: &str, tracer: u32) -> u64 {
    let misses = misses(tracer);
    let lost: u64 = HOOKS
        .iter()
        .filter_map(|programs| {
            let loaded = programs.iter().filter_map(|name| misses.get(*name));
            loaded.min().copied()
        })
        .sum();
    let skipped: Vec<String> = misses
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    say(&["misses", source, &lost.to_string(), &skipped.join(", ")]);
    lost
}

/// By the program's name, as far as the kernel keeps it.
fn misses(tracer: u32) -> BTreeMap<String, u64> {
    let names: BTreeMap<u32, String> = loaded_programs()
        .flatten()
        .filter_map(|program| Some((program.id(), program.name_as_str()?.to_owned())))
        .collect();
    let mut misses = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{tracer}/fdinfo"))
        .into_iter()
        .flatten()
        .flatten()
    {
        // A descriptor may be closed by now.
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let field = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().parse::<u64>().ok()
        };
        let name = field("prog_id:")
            .and_then(|id| u32::try_from(id).ok())
            .and_then(|id| names.get(&id));
        if let (Some(name), Some(count)) = (name, field("recursion_misses:")) {
            misses.insert(name.clone(), count);
        }
    }
    misses
}
