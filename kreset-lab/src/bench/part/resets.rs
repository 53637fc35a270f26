//! CPU time for each reset, and how many a second until one is lost.

use std::{path::Path, time::Duration};

use anyhow::Result;
use serde_json::Value;

use super::{Found, Setting};
use crate::bench::{
    arena::TRACED,
    compare::{Comparison, Metric, number},
    plot::{Plot, Series},
    stats::Estimate,
    subject::{Paths, Running, Subject, count_lines},
    workload::{abort, flood::Flood},
};
use crate::util::process::{Observed, own_cpu};
use crate::util::table::Table;

/// Resets a second at which tools are compared.
const RATE: f64 = 3_000.0;
/// The rate at which nothing may be lost.
const FULL_RATE: f64 = 50_000.0;
const ROUNDS: usize = 3;
/// Long enough that what a process does once is no part of it.
const SECONDS: f64 = 3.0;
/// At each of the rates that rise.
const STEP_SECONDS: f64 = 1.0;
/// Sources of the flood: paths, to kreset.
const SOURCES: u32 = 1_000;
const RATES: [f64; 5] = [300.0, 3e3, 1e4, 5e4, 1e5];

const WATCHERS: [Subject; 7] = [
    Subject::Off,
    Subject::Kreset,
    Subject::KresetWithoutPackets,
    Subject::Tcpdump,
    Subject::TcpdumpLines,
    Subject::TcpdumpAny,
    Subject::Bpftrace,
];
const CLIMBERS: [Subject; 3] = [Subject::Kreset, Subject::Tcpdump, Subject::Bpftrace];

/// What watching so many resets came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Watched {
    resets: f64,
    lines: f64,
    lost: f64,
    /// CPU time of the process, s.
    process: f64,
    /// CPU time of the threads that made the resets: the kernel side of watching
    /// is charged to them, s.
    makers: f64,
    /// Memory, bytes.
    resident: f64,
    /// Resets a second that were really made.
    rate: f64,
}

impl Watched {
    fn process_us(&self) -> f64 {
        self.process * 1e6 / self.resets
    }

    fn values(&self) -> Vec<f64> {
        let each = |seconds: f64| seconds * 1e6 / self.resets;
        vec![
            self.process_us(),
            each(self.makers),
            self.lines / self.resets,
            self.lost / self.resets,
            self.resident / 1e6,
        ]
    }
}

/// In the order of [`Watched::values`].
const METRICS: [Metric; 5] = [
    Metric::plain("process"),
    Metric::plain("makers"),
    Metric::plain("lines a reset"),
    Metric::plain("lost a reset"),
    Metric::plain("resident (MB)"),
];
const PROCESS: usize = 0;
const MAKERS: usize = 1;

/// What each reset cost, by who watched: in the process, and in the kernel by
/// how much more it cost to make them than without a watcher.
fn costs(comparison: &Comparison) -> String {
    let mut table = Table::new(&[
        "who watches",
        "CPU time (us a reset)",
        "of that, process",
        "of that, kernel",
        "lines a reset",
        "lost a reset",
        "resident (MB)",
    ]);
    for subject in WATCHERS {
        let plain = |metric| {
            let estimate = comparison.estimate(subject, metric);
            estimate.map_or_else(String::new, |it| number(it.median))
        };
        let spread = |it: Estimate| {
            format!(
                "{} ({} to {})",
                number(it.median),
                number(it.low),
                number(it.high)
            )
        };
        let kernel = comparison.over(subject, MAKERS);
        let process = comparison.values(subject, PROCESS);
        let total: Vec<f64> = kernel.iter().zip(&process).map(|(a, b)| a + b).collect();
        if let (Some(total), Some(kernel)) = (Estimate::of(&total), Estimate::of(&kernel))
            && subject != Subject::Off
        {
            table.row([
                subject.to_string(),
                spread(total),
                plain(PROCESS),
                number(kernel.median),
                plain(2),
                plain(3),
                plain(4),
            ]);
        }
    }
    comparison.add_unable(&mut table);
    table.markdown()
}

/// Has `subject` watch `resets` resets that `make` makes.
fn watch(
    subject: Subject,
    paths: &Paths,
    resets: u32,
    make: impl FnOnce() -> Result<Duration>,
) -> Result<Watched> {
    let running = Running::start(subject, paths, TRACED)?;
    running.settle()?;
    let look = || running.observed().map_or(Ok(Duration::ZERO), Observed::cpu);
    let cpu = look()?;
    let own = own_cpu()?;
    let took = make()?;
    let makers = own_cpu()?.saturating_sub(own).as_secs_f64();
    running.settle()?;
    let cpu_after = look()?;
    let memory = running.observed().map(Observed::memory).transpose()?;
    let output = running.finish()?;
    let reported = reported(subject, &output)?;
    Ok(Watched {
        resets: f64::from(resets),
        lines: reported.lines as f64,
        lost: reported.lost as f64,
        process: cpu_after.saturating_sub(cpu).as_secs_f64(),
        makers,
        resident: memory.unwrap_or_default().resident as f64,
        rate: f64::from(resets) / took.as_secs_f64(),
    })
}

/// What a subject's output comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reported {
    lines: u64,
    lost: u64,
}

fn reported(subject: Subject, output: &Path) -> Result<Reported> {
    if !subject.is_kreset() {
        let heads = ["Attaching", "TIME", "Lost", "Tracing"];
        let lines = count_lines(output, |line| {
            !line.trim().is_empty() && !heads.iter().any(|head| line.starts_with(head))
        })?;
        return Ok(Reported { lines, lost: 0 });
    }
    let mut lost = 0;
    let lines = count_lines(output, |line| match lost_in(line) {
        Some(count) => {
            lost += count;
            false
        }
        None => line.contains(r#""type":"reset""#),
    })?;
    Ok(Reported { lines, lost })
}

/// How many records a `loss` event reports.
fn lost_in(line: &str) -> Option<u64> {
    if !line.contains(r#""type":"loss""#) {
        return None;
    }
    let event: Value = serde_json::from_str(line).ok()?;
    event.get("lost")?.as_u64()
}

const fn flood(count: u32, rate: f64) -> Flood {
    Flood {
        port: TRACED,
        count,
        rate: Some(rate),
        sources: SOURCES,
    }
}

pub(super) fn run(setting: &Setting) -> Result<Found> {
    let paths = &setting.paths;
    let rounds = setting.rounds(ROUNDS);
    let seconds = setting.time(Duration::from_secs_f64(SECONDS)).as_secs_f64();
    let count = (RATE * seconds) as u32;
    let without_socket = Comparison::run(&METRICS, &WATCHERS, rounds, |subject| {
        watch(subject, paths, count, || flood(count, RATE).run()).map(|it| it.values())
    })?;
    let aborts = Comparison::run(&METRICS, &WATCHERS, rounds, |subject| {
        let make = || abort::run(TRACED, count, RATE);
        watch(subject, paths, count, make).map(|it| it.values())
    })?;
    let step = setting.time(Duration::from_secs_f64(STEP_SECONDS));
    let (climb, plot) = climb(paths, step.as_secs_f64())?;
    let full = watch(Subject::Kreset, paths, setting.count(500_000), || {
        flood(setting.count(500_000), FULL_RATE).run()
    })?;
    let markdown = format!(
        "Segments to a port without a listener, {RATE} resets a second:\n\n{}\nConnections that \
         were in use and are aborted, up to {RATE} a second; both ends are on this host, so that \
         kreset and bpftrace report each reset twice, tcpdump once:\n\n{}\nAs many a second as \
         asked for:\n\n{climb}\n{} resets at {} a second: {} lines, {} lost.\n\n\
         ![CPU time of each reset against resets per second](performance/resets.svg)\n",
        costs(&without_socket),
        costs(&aborts),
        full.resets,
        number(full.rate),
        full.lines,
        full.lost,
    );
    Ok(Found {
        markdown,
        plots: vec![("resets.svg", plot)],
    })
}

/// More and more resets a second.
fn climb(paths: &Paths, seconds: f64) -> Result<(String, Plot)> {
    let mut table = Table::new(&[
        "who watches",
        "resets/s",
        "process (us a reset)",
        "of one CPU",
        "lines missing",
        "reported as lost",
    ]);
    let mut series = Vec::new();
    for subject in CLIMBERS {
        let mut points = Vec::new();
        for rate in RATES {
            let count = ((rate * seconds) as u32).max(300);
            let watched = match watch(subject, paths, count, || flood(count, rate).run()) {
                Ok(watched) => watched,
                Err(error) if !subject.is_kreset() => {
                    table.row([subject.to_string(), format!("not measured: {error:#}")]);
                    break;
                }
                Err(error) => return Err(error),
            };
            points.push((watched.rate, watched.process_us()));
            table.row([
                subject.to_string(),
                number(watched.rate),
                number(watched.process_us()),
                format!("{:.0}%", watched.process_us() * watched.rate / 1e4),
                number((watched.resets - watched.lines).max(0.0)),
                if subject.is_kreset() {
                    number(watched.lost)
                } else {
                    String::new()
                },
            ]);
        }
        series.push(Series {
            name: subject.to_string(),
            points,
        });
    }
    let plot = Plot {
        title: "CPU time of the process for each reset".to_owned(),
        x: "resets per second".to_owned(),
        y: "microseconds".to_owned(),
        series,
    };
    Ok((table.markdown(), plot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_read_from_the_events_that_tell_of_them() {
        let line = r#"{"schema":"kreset/1","type":"loss","source":"kernel","lost":17,"total":17}"#;
        assert_eq!(lost_in(line), Some(17));
        assert_eq!(lost_in(r#"{"type":"reset","lost":17}"#), None);
    }

    #[test]
    fn cost_is_shared_among_the_resets() {
        let watched = Watched {
            resets: 1_000.0,
            process: 0.005,
            makers: 0.001,
            ..Watched::default()
        };
        let values = watched.values();
        assert!((values[PROCESS] - 5.0).abs() < 1e-9);
        assert!((values[MAKERS] - 1.0).abs() < 1e-9);
        assert_eq!(watched.values().len(), METRICS.len());
    }
}
