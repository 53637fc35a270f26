//! Apache Kafka with its own load generators, which run on while subjects come and go: a JVM that
//! has warmed up differs from one that has not by more than any tracer could cost.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    PORT, Stop,
    kafka::{
        broker::{self, Plan, Protocol},
        home::Home,
        scratch::Scratch,
    },
    util::{child::Child, feed::Feed},
};
use anyhow::{Context as _, Result, bail};

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
    children: Vec<Child>,
    produced: Printed,
    consumed: Printed,
    // Removed last.
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

/// What a program prints, with when it was read.
type Printed = Feed<(Instant, String)>;

fn listen(printed: &Printed, out: impl Read + Send + 'static) {
    let printed = printed.clone();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            printed.push((Instant::now(), line));
        }
        printed.end();
    });
}

fn wait_for(printed: &Printed, what: &str) -> Result<()> {
    let waited = printed.wait_until(what, PATIENCE, &Stop::default(), |lines| {
        let found = lines.kept.iter().any(|(_, line)| line.contains(what));
        (found || lines.ended).then_some(found)
    });
    if waited? {
        return Ok(());
    }
    let last = printed.all().pop().map(|(_, line)| line);
    bail!(
        "no {what:?}; the last line printed: {}",
        last.unwrap_or_default()
    );
}

/// The mean of what `read` finds in lines about an interval after `from`. On a busy machine none
/// may have ended yet: then of the first one that does.
fn mean(printed: &Printed, from: Instant, read: impl Fn(&str) -> Option<f64>) -> Result<f64> {
    let mean = printed.wait_until("an interval", PATIENCE, &Stop::default(), |lines| {
        let fresh = lines.kept.iter().filter(|(at, _)| *at > from);
        let intervals: Vec<f64> = fresh.filter_map(|(_, line)| read(line)).collect();
        // The interval that was under way does not count.
        match intervals.get(1..) {
            Some(values @ [_, ..]) => Some(Some(values.iter().sum::<f64>() / values.len() as f64)),
            _ => lines.ended.then_some(None),
        }
    });
    mean?.context("a part of the Kafka load reports nothing any more")
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
        let mut kafka = Self {
            children: Vec::new(),
            produced: Printed::default(),
            consumed: Printed::default(),
            scratch,
        };
        let server = Printed::default();
        let command = broker::command(&home, &kafka.scratch, &plan)?;
        kafka.run(command, &server)?;
        wait_for(&server, "Kafka Server started")?;

        let mut producer = home.java("-Xmx256m")?;
        producer
            .arg("org.apache.kafka.tools.ProducerPerformance")
            .args(["--topic", TOPIC, "--bootstrap-server", &bootstrap])
            .args(["--num-records", "1000000000", "--record-size", "100"])
            .args(["--throughput", "-1", "--reporting-interval", INTERVAL])
            // A small buffer: a record must not wait for seconds before it is sent.
            .args(["--command-property", "acks=1", "buffer.memory=2097152"]);
        let produced = kafka.produced.clone();
        kafka.run(producer, &produced)?;
        wait_for(&produced, "records sent")?;

        let mut consumer = home.java("-Xmx256m")?;
        consumer
            .arg("org.apache.kafka.tools.ConsumerPerformance")
            .args(["--topic", TOPIC, "--bootstrap-server", &bootstrap])
            .args(["--num-records", "1000000000", "--timeout", "60000"])
            .args(["--show-detailed-stats", "--hide-header"])
            .args(["--reporting-interval", INTERVAL, "--from-latest"]);
        let consumed = kafka.consumed.clone();
        kafka.run(consumer, &consumed)?;
        wait_for(&consumed, ", ")?;
        thread::sleep(WARM);
        Ok(kafka)
    }

    fn run(&mut self, mut command: Command, printed: &Printed) -> Result<()> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = Child::spawn(&mut command)?;
        listen(
            printed,
            child.0.stdout.take().context("its output is a pipe")?,
        );
        listen(
            printed,
            child.0.stderr.take().context("its complaints are a pipe")?,
        );
        self.children.push(child);
        Ok(())
    }

    /// How it goes for `time` from now on.
    pub fn watch(&mut self, time: Duration) -> Result<Flow> {
        let from = Instant::now();
        thread::sleep(time);
        for child in &mut self.children {
            if let Some(status) = child.ended()? {
                bail!("a part of the Kafka load ended with {status}");
            }
        }
        Ok(Flow {
            produced: mean(&self.produced, from, |line| before(line, "records/sec"))?,
            latency_ms: mean(&self.produced, from, |line| before(line, "ms avg latency"))?,
            consumed: mean(&self.consumed, from, consumed)?,
        })
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // The broker last: without it the others would complain.
        while self.children.pop().is_some() {}
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

    #[test]
    fn a_window_in_which_nothing_was_reported_is_no_zero() {
        let printed = Printed::default();
        let from = Instant::now();
        let print = |line: &str| {
            printed.push((Instant::now(), line.to_owned()));
        };
        // Under way when the window began.
        print("9");
        let found = thread::scope(|scope| {
            let found = scope.spawn(|| mean(&printed, from, |line| line.parse().ok()));
            print("a warning");
            print("4");
            found.join()
        });
        assert!((found.unwrap().unwrap() - 4.0).abs() < 1e-9);
        printed.end();
        let silent = mean(&printed, Instant::now(), |_| Some(1.0)).unwrap_err();
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
