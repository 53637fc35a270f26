//! `kreset-lab accuracy`

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context as _;
use clap::Parser;
use jiff::Timestamp;
use kreset_lab::{
    Stop,
    accuracy::{
        document::{Head, Page},
        matrix::{self, Findings},
        orderly::{self, Orderly},
    },
    case::{self, USED},
};

use crate::{complain, say, stop_on_signals, tracer_option::TracerOption};

#[derive(Parser)]
pub(crate) struct Options {
    #[command(flatten)]
    tracer: TracerOption,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Draw the held-out cases from N; never run before, unless given [default: by the clock].
    /// With one of the used seeds, only that one is run: that is how weights are set
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Leave what was said of each case, one JSON line each, in DIR
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Write the result of a whole run to FILE as well, as a page
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// Orderly connections to open, use and close before the tracers; 0 for none
    #[arg(long, value_name = "N", default_value = "100000")]
    orderly: usize,
    /// Show the cases and end
    #[arg(long)]
    list: bool,
}

/// A seed that was never run: in seconds, short enough to be typed, and above all used ones.
fn fresh() -> u64 {
    Timestamp::now().as_second().unsigned_abs()
}

/// Whether all bars were reached.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    if options.list {
        for case in case::matrix() {
            let part = if case.is_unseen() { "unseen" } else { "used" };
            say(format_args!("{}  {part}", case.id));
        }
        return Ok(true);
    }
    kreset_lab::check()?;
    let program = options.tracer.find()?;
    kreset_lab::sweep()?;
    let stop = Stop::default();
    stop_on_signals(&stop)?;
    let began = Instant::now();
    let seed = options.seed.unwrap_or_else(fresh);
    let (used_seed, held_out_seed) = if USED.contains(&seed) {
        (Some(seed), None)
    } else {
        (USED.first().copied(), Some(seed))
    };
    complain(format_args!(
        "seeds: used {used_seed:?}, held out {held_out_seed:?}"
    ));
    let mut findings = Findings::default();
    for seed in used_seed.into_iter().chain(held_out_seed) {
        let settings = matrix::Settings {
            tracer: program.clone(),
            seed,
            only: options.only.clone(),
        };
        findings.take(matrix::run(&settings, &stop)?);
    }
    let took = began.elapsed();
    let orderly = (options.orderly > 0)
        .then(|| orderly::run(&program, options.orderly, &stop))
        .transpose()?;
    if let Some(directory) = &options.keep {
        keep(directory, &findings, orderly.as_ref())?;
    }
    let head = Head {
        command: "cargo xtask accuracy".to_owned(),
        date: Timestamp::now().strftime("%F").to_string(),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
            .context("cannot read the kernel's release")?
            .trim()
            .to_owned(),
        took,
        used_seed,
        held_out_seed,
    };
    let page = Page {
        head: &head,
        findings: &findings,
        orderly: orderly.as_ref(),
    };
    say(page);
    let whole = options.only.is_empty() && orderly.is_some() && held_out_seed.is_some();
    if let Some(path) = options.document.as_ref().filter(|_| whole) {
        fs::write(path, page.to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    for (case, why) in &findings.not_staged {
        complain(format_args!("{case} did not run: {why}"));
    }
    let missed = page.missed();
    for bar in &missed {
        complain(format_args!("missed: {bar}"));
    }
    Ok(missed.is_empty())
}

/// One JSON line for each observation, and the events that orderly connections drew.
fn keep(directory: &Path, findings: &Findings, orderly: Option<&Orderly>) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        fs::create_dir_all(directory)?;
        let said = [
            ("observations.jsonl", &findings.observations),
            ("pairs.jsonl", &findings.pairs),
            ("captured.jsonl", &findings.captured),
        ];
        for (name, observations) in said {
            let mut file = BufWriter::new(File::create(directory.join(name))?);
            for observation in observations {
                serde_json::to_writer(&mut file, observation)?;
                writeln!(file)?;
            }
            file.flush()?;
        }
        if let Some(orderly) = orderly {
            let mut file = BufWriter::new(File::create(directory.join("orderly.jsonl"))?);
            for line in &orderly.events {
                writeln!(file, "{line}")?;
            }
            file.flush()?;
        }
        Ok(())
    };
    write().with_context(|| format!("cannot keep results in {}", directory.display()))
}
