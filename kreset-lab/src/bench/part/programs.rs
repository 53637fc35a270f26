//! Nanoseconds of each program in the kernel, and what they come to per packet.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use aya::sys::{Stats, enable_stats};

use super::{Found, Setting};
use crate::bench::{
    arena::TRACED,
    compare::number,
    plot::{Plot, Series},
    subject::{Running, Subject},
    workload::{abort, churn, exchange::Exchange, flood::Flood},
};
use crate::util::process::{ProgramRuns, since};
use crate::util::table::Table;

const TIME: Duration = Duration::from_secs(1);
/// Requests a second.
const RATES: [f64; 5] = [100.0, 1e3, 3e3, 1e4, 3e4];
const CONNECTIONS: u16 = 64;
const SUBJECTS: [Subject; 3] = [
    Subject::Kreset,
    Subject::KresetElsewhere,
    Subject::KresetWithoutPackets,
];

/// What `work` has made the programs of `subject` do, and the process.
fn observe(
    setting: &Setting,
    subject: Subject,
    work: impl FnOnce() -> Result<()>,
) -> Result<(Vec<ProgramRuns>, Duration)> {
    let running = Running::start(subject, &setting.paths, TRACED)?;
    let observed = running.holder().context("it holds programs")?;
    running.settle()?;
    let (programs, cpu) = (observed.programs()?, observed.cpu()?);
    work()?;
    running.settle()?;
    let runs = since(&programs, &observed.programs()?);
    let cpu = observed.cpu()?.saturating_sub(cpu);
    running.finish()?;
    Ok((runs, cpu))
}

pub(super) fn run(setting: &Setting) -> Result<Found> {
    let _counting = enable_stats(Stats::RunTime).context("no statistics of BPF programs")?;
    let time = setting.time(TIME);
    let exchange = |rate| Exchange {
        port: TRACED,
        connections: CONNECTIONS,
        time,
        rate,
    };
    type Work<'a> = Box<dyn Fn() -> Result<()> + 'a>;
    let works: [(&str, Subject, Work<'_>); 7] = [
        (
            "requests, programs that return at once",
            Subject::Floor,
            Box::new(|| exchange(None).run().map(drop)),
        ),
        (
            "short connections, programs that return at once",
            Subject::Floor,
            Box::new(|| churn::run(TRACED, time, true).map(drop)),
        ),
        (
            "requests on the traced port",
            Subject::Kreset,
            Box::new(|| exchange(None).run().map(drop)),
        ),
        (
            "requests on another port",
            Subject::KresetElsewhere,
            Box::new(|| exchange(None).run().map(drop)),
        ),
        (
            "short connections",
            Subject::Kreset,
            Box::new(|| churn::run(TRACED, time, true).map(drop)),
        ),
        (
            "aborted connections",
            Subject::Kreset,
            Box::new(|| abort::run(TRACED, setting.count(5_000), 5_000.0).map(drop)),
        ),
        (
            "segments to a closed port",
            Subject::Kreset,
            Box::new(|| {
                let flood = Flood {
                    port: TRACED,
                    count: setting.count(50_000),
                    rate: Some(20_000.0),
                    sources: 1_000,
                };
                flood.run().map(drop)
            }),
        ),
    ];
    let mut columns: Vec<&str> = vec!["program"];
    columns.extend(works.iter().map(|(name, ..)| *name));
    let mut cells: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (number, (_, subject, work)) in works.iter().enumerate() {
        for runs in observe(setting, *subject, work)?.0 {
            let row = cells.entry(runs.name.clone()).or_default();
            row.resize(number, String::new());
            row.push(nanoseconds(&runs));
        }
    }
    let mut table = Table::new(&columns);
    for (name, row) in cells {
        table.row(std::iter::once(format!("`{name}`")).chain(row));
    }
    let (rates, plot) = rates(setting, exchange)?;
    Ok(Found {
        markdown: format!(
            "Nanoseconds a run, and runs, by the kernel's own count (`BPF_ENABLE_STATS`, which \
             adds its own time to each):\n\n{}\nThe share of one CPU that kreset takes while \
             requests are answered:\n\n{rates}\n\
             ![CPU time against packets per second](performance/packets.svg)\n",
            table.markdown()
        ),
        plots: vec![("packets.svg", plot)],
    })
}

fn nanoseconds(runs: &ProgramRuns) -> String {
    if runs.count == 0 {
        return "-".to_owned();
    }
    let each = runs.time.as_nanos() as f64 / runs.count as f64;
    format!("{} ({})", number(each), runs.count)
}

/// What kreset takes of one CPU at more and more requests a second.
fn rates(setting: &Setting, exchange: impl Fn(Option<f64>) -> Exchange) -> Result<(String, Plot)> {
    let mut table = Table::new(&["who watches", "requests/s", "packets/s seen", "of one CPU"]);
    let mut series = Vec::new();
    for subject in SUBJECTS {
        let mut points = Vec::new();
        for rate in RATES {
            let mut reached = 0.0;
            let (runs, cpu) = observe(setting, subject, || {
                reached = exchange(Some(rate)).run()?.per_second;
                Ok(())
            })?;
            let seconds = setting.time(TIME).as_secs_f64();
            let kernel: Duration = runs.iter().map(|runs| runs.time).sum();
            let share = (kernel + cpu).as_secs_f64() / seconds;
            // A request and an answer, each of which leaves one socket and comes to another.
            let packets = reached * 4.0;
            points.push((packets, share * 100.0));
            table.row([
                subject.to_string(),
                number(reached),
                number(packets),
                format!("{:.3}%", share * 100.0),
            ]);
        }
        series.push(Series {
            name: subject.to_string(),
            points,
        });
    }
    let plot = Plot {
        title: "CPU time while requests are answered".to_owned(),
        x: "packets per second".to_owned(),
        y: "percent of one CPU".to_owned(),
        series,
    };
    Ok((table.markdown(), plot))
}
