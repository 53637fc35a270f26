//! What `kreset-trace` costs, side by side with nothing and with what people use today.
//! `cargo xtask bench` runs it.
//!
//! Costs are ratios of samples taken in one run, in an order drawn anew each round; how far two
//! samples of the same lie apart stands beside them. Timings are never asserted; counts are.
#![expect(
    clippy::cast_precision_loss,
    reason = "what is counted here stays far below 2^52"
)]
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what is measured is shown on a terminal"
)]

pub mod arena;
pub mod compare;
pub mod document;
pub mod floor;
pub mod part;
pub mod plot;
pub mod stats;
pub mod subject;
pub mod workload;

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use self::{
    part::{Found, PARTS, Part, Setting},
    subject::Paths,
};
use crate::kafka::scratch::{self, Scratch};

/// What a run is given.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// What to measure; everything if none is named.
    pub names: &'a [String],
    /// Measure little and write nothing: to see that it works.
    pub quick: bool,
    /// Rounds of each comparison, if not as many as each takes.
    pub rounds: Option<NonZeroUsize>,
    /// The tracer.
    pub tracer: PathBuf,
    /// The page to write into; plots go into a directory beside it.
    pub page: Option<&'a Path>,
}

/// Measures, and writes what it found into the page about performance.
pub fn run(settings: &Settings<'_>) -> Result<()> {
    let parts = select(settings.names)?;
    arena::enter()?;
    let scratch = scratch_in_memory()?;
    // At Ctrl-C the tracers end with this process's group; the rest is in memory and namespaces.
    let stopping = Arc::new(AtomicBool::new(true));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&stopping))?;
    }
    let setting = Setting {
        paths: Paths {
            tracer: settings.tracer.clone(),
            scratch: scratch.path().to_owned(),
        },
        quick: settings.quick,
        rounds: settings.rounds,
    };
    let began = Instant::now();
    for part in parts {
        eprintln!("measuring {}: {}", part.name, part.about);
        let found =
            (part.run)(&setting).with_context(|| format!("cannot measure {}", part.name))?;
        let markdown = format!("{}\n\n{}", provenance(part, settings), found.markdown);
        println!("## {}\n\n{markdown}", part.name);
        if let Some(page) = settings.page.filter(|_| !settings.quick) {
            write(page, part, &markdown, &found)?;
        }
    }
    eprintln!("measured in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn select(names: &[String]) -> Result<Vec<&'static Part>> {
    if names.is_empty() {
        return Ok(PARTS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            let part = PARTS.iter().find(|part| part.name == name);
            part.with_context(|| format!("nothing is called {name:?}: `list` shows the names"))
        })
        .collect()
}

/// With what and on what a part was measured.
fn provenance(part: &Part, settings: &Settings<'_>) -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease");
    let cpus = read("/proc/cpuinfo");
    let models: Vec<&str> = cpus
        .lines()
        .filter_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']))
        .collect();
    format!(
        "`cargo xtask bench{}{} {}` on Linux {}, {} x {}.",
        if settings.quick { " --quick" } else { "" },
        settings
            .rounds
            .map_or_else(String::new, |rounds| format!(" --rounds {rounds}")),
        part.name,
        release.trim(),
        models.len(),
        models.first().unwrap_or(&"an unknown processor"),
    )
}

fn write(page: &Path, part: &Part, markdown: &str, found: &Found) -> Result<()> {
    let text =
        fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    fs::write(page, document::put(&text, part.name, markdown)?)
        .with_context(|| format!("cannot write {}", page.display()))?;
    let plots = page.with_extension("");
    for (name, plot) in &found.plots {
        let path = plots.join(name);
        fs::write(&path, plot.svg()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A directory in memory: what is measured must not wait for a disk.
fn scratch_in_memory() -> Result<Scratch> {
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        bail!("no /dev/shm, where the benchmarks write: expected a file system in memory");
    }
    scratch::sweep_in(memory);
    Ok(Scratch::new_in(memory)?)
}
