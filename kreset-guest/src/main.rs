//! The first and only process of a guest that `cargo xtask kernels` boots:
//! runs `kreset-trace` against resets made on loopback, and says on the
//! console, a line each, what came of it. It needs nothing of a distribution.
//!
//! What it says starts with `@kreset` and has its fields between tabs; the
//! reader is `xtask/src/kernels/report.rs`.
#![expect(clippy::print_stdout, reason = "the console is the way out of a guest")]

mod clock;
mod cost;
mod ends;
mod limits;
mod scenario;
mod system;
mod tracer;

use std::{panic, process};

use anyhow::{Context as _, Result};

fn main() {
    // A kernel panics when its first process ends: whatever happens, power off.
    if process::id() == 1 {
        panic::set_hook(Box::new(|info| {
            say(&["failed", &info.to_string()]);
            system::power_off();
        }));
        if let Err(error) = run() {
            say(&["failed", &format!("{error:#}")]);
        }
        system::power_off();
    }
    say(&[
        "failed",
        "this is the first process of a guest; use cargo xtask kernels",
    ]);
}

fn run() -> Result<()> {
    let options = system::prepare().context("cannot prepare the guest")?;
    let kernel = system::kernel();
    say(&[
        "kernel",
        &kernel.build,
        &kernel.page.to_string(),
        &kernel.hz.to_string(),
    ]);
    for source in &options.packets {
        scenario::run_all(source).with_context(|| format!("packet evidence {source}"))?;
    }
    if options.limits {
        limits::run_all()?;
    }
    say(&["end"]);
    Ok(())
}

/// One line for the reader outside.
fn say(fields: &[&str]) {
    let line: Vec<String> = fields
        .iter()
        .map(|field| field.replace(['\t', '\n', '\r'], " "))
        .collect();
    println!("@kreset\t{}", line.join("\t"));
}
