//! The parts of the benchmark: each measures one thing and writes its part of the page.

mod connections;
mod delay;
mod kafka;
mod memory;
mod programs;
mod resets;
mod traffic;

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    bench::{
        plot::Plot,
        subject::{Paths, Running},
    },
    util::process::{Observed, own_cpu},
};

/// What a part works with.
#[derive(Debug)]
pub struct Setting {
    /// The program and the directory that subjects use.
    pub paths: Paths,
    /// Fewer and shorter rounds: to see that it works.
    pub quick: bool,
    /// Rounds of each comparison, instead of the usual number.
    pub rounds: Option<NonZeroUsize>,
}

impl Setting {
    /// As many rounds as there is patience for.
    const fn rounds(&self, usual: usize) -> usize {
        match self.rounds {
            Some(rounds) => rounds.get(),
            None if self.quick => 2,
            None => usual,
        }
    }

    /// As long as there is patience for.
    fn time(&self, usual: Duration) -> Duration {
        if self.quick { usual / 4 } else { usual }
    }

    /// As many as there is patience for.
    const fn count(&self, usual: u32) -> u32 {
        if self.quick { usual / 10 } else { usual }
    }
}

/// What a part found.
#[derive(Debug, Default)]
pub struct Found {
    /// Its part of the page.
    pub markdown: String,
    /// Plots, with the names of their files.
    pub plots: Vec<(&'static str, Plot)>,
}

impl Found {
    /// Text alone.
    const fn text(markdown: String) -> Self {
        Self {
            markdown,
            plots: Vec::new(),
        }
    }
}

/// Does `work`, and says how many processors it kept busy meanwhile: with those who do it, what the
/// kernel does for them, and the one who watches. Unlike how much gets done in a second it hardly
/// depends on what else the machine does.
fn busy<T>(running: &Running, work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let cpu = || -> Result<Duration> {
        let watcher = running.observed().map_or(Ok(Duration::ZERO), Observed::cpu);
        Ok(own_cpu()? + watcher?)
    };
    let (before, began) = (cpu()?, Instant::now());
    let done = work()?;
    let took = began.elapsed();
    let used = cpu()?.saturating_sub(before);
    Ok((done, used.as_secs_f64() / took.as_secs_f64()))
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// What the command line and the page call it.
    pub name: &'static str,
    /// What it measures.
    pub about: &'static str,
    /// Measures it.
    pub run: fn(&Setting) -> Result<Found>,
}

impl Part {
    const fn new(
        name: &'static str,
        about: &'static str,
        run: fn(&Setting) -> Result<Found>,
    ) -> Self {
        Self { name, about, run }
    }
}

/// All parts, in the order of the page.
pub const PARTS: [Part; 7] = [
    Part::new(
        "traffic",
        "requests and answers, and bulk transfer",
        traffic::run,
    ),
    Part::new("kafka", "Apache Kafka, producing and consuming", kafka::run),
    Part::new(
        "connections",
        "connections opened and closed",
        connections::run,
    ),
    Part::new(
        "resets",
        "CPU time for each reset, and how many a second until one is lost",
        resets::run,
    ),
    Part::new("delay", "from the kernel's event to the line", delay::run),
    Part::new("memory", "memory, start and size", memory::run),
    Part::new(
        "programs",
        "nanoseconds of each program in the kernel",
        programs::run,
    ),
];
