//! Apache Kafka, producing and consuming.

use std::time::Duration;

use anyhow::Result;

use super::{Found, Setting, traffic::OWN};
use crate::bench::{
    compare::{Comparison, Metric},
    subject::Running,
    workload::kafka::{Kafka, TRACED},
};

const ROUNDS: usize = 6;
const TIME: Duration = Duration::from_secs(2);

const METRICS: [Metric; 3] = [
    Metric::plain("records/s"),
    Metric::plain("mean latency (ms)"),
    Metric::plain("consumed (MB/s)"),
];

pub(super) fn run(setting: &Setting) -> Result<Found> {
    let mut kafka = match Kafka::start() {
        Ok(kafka) => kafka,
        Err(error) => {
            return Ok(Found::text(format!("Not measured: {error:#}.")));
        }
    };
    let time = setting.time(TIME);
    let comparison = Comparison::run(&METRICS, &OWN, setting.rounds(ROUNDS), |subject| {
        let running = Running::start(subject, &setting.paths, TRACED)?;
        let flow = kafka.watch(time)?;
        running.finish()?;
        Ok(vec![flow.produced, flow.latency_ms, flow.consumed])
    })?;
    Ok(Found::text(format!(
        "One broker, Kafka's own producer (records of 100 bytes, `acks=1`) and consumer, all \
             on this host:\n\n{}",
        comparison.ratio_table()
    )))
}
