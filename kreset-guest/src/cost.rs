//! What the verifier spent on each program.

use std::fs;

use anyhow::Result;
use aya::programs::loaded_programs;

use crate::say;

/// The programs of the tracer, by the first letters of their names (the kernel
/// keeps 15).
const NAMES: [&str; 15] = [
    "receive_reset",
    // receive_reset_again, set_state_again
    "receive_reset_a",
    "set_state_again",
    "send_reset",
    "send_reset_reas",
    "set_state",
    "packets_in",
    "packets_out",
    "seed",
    "seed_by_probe",
    "reset_enters",
    "connect_ends",
    "accept_ends",
    "enters",
    "rtt",
];

/// Says it for what is loaded now.
pub(crate) fn tell(source: &str) -> Result<()> {
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
            // Told since 5.16.
            &known(program.verified_instruction_count()),
            &known(program.size_translated()),
        ]);
    }
    Ok(())
}

/// Says how often the kernel skipped a program of the tracer because it was
/// running on that processor already (kernel: `prog->active`; told since 5.12):
/// on preemptible kernels one task may interrupt another inside a program.
pub(crate) fn tell_misses(source: &str, tracer: u32) {
    let mut misses = 0;
    for entry in fs::read_dir(format!("/proc/{tracer}/fdinfo"))
        .into_iter()
        .flatten()
        .flatten()
    {
        // A descriptor may be closed by now.
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let told = info
            .lines()
            .find_map(|line| line.strip_prefix("recursion_misses:"));
        misses += told
            .and_then(|count| count.trim().parse::<u64>().ok())
            .unwrap_or(0);
    }
    say(&["misses", source, &misses.to_string()]);
}
