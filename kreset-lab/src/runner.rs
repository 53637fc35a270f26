//! Running several scenarios at once, since most of their time is silence.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{
        Mutex,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    Status, Stop,
    case::{Scenario, Settings},
    report::Report,
    util::lock::lock,
};

/// What is reported while scenarios run.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A scenario begins.
    Began(&'a Scenario),
    /// A scenario has ended.
    Ended(&'a Report),
    /// Nothing has begun or ended for [`LONG`]: these are under way.
    Waiting(&'a [UnderWay]),
}

/// A scenario that has begun and not ended.
#[derive(Debug)]
pub struct UnderWay {
    /// The scenario's name.
    pub name: String,
    /// What it is doing, and for how long already.
    pub activity: String,
}

/// After this long without news, the runner shows what is under way.
pub const LONG: Duration = Duration::from_secs(10);

/// Runs `scenarios`, `jobs` of them at once, and returns a report of each in the same order.
///
/// `show` is called on the calling thread, as things happen. Once `stop` is requested no more
/// scenarios begin, and those not begun have no report.
pub fn run(
    scenarios: &[Scenario],
    jobs: NonZeroUsize,
    settings: &Settings,
    stop: &Stop,
    mut show: impl FnMut(Progress<'_>),
) -> Vec<Report> {
    let queue = Mutex::new(scenarios.iter().enumerate());
    let mut under_way: BTreeMap<usize, Status> = BTreeMap::new();
    let (events, happened) = mpsc::channel();
    let mut reports = BTreeMap::new();
    thread::scope(|scope| {
        for _ in 0..jobs.get().min(scenarios.len()) {
            let (events, queue) = (events.clone(), &queue);
            scope.spawn(move || {
                let next = || lock(queue).next();
                // The receiver outlives this scope, so nothing sent is lost.
                while let (Some((number, scenario)), Ok(())) = (next(), stop.check()) {
                    let status = Status::default();
                    let _sent = events.send((number, Event::Began(status.clone())));
                    let report = report(scenario, settings, stop, &status);
                    let _sent = events.send((number, Event::Ended(Box::new(report))));
                }
            });
        }
        drop(events);
        loop {
            match happened.recv_timeout(LONG) {
                Ok((number, Event::Began(status))) => {
                    show(Progress::Began(&scenarios[number]));
                    under_way.insert(number, status);
                }
                Ok((number, Event::Ended(report))) => {
                    under_way.remove(&number);
                    show(Progress::Ended(&report));
                    reports.insert(number, *report);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let waiting = |(number, status): (&usize, &Status)| UnderWay {
                        name: scenarios[*number].name().to_owned(),
                        activity: status.line().unwrap_or_default(),
                    };
                    let all: Vec<_> = under_way.iter().map(waiting).collect();
                    show(Progress::Waiting(&all));
                }
                // All scenarios and all workers have ended.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    reports.into_values().collect()
}

/// What the threads that run scenarios report.
enum Event {
    Began(Status),
    Ended(Box<Report>),
}

fn report(scenario: &Scenario, settings: &Settings, stop: &Stop, status: &Status) -> Report {
    let began = Instant::now();
    Report {
        name: scenario.name().to_owned(),
        about: scenario.about(),
        result: scenario.run(settings, stop, status),
        took: began.elapsed(),
    }
}
