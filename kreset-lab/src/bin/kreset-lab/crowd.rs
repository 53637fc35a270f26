//! `kreset-lab crowd`

use anyhow::Context as _;
use clap::Parser;
use kreset_lab::{Stop, crowd};

use crate::{complain, say, stop_on_signals, tracer_option::TracerOption};

#[derive(Parser)]
pub(crate) struct Options {
    #[command(flatten)]
    tracer: TracerOption,
    /// Connections at once, half of them older than the tracer
    #[arg(long, value_name = "N", default_value = "100000",
          value_parser = clap::value_parser!(u32).range(2..=240_000))]
    connections: u32,
    /// How many of them are reset
    #[arg(long, value_name = "N", default_value = "200")]
    resets: u32,
}

/// Whether every connection was found and every reset named.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    kreset_lab::check()?;
    let program = options.tracer.find()?;
    let stop = Stop::default();
    stop_on_signals(&stop)?;
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let figures = crowd::run(&program, &own, options.connections, options.resets, &stop)?;
    say(format_args!(
        "{} connections older than the tracer, {} of them found; attached in {:.0} ms",
        figures.older, figures.seeded, figures.attach_ms
    ));
    say(format_args!(
        "resident memory: {} KiB with these, {} KiB with {} more, {} KiB at most",
        figures.resident_before, figures.resident_with_all, figures.younger, figures.resident_peak
    ));
    say(format_args!(
        "{} of {} resets right, {} records lost",
        figures.resets as usize - figures.wrong.len(),
        figures.resets,
        figures.lost
    ));
    for wrong in &figures.wrong {
        complain(wrong);
    }
    Ok(figures.is_right())
}
