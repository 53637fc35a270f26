//! Running several scenarios at once, since most of their time is silence.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Instant,
};

use crate::{
    Stop,
    report::Report,
    scenario::{Scenario, Settings},
};

/// What is told while scenarios run.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A scenario begins.
    Began(&'a Scenario),
    /// A scenario has ended.
    Ended(&'a Report),
}

/// Runs `scenarios`, `jobs` of them at once, and returns a report of each in the same order.
///
/// `tell` is called on the calling thread, as things happen. Once `stop` is requested no more
/// scenarios begin, and those not begun have no report.
pub fn run(
    scenarios: &[Scenario],
    jobs: NonZeroUsize,
    settings: &Settings,
    stop: &Stop,
    mut tell: impl FnMut(Progress<'_>),
) -> Vec<Report> {
    let queue = Mutex::new(scenarios.iter().enumerate());
    let (events, happened) = mpsc::channel();
    let mut reports = BTreeMap::new();
    thread::scope(|scope| {
        for _ in 0..jobs.get().min(scenarios.len()) {
            let (events, queue) = (events.clone(), &queue);
            scope.spawn(move || {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                // The receiver outlives this scope, so nothing sent is lost.
                while let (Some((number, scenario)), Ok(())) = (next(), stop.check()) {
                    let _sent = events.send((number, None));
                    let report = report(scenario, settings, stop);
                    let _sent = events.send((number, Some(report)));
                }
            });
        }
        drop(events);
        for (number, report) in happened {
            match report {
                None => tell(Progress::Began(&scenarios[number])),
                Some(report) => {
                    tell(Progress::Ended(&report));
                    reports.insert(number, report);
                }
            }
        }
    });
    reports.into_values().collect()
}

fn report(scenario: &Scenario, settings: &Settings, stop: &Stop) -> Report {
    let began = Instant::now();
    Report {
        name: scenario.name().to_owned(),
        about: scenario.about(),
        result: scenario.run(settings, stop),
        took: began.elapsed(),
    }
}
