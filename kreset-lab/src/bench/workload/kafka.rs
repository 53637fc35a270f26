//! Apache Kafka with its own load generators, which run on while subjects come and go: a JVM that
//! has warmed up differs from one that has not by more than any tracer could cost.

use std::{process::Command, thread, time::Duration};

use crate::{
    Moment, PORT, Stop,
    kafka::{
        broker::{self, Plan, Protocol},
        home::Home,
        process::Process,
        scratch::Scratch,
    },
    util::journal::{Journal, Log},
};
use anyhow::{Context as _, Result};

/// The broker's port, which is to be traced.
pub const TRACED: u16 = PORT;
const TOPIC: &str = "load";
/// How often the generators report.
const INTERVAL: &str = "250";
const PATIENCE: Duration = Duration::from_mins(1);
/// Records before anything is measured: compilers have had their time then.
const WARM: Duration = Duration::from_secs(6);

/// A broker, a producer and a consumer; ended when dropped.
#[derive(Debug)]
pub struct Kafka {
    // The broker last: without it the others would complain.
    producer: Process,
    consumer: Process,
    broker: Process,
    // Removed last.
    #[expect(dead_code, reason = "held for its Drop")]
    scratch: Scratch,
}

/// What one interval of the load came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flow {
    /// Records a second that the broker has acknowledged.
    pub produced: f64,
    /// Their mean latency, ms.
    pub latency_ms: f64,
    /// MB a second that the consumer has read.
    pub consumed: f64,
}

/// Starts a part of the load, and waits until it prints `words`.
fn start(mut command: Command, name: &str, words: &str) -> Result<Process> {
    let log = Journal::default().open(name);
    let mut process = Process::spawn(&mut command, log, Stop::default())?;
    process.wait_for(words, 0, PATIENCE, |line| line.contains(words))?;
    Ok(process)
}

/// The mean of what `read` finds in lines about an interval after `from`. On a busy machine none
/// may have ended yet: then of the first one that does. `lives` fails once no more can come.
fn mean(
    log: &Log,
    from: Moment,
    read: impl Fn(&str) -> Option<f64>,
    mut lives: impl FnMut() -> crate::Result<()>,
) -> Result<f64> {
    let mean = Stop::default().until("an interval", PATIENCE, Stop::GLANCE, || {
        let lines = log.lines();
        let fresh = lines.iter().filter(|line| line.at > from);
        let intervals: Vec<f64> = fresh.filter_map(|line| read(&line.text)).collect();
        // The interval that was under way does not count.
        match intervals.get(1..) {
            Some(values @ [_, ..]) => Ok(Some(values.iter().sum::<f64>() / values.len() as f64)),
            _ => lives().map(|()| None),
        }
    });
    mean.context("a part of the Kafka load reports nothing any more")
}

impl Kafka {
    /// Starts all three, and lets them warm up.
    pub fn start() -> Result<Self> {
        let home = Home::find()?;
        let scratch = Scratch::new()?;
        let plan = Plan::new(Protocol::Plaintext)
            .with("log.retention.bytes", 256 << 20)
            .with("log.retention.check.interval.ms", 1_000)
            .with("log.segment.delete.delay.ms", 100);
        let bootstrap = format!("{}:{PORT}", plan.address());
        let command = broker::command(&home, &scratch, &plan)?;
        let broker = start(command, "broker", "Kafka Server started")?;
        let mut producer = home.java("-Xmx256m")?;
        producer
            .arg("org.apache.kafka.tools.ProducerPerformance")
            .args(["--topic", TOPIC, "--bootstrap-server", &bootstrap])
            .args(["--num-records", "1000000000", "--record-size", "100"])
            .args(["--throughput", "-1", "--reporting-interval", INTERVAL])
            // A small buffer: a record must not wait for seconds before it is sent.
            .args(["--command-property", "acks=1", "buffer.memory=2097152"]);
        let producer = start(producer, "producer", "records sent")?;

        let mut consumer = home.java("-Xmx256m")?;
        consumer
            .arg("org.apache.kafka.tools.ConsumerPerformance")
            .args(["--topic", TOPIC, "--bootstrap-server", &bootstrap])
            .args(["--num-records", "1000000000", "--timeout", "60000"])
            .args(["--show-detailed-stats", "--hide-header"])
            .args(["--reporting-interval", INTERVAL, "--from-latest"]);
        let consumer = start(consumer, "consumer", ", ")?;
        thread::sleep(WARM);
        Ok(Self {
            producer,
            consumer,
            broker,
            scratch,
        })
    }

    /// How it goes for `time` from now on.
    pub fn watch(&mut self, time: Duration) -> Result<Flow> {
        let from = Moment::now();
        thread::sleep(time);
        for part in [&mut self.broker, &mut self.producer, &mut self.consumer] {
            part.lives()?;
        }
        let of = |part: &mut Process, read: &dyn Fn(&str) -> Option<f64>| {
            mean(&part.log().clone(), from, read, || part.lives())
        };
        Ok(Flow {
            produced: of(&mut self.producer, &|line| before(line, "records/sec"))?,
            latency_ms: of(&mut self.producer, &|line| before(line, "ms avg latency"))?,
            consumed: of(&mut self.consumer, &consumed)?,
        })
    }
}

/// The number before `unit`, as in `12 records sent, 3.0 records/sec`.
fn before(line: &str, unit: &str) -> Option<f64> {
    let (head, _) = line.split_once(unit)?;
    head.split_whitespace().next_back()?.parse().ok()
}

/// MB a second: the fourth column that the consumer prints.
fn consumed(line: &str) -> Option<f64> {
    line.split(", ").nth(3)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn a_window_in_which_nothing_was_reported_is_no_zero() {
        let log = Journal::default().open("producer");
        let from = Moment::now();
        // Under way when the window began.
        log.write("9");
        let found = thread::scope(|scope| {
            let found = scope.spawn(|| mean(&log, from, |line| line.parse().ok(), || Ok(())));
            log.write("a warning");
            log.write("4");
            found.join()
        });
        assert!((found.unwrap().unwrap() - 4.0).abs() < 1e-9);
        let ended = || Err(Error::Staging("it ended".to_owned()));
        let silent = mean(&log, Moment::now(), |_| Some(1.0), ended).unwrap_err();
        assert!(silent.to_string().contains("reports nothing"), "{silent}");
    }

    #[test]
    fn what_the_generators_print_is_read() {
        let line = "50004 records sent, 200016.0 records/sec (19.07 MB/sec), 4.6 ms avg latency, \
                    12.0 ms max latency.";
        assert_eq!(before(line, "records/sec"), Some(200_016.0));
        assert_eq!(before(line, "ms avg latency"), Some(4.6));
        assert_eq!(before("SLF4J: no provider", "records/sec"), None);
        let line = "2026-11-25 22:43:33:120, 0, 19.07, 76.29, 200000, 800000.0000, 0, 250, 0, 0";
        assert_eq!(consumed(line), Some(76.29));
        assert_eq!(consumed("WARNING: something"), None);
    }
}
