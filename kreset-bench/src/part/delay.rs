//! From the kernel's event to the line on standard output.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use jiff::Timestamp;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::{Found, Setting};
use crate::{
    arena::TRACED,
    compare::number,
    document::Table,
    workload::{abort, flood::Flood},
};

/// The tracer with its output in a pipe; killed when dropped.
struct Piped(Child);

impl Drop for Piped {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

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
    Ok(Found {
        markdown: format!(
            "A received reset waits for 60 ms to be judged by the company it keeps; a sent one \
             does not.\n\n{}",
            table.markdown()
        ),
        plots: Vec::new(),
    })
}

fn measure(setting: &Setting, make: impl FnOnce() -> Result<Duration>) -> Result<Delays> {
    let child = Command::new(&setting.stage.tracer)
        .args(["--port", &TRACED.to_string(), "--format", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("kreset-trace did not start")?;
    let mut piped = Piped(child);
    let out = piped.0.stdout.take().context("its output is a pipe")?;
    let (attached, is_attached) = channel();
    let reader = thread::spawn(move || -> Result<Delays> {
        let mut delays = Delays {
            sent: Histogram::new(3)?,
            received: Histogram::new(3)?,
        };
        for line in BufReader::with_capacity(1 << 20, out).lines() {
            let line = line?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            if line.contains(r#""type":"start""#) {
                let _told = attached.send(());
            }
            if let Some((sent, at)) = reset(&line) {
                let delay = (now.as_nanos() as i128 - at).max(0) as u64;
                let histogram = if sent {
                    &mut delays.sent
                } else {
                    &mut delays.received
                };
                histogram.record(delay)?;
            }
        }
        Ok(delays)
    });
    is_attached
        .recv_timeout(Duration::from_secs(20))
        .context("kreset-trace did not attach")?;
    make()?;
    // It drains and tells all that is waiting before it ends.
    kill(Pid::from_raw(piped.0.id().cast_signed()), Signal::SIGINT)?;
    let until = Instant::now() + Duration::from_secs(20);
    while !reader.is_finished() {
        if Instant::now() > until {
            bail!("kreset-trace did not end");
        }
        thread::sleep(Duration::from_millis(1));
    }
    match reader.join() {
        Ok(delays) => delays,
        Err(_) => bail!("the reader panicked"),
    }
}

/// Whether a reset was sent, and when it happened, ns since the epoch. `None` of other events.
fn reset(line: &str) -> Option<(bool, i128)> {
    if !line.contains(r#""type":"reset""#) {
        return None;
    }
    let event: Value = serde_json::from_str(line).ok()?;
    let at: Timestamp = event.get("time")?.as_str()?.parse().ok()?;
    Some((event.get("direction")? == "sent", at.as_nanosecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_reset_is_the_kernels() {
        let line = r#"{"type":"reset","time":"1970-01-01T00:00:01.000000005Z","direction":"sent"}"#;
        assert_eq!(reset(line), Some((true, 1_000_000_005)));
        assert_eq!(reset(r#"{"type":"summary","time":"x"}"#), None);
    }
}
