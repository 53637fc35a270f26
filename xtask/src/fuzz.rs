//! `cargo xtask fuzz`

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{exec, files, setup};

/// The version of cargo-fuzz that is installed if none is.
const CARGO_FUZZ: &str = "0.13.2";
/// The most memory that an input may take, MiB.
const MEMORY: u32 = 1_024;
/// The most time that an input may take, seconds; generous, for a machine under load.
const SLOWEST: u32 = 20;

/// A file system in memory.
const IN_MEMORY: &str = "/dev/shm";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to fuzz; all in turn if none is named
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each is fuzzed
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: u32,
    /// Afterwards, add the inputs that reached new code to the corpus of the repository
    #[arg(long)]
    grow: bool,
}

/// Fuzzes with the nightly compiler; ends with an error at the first finding.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let directory = directory()?;
    let known = targets(&directory)?;
    for asked in &arguments.targets {
        if !known.contains(asked) {
            bail!(
                "unknown fuzz target {asked:?}; expected one of {}",
                known.join(", ")
            );
        }
    }
    let chosen = if arguments.targets.is_empty() {
        &known
    } else {
        &arguments.targets
    };
    install()?;
    for target in chosen {
        fuzz(&directory, target, arguments)?;
    }
    Ok(())
}

fn fuzz(directory: &Path, target: &str, arguments: &Arguments) -> Result<()> {
    let corpus = directory.join("corpus").join(target);
    // New inputs go here, so that the corpus of the repository stays small.
    let found = exec::target_directory()?.join("fuzz").join(target);
    files::make_directory(&found)?;
    let mut run = cargo_fuzz(directory, target);
    if Path::new(IN_MEMORY).is_dir() {
        // A spool writes files: on a disk that allows a hundred inputs a second.
        run.env("TMPDIR", IN_MEMORY);
    }
    run.args([&found, &corpus]).args([
        "--".to_owned(),
        format!("-max_total_time={}", u64::from(arguments.minutes) * 60),
        format!("-rss_limit_mb={MEMORY}"),
        format!("-timeout={SLOWEST}"),
        "-print_final_stats=1".to_owned(),
    ]);
    exec::run(&mut run)?;
    if arguments.grow {
        let mut merge = cargo_fuzz(directory, target);
        merge.args([&corpus, &found]).args(["--", "-merge=1"]);
        exec::run(&mut merge)?;
    }
    Ok(())
}

fn cargo_fuzz(directory: &Path, target: &str) -> Command {
    let mut command = Command::new("rustup");
    command
        .current_dir(directory)
        // The kernel side is not fuzzed.
        .env("AYA_BUILD_SKIP", "1")
        // Set for this program by its own toolchain.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .args(["run", "nightly", "cargo", "fuzz", "run", target]);
    command
}

fn install() -> Result<()> {
    setup::programs(&[("c++", "g++")])?;
    setup::nightly()?;
    let installed = Command::new("cargo")
        .args(["fuzz", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if installed {
        return Ok(());
    }
    eprintln!("fuzz: installing cargo-fuzz {CARGO_FUZZ}");
    exec::run(exec::cargo().args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ]))
        .context("fuzzing needs cargo-fuzz")
}

fn directory() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(|repository| repository.join("fuzz"))
        .context("xtask has no parent directory")
}

/// The names of all targets: each is a file.
fn targets(directory: &Path) -> Result<Vec<String>> {
    let directory = directory.join("fuzz_targets");
    let mut names = Vec::new();
    for path in files::list(&directory)? {
        names.extend(
            path.file_stem()
                .and_then(|name| name.to_str().map(str::to_owned)),
        );
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_corpus() {
        let directory = directory().expect("a workspace");
        let targets = targets(&directory).expect("targets");
        assert!(targets.iter().any(|name| name == "record"), "{targets:?}");
        for target in targets {
            assert!(directory.join("corpus").join(&target).is_dir(), "{target}");
        }
    }
}
