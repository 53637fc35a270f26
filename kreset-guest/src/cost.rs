//! What the verifier spent on each program.

use anyhow::Result;
use aya::programs::loaded_programs;

use crate::say;

/// The programs of the tracer, by the first letters of their names (the kernel
/// keeps 15).
const NAMES: [&str; 13] = [
    "receive_reset",
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
