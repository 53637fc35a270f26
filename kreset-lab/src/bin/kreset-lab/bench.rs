//! `kreset-lab bench`

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Parser;
use kreset_lab::bench;

use crate::tracer_option::TracerOption;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench --quick            see that it works
  cargo xtask bench                    measure all; ten minutes
  cargo xtask bench resets memory      measure parts, and write them into the page";

#[derive(Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// What to measure [default: all]; `list` shows the names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Measure little and write nothing: to see that it works
    #[arg(long)]
    quick: bool,
    /// Rounds of each comparison [default: as many as each takes]
    #[arg(long, value_name = "N")]
    rounds: Option<NonZeroUsize>,
    #[command(flatten)]
    tracer: TracerOption,
    /// The page to write into; plots go into a directory beside it
    #[arg(long, value_name = "PATH")]
    page: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    if options.names == ["list"] {
        for part in &bench::part::PARTS {
            crate::say(format_args!("{:<12} {}", part.name, part.about));
        }
        return Ok(true);
    }
    bench::run(&bench::Settings {
        names: &options.names,
        quick: options.quick,
        rounds: options.rounds,
        tracer: options.tracer.find()?.canonicalize()?,
        page: options.page.as_deref(),
    })?;
    Ok(true)
}
