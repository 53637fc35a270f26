//! Measures, and writes what it found into the page about performance.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what is measured is told on a terminal"
)]

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use kreset_bench::{
    arena, document,
    part::{Found, PARTS, Part, Setting},
    subject::Stage,
};
use kreset_lab::net::holder;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench --quick            see that it works
  cargo xtask bench                    measure all; ten minutes
  cargo xtask bench resets memory      measure parts, and write them into the page";

/// Measures what kreset-trace costs.
#[derive(Parser)]
#[command(after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Command {
    /// Hold connections open; not for people
    #[command(name = holder::SUBCOMMAND, hide = true)]
    Hold(holder::Task),
}

#[derive(clap::Args)]
struct Bench {
    /// What to measure [default: all]; `list` shows the names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Measure little and write nothing: to see that it works
    #[arg(long)]
    quick: bool,
    /// Rounds of each comparison [default: as many as each takes]
    #[arg(long, value_name = "N")]
    rounds: Option<NonZeroUsize>,
    /// The tracer
    #[arg(long, value_name = "PATH", env = "KRESET_TRACE")]
    tracer: Option<PathBuf>,
    /// The page to write into; plots go into a directory beside it
    #[arg(long, value_name = "PATH")]
    page: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Some(Command::Hold(task)) => holder::serve(&task).map_err(Into::into),
        None => run(&arguments.bench),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kreset-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Bench) -> Result<()> {
    if options.names == ["list"] {
        for part in &PARTS {
            println!("{:<12} {}", part.name, part.about);
        }
        return Ok(());
    }
    let parts = select(&options.names)?;
    let tracer = options
        .tracer
        .clone()
        .unwrap_or_else(|| PathBuf::from("target/release/kreset-trace"));
    let tracer = tracer.canonicalize().with_context(|| {
        format!(
            "no tracer at {}: build it with `cargo xtask build`",
            tracer.display()
        )
    })?;
    arena::enter()?;
    let scratch = Scratch::new()?;
    // At Ctrl-C the tracers end with this process's group; the rest is in memory and namespaces.
    let stopping = Arc::new(AtomicBool::new(true));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&stopping))?;
    }
    let setting = Setting {
        stage: Stage {
            tracer,
            scratch: scratch.0.clone(),
        },
        quick: options.quick,
        rounds: options.rounds,
    };
    let began = Instant::now();
    for part in parts {
        eprintln!("measuring {}: {}", part.name, part.about);
        let found =
            (part.run)(&setting).with_context(|| format!("cannot measure {}", part.name))?;
        let markdown = format!("{}\n\n{}", provenance(part, options), found.markdown);
        println!("## {}\n\n{markdown}", part.name);
        if let Some(page) = options.page.as_deref().filter(|_| !options.quick) {
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
fn provenance(part: &Part, options: &Bench) -> String {
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
        if options.quick { " --quick" } else { "" },
        options
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

/// What the names of all scratch directories begin with.
const SCRATCH: &str = "kreset-bench-";

/// A directory in memory, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        if !memory.is_dir() {
            bail!("there is no /dev/shm: what is measured must not wait for a disk");
        }
        sweep(memory);
        let path = memory.join(format!("{SCRATCH}{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

/// Removes what benchmarks that a signal ended have left.
fn sweep(memory: &Path) {
    for entry in fs::read_dir(memory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(SCRATCH));
        let Some(owner) = owner.and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if !Path::new(&format!("/proc/{owner}")).exists() {
            let _removed = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}
