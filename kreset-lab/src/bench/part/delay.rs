//! From the kernel's event to the line on standard output.

use std::{
    io::{ErrorKind, Read},
    process::{Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde::Deserialize;

use super::{Found, Setting};
use crate::{
    bench::{
        arena::TRACED,
        compare::number,
        workload::{abort, flood::Flood},
    },
    util::{child::Child, table::Table},
};

/// How long the tracer may take to attach, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Delays by the direction of the reset, ns.
struct Delays {
    sent: Histogram<u64>,
    received: Histogram<u64>,
}

pub(super) fn run(setting: &Setting) -> Result<Found> {
    let seconds = setting.time(Duration::from_secs(4)).as_secs_f64();
    let mut table = Table::new(&["resets", "lines", "p50 (ms)", "p99 (ms)", "longest (ms)"]);
    let mut row = |what: String, delays: &Histogram<u64>| {
        if delays.is_empty() {
            return;
        }
        let ms = |ns: u64| number(ns as f64 / 1e6);
        table.row([
            what,
            delays.len().to_string(),
            ms(delays.value_at_quantile(0.5)),
            ms(delays.value_at_quantile(0.99)),
            ms(delays.max()),
        ]);
    };
    for rate in [100.0, 1e4, 5e4] {
        let count = ((rate * seconds) as u32).max(100);
        let delays = measure(setting, || {
            let flood = Flood {
                port: TRACED,
                count,
                rate: Some(rate),
                sources: 1_000,
            };
            flood.run()
        })?;
        row(
            format!("sent, without a socket, {rate} a second"),
            &delays.sent,
        );
    }
    let aborts = measure(setting, || {
        abort::run(TRACED, (100.0 * seconds) as u32, 100.0)
    })?;
    row("sent by a socket, 100 a second".to_owned(), &aborts.sent);
    row("received, 100 a second".to_owned(), &aborts.received);
    Ok(Found::text(format!(
        "A received reset is held for 60 ms so that related events can be correlated (on a client's \
             host for 250 ms where a reconnect may decide), one that no socket sent for 10 ms or until \
             the end of the turn in which the ring is read. A line is there when the reader of the \
             pipe has it.\n\n{}",
        table.markdown()
    )))
}

fn measure(setting: &Setting, make: impl FnOnce() -> Result<Duration>) -> Result<Delays> {
    let mut command = Command::new(&setting.paths.tracer);
    command
        .args(["--port", &TRACED.to_string(), "--format", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut tracer = Child::spawn(&mut command)?;
    let out = tracer.0.stdout.take().context("its output is a pipe")?;
    let (attached, is_attached) = channel();
    let reader = thread::spawn(move || {
        let mut delays = Delays {
            sent: Histogram::new(3)?,
            received: Histogram::new(3)?,
        };
        arrivals(out, |line, now_ns| {
            let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
                return Ok(());
            };
            if line.kind == "start" {
                let _told = attached.send(());
            }
            match line.delay_ns(now_ns) {
                Some((true, delay)) => delays.sent.record(delay)?,
                Some((false, delay)) => delays.received.record(delay)?,
                None => {}
            }
            Ok(())
        })?;
        Ok(delays)
    });
    is_attached
        .recv_timeout(PATIENCE)
        .context("kreset-trace did not attach")?;
    make()?;
    // It drains and writes all that is waiting before it ends.
    tracer.signal(Signal::SIGINT)?;
    tracer.wait(PATIENCE)?;
    match reader.join() {
        Ok(delays) => delays,
        Err(_) => bail!("the reader panicked"),
    }
}

/// Calls `take` with each line and when it was there, ns since the epoch: when it was
/// read, whatever takes its time with the lines before it.
fn arrivals(mut from: impl Read, mut take: impl FnMut(&[u8], i128) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut line = Vec::new();
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("its output cannot be read"),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as i128;
        for part in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if line.ends_with(b"\n") {
                take(&line, now)?;
                line.clear();
            }
        }
    }
}

/// What is looked at of an event.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    time: &'a str,
    direction: Option<&'a str>,
}

impl Line<'_> {
    /// Of a reset: whether it was sent, and how long before `now_ns` (since the epoch).
    fn delay_ns(&self, now_ns: i128) -> Option<(bool, u64)> {
        if self.kind != "reset" {
            return None;
        }
        let at: Timestamp = self.time.parse().ok()?;
        let delay = (now_ns - at.as_nanosecond()).max(0);
        Some((self.direction? == "sent", u64::try_from(delay).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_reset_is_the_kernels() {
        let delay = |line| {
            serde_json::from_str::<Line<'_>>(line)
                .unwrap()
                .delay_ns(1_000_000_015)
        };
        let reset =
            r#"{"type":"reset","time":"1970-01-01T00:00:01.000000005Z","direction":"sent","id":1}"#;
        assert_eq!(delay(reset), Some((true, 10)));
        let summary = r#"{"type":"summary","time":"1970-01-01T00:00:01Z"}"#;
        assert_eq!(delay(summary), None);
    }

    #[test]
    fn lines_arrive_whole_however_they_are_cut() {
        let mut lines = Vec::new();
        let cut = (&b"one\ntw"[..]).chain(&b"o\nthree"[..]);
        arrivals(cut, |line, _| {
            lines.push(line.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(lines, [b"one\n", b"two\n"]);
    }
}
