//! Connections opened and closed.

use std::time::Duration;

use anyhow::Result;

use super::{
    Found, Setting, busy,
    traffic::{OWN, PEERS},
};
use crate::bench::{
    arena::TRACED,
    compare::{Comparison, Metric},
    subject::{Running, Subject},
    workload::churn,
};

const ROUNDS: usize = 12;
const ROUNDS_OF_ALL: usize = 3;
const TIME: Duration = Duration::from_millis(600);
const METRICS: [Metric; 2] = [
    Metric::plain("connections/s"),
    Metric::new("CPU time (us a connection)", 1e-6),
];

pub(super) fn run(setting: &Setting) -> Result<Found> {
    let time = setting.time(TIME);
    let sample = |subject: Subject, exchange: bool| {
        let running = Running::start(subject, &setting.paths, TRACED)?;
        let (rate, busy) = busy(&running, || churn::run(TRACED, time, exchange))?;
        running.finish()?;
        Ok(vec![rate, busy / rate])
    };
    let compare = |subjects: &[Subject], rounds, exchange| {
        Comparison::run(&METRICS, subjects, setting.rounds(rounds), |subject| {
            sample(subject, exchange)
        })
    };
    let exchanging = compare(&OWN, ROUNDS, true)?;
    let bare = compare(&OWN, ROUNDS, false)?;
    let peers = compare(&PEERS, ROUNDS_OF_ALL, true)?;
    Ok(Found::text(format!(
        "Connections that live for two requests and their answers, both ends on this \
             host:\n\n{}\nConnections that are closed as soon as they are open:\n\n{}\nThe \
             former, with what people use today:\n\n{}",
        exchanging.ratio_table(),
        bare.ratio_table(),
        peers.ratio_table(),
    )))
}
