//! Memory, start and size.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

use super::{Found, Setting};
use crate::bench::{
    arena::TRACED,
    compare::number,
    plot::{Plot, Series},
    stats::quantile,
    subject::{Running, Subject},
    workload::{flood::Flood, hold},
};
use crate::util::process::Memory;
use crate::util::table::Table;

const CONNECTIONS: [u32; 5] = [0, 1_000, 10_000, 30_000, 100_000];
const PATHS: u32 = 1_000_000;
const STARTS: usize = 10;

pub(super) fn run(setting: &Setting) -> Result<Found> {
    let (live, plot) = live(setting)?;
    let paths = paths(setting)?;
    let starts = starts(setting)?;
    let size = fs::metadata(&setting.paths.tracer)?.len();
    let markdown = format!(
        "Live connections, both ends on this host: those that are opened while kreset watches, \
         and those that it finds when it starts.\n\n{live}\n{paths}\n\nFrom start to attached, \
         with no connections: {starts}. The program is one file of {} MB.\n\n\
         ![Memory and time to attach against live connections](performance/connections.svg)\n",
        number(size as f64 / 1e6),
    );
    Ok(Found {
        markdown,
        plots: vec![("connections.svg", plot)],
    })
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn memory_of(running: &Running) -> Result<Memory> {
    running.settle()?;
    Ok(running.observed().context("kreset runs")?.memory()?)
}

fn live(setting: &Setting) -> Result<(String, Plot)> {
    let mut table = Table::new(&[
        "connections",
        "resident (MB)",
        "of that, its own",
        "maps in the kernel (MB)",
        "attached to them in (ms)",
        "resident then (MB)",
    ]);
    let (mut resident, mut attached) = (Vec::new(), Vec::new());
    for count in CONNECTIONS {
        let count = setting.count(count);
        let running = Running::start(Subject::Kreset, &setting.paths, TRACED)?;
        let held = hold::open(TRACED, count)?;
        let memory = memory_of(&running)?;
        running.finish()?;
        let running = Running::start(Subject::Kreset, &setting.paths, TRACED)?;
        let attach = running.attached_in().as_secs_f64() * 1e3;
        let seeded = memory_of(&running)?;
        running.finish()?;
        drop(held);
        // On a logarithmic axis nothing lies at 1.
        let at = f64::from(count).max(1.0);
        resident.push((at, megabytes(memory.resident)));
        attached.push((at, attach));
        table.row([
            count.to_string(),
            number(megabytes(memory.resident)),
            number(megabytes(memory.anonymous)),
            number(megabytes(memory.maps)),
            number(attach),
            number(megabytes(seeded.resident)),
        ]);
    }
    let plot = Plot {
        title: "Cost of live connections".to_owned(),
        x: "live connections (1 stands for none)".to_owned(),
        y: "MB, or ms".to_owned(),
        series: vec![
            Series {
                name: "resident memory (MB)".to_owned(),
                points: resident,
            },
            Series {
                name: "start to attached (ms)".to_owned(),
                points: attached,
            },
        ],
    };
    Ok((table.markdown(), plot))
}

/// Resets from more addresses than are remembered.
fn paths(setting: &Setting) -> Result<String> {
    let count = setting.count(PATHS);
    let running = Running::start(Subject::Kreset, &setting.paths, TRACED)?;
    let before = memory_of(&running)?;
    let flood = Flood {
        port: TRACED,
        count,
        rate: Some(50_000.0),
        sources: count,
    };
    flood.run()?;
    let after = memory_of(&running)?;
    running.finish()?;
    Ok(format!(
        "{count} paths seen: resident {} MB, {} MB before.",
        number(megabytes(after.resident)),
        number(megabytes(before.resident)),
    ))
}

fn starts(setting: &Setting) -> Result<String> {
    let mut times = Vec::new();
    for _ in 0..setting.rounds(STARTS) {
        let running = Running::start(Subject::Kreset, &setting.paths, TRACED)?;
        times.push(running.attached_in().as_secs_f64());
        running.finish()?;
    }
    let mut time = |share| {
        let seconds = quantile(&mut times, share).unwrap_or(0.0);
        Duration::from_secs_f64(seconds).as_millis()
    };
    Ok(format!(
        "{} ms (median of {}; the slowest {} ms)",
        time(0.5),
        setting.rounds(STARTS),
        time(1.0)
    ))
}
