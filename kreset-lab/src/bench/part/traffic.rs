//! Requests and answers, and bulk transfer: what watching costs those who have no resets.

use std::time::Duration;

use anyhow::Result;

use super::{Found, Setting, busy};
use crate::bench::{
    arena::TRACED,
    compare::{Comparison, Metric},
    subject::{Running, Subject},
    workload::{bulk, exchange::Exchange},
};

/// Connections that two processors are busy with.
const CONNECTIONS: u16 = 64;
const ROUNDS: usize = 12;
const ROUNDS_OF_ALL: usize = 3;
const TIME: Duration = Duration::from_millis(600);

const EXCHANGE: [Metric; 4] = [
    Metric::plain("answers/s"),
    Metric::new("CPU time (us an answer)", 1e-6),
    Metric::new("p50 (us)", 1e3),
    Metric::new("p99 (us)", 1e3),
];
const BULK: [Metric; 2] = [
    Metric::new("MB/s", 1e6),
    Metric::new("CPU time (us a MB)", 1e-12),
];

/// kreset with its options, programs that return at once, and twice no tracer.
pub(super) const OWN: [Subject; 6] = [
    Subject::Off,
    Subject::OffAgain,
    Subject::Floor,
    Subject::Kreset,
    Subject::KresetWithoutPackets,
    Subject::KresetElsewhere,
];
/// What people use today.
pub(super) const PEERS: [Subject; 6] = [
    Subject::Off,
    Subject::Kreset,
    Subject::Tcpdump,
    Subject::Bpftrace,
    Subject::Tcpstates,
    Subject::Tcplife,
];

pub(super) fn run(setting: &Setting) -> Result<Found> {
    let time = setting.time(TIME);
    let exchange = |subject| {
        let running = Running::start(subject, &setting.paths, TRACED)?;
        let exchange = Exchange {
            port: TRACED,
            connections: CONNECTIONS,
            time,
            rate: None,
        };
        let (exchanged, busy) = busy(&running, || exchange.run())?;
        running.finish()?;
        let quantile = |share| exchanged.latency.value_at_quantile(share) as f64;
        Ok(vec![
            exchanged.per_second,
            busy / exchanged.per_second,
            quantile(0.5),
            quantile(0.99),
        ])
    };
    let bulk = |subject| {
        let running = Running::start(subject, &setting.paths, TRACED)?;
        let (rate, busy) = busy(&running, || bulk::run(TRACED, time))?;
        running.finish()?;
        Ok(vec![rate, busy / rate])
    };
    let own = Comparison::run(&EXCHANGE, &OWN, setting.rounds(ROUNDS), exchange)?;
    let peers = Comparison::run(&EXCHANGE, &PEERS, setting.rounds(ROUNDS_OF_ALL), exchange)?;
    let bulk = Comparison::run(&BULK, &OWN, setting.rounds(ROUNDS), bulk)?;
    let markdown = format!(
        "{CONNECTIONS} connections, one small request of Kafka's at a time on each, both ends on \
         this host:\n\n{}\nWith what people use today:\n\n{}\nOne connection that carries as much \
         as goes:\n\n{}",
        own.ratio_table(),
        peers.ratio_table(),
        bulk.ratio_table(),
    );
    Ok(Found::text(markdown))
}
