//! `cargo xtask simulate`: events of a fleet, drawn from recorded ones.
//!
//! What each host reports of a connection was recorded from real connections in the lab
//! (`recorded.jsonl`); which hosts there are, what stands between them, what their agents miss
//! and how events are delivered is drawn from a seed.

mod connections;
mod delivery;
mod fleet;
mod lines;
mod odd;
mod recorded;
mod reports;

use std::{
    fs::File,
    io::{self, BufWriter},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

use self::{fleet::Fleet, lines::Lines, recorded::Recorded};

/// How large, and where to.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What everything is drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Hosts, of which one in ten is a broker's
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(20..))]
    pub(crate) hosts: u32,
    /// Events, before what is lost and what is delivered twice
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(crate) events: usize,
    /// How long the fleet is watched, in seconds
    #[arg(long, value_name = "S", default_value_t = 1_800, value_parser = clap::value_parser!(u32).range(300..))]
    pub(crate) seconds: u32,
    /// File to write, one event a line, in the order in which they are delivered
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

/// Writes the events.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let recorded = Recorded::shipped()?;
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let fleet = Fleet::draw(&mut random, arguments.hosts, arguments.seconds);
    let ends = connections::draw(
        &mut random,
        &fleet,
        &recorded,
        arguments.events.saturating_sub(fleet.reports()),
    );
    let path = arguments.output.display();
    let written = move || -> io::Result<usize> {
        let mut lines = Lines::beside(&arguments.output)?;
        reports::write(&mut random, &fleet, &recorded, ends, &mut lines)?;
        let output = BufWriter::new(File::create(&arguments.output)?);
        delivery::deliver(&mut random, lines.written()?, output)
    };
    let count = written().with_context(|| format!("cannot write {path}"))?;
    println!("{count} events of {} hosts in {path}", arguments.hosts);
    Ok(())
}
