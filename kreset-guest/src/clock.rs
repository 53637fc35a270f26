//! A clock that steps: silences and ages are as they were, and events have the
//! time that it is then.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};
use kreset_lab::Moment;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use crate::{
    ends::{self, Ends},
    say, tracer,
};

const PORT: u16 = 9_118;
const HOUR: i64 = 3_600;
/// Between any two steps.
const PART: Duration = Duration::from_millis(1_500);
/// A guest's processor is emulated, and shared with whatever runs beside it.
const TOLERANCE_MS: f64 = 700.0;
const TIMELY: Duration = Duration::from_secs(2);

/// Steps it an hour back and a day ahead within one silence.
pub(crate) fn steps() -> Result<()> {
    let Ok(tracer) = tracer::start(tracer::command())? else {
        say(&["limit", "a clock that steps", "WRONG", "it does not start"]);
        return Ok(());
    };
    let ends = Ends::connect(PORT, false)?.greet()?;
    let client = ends.port()?;
    let mut lost = ends.lose()?;
    thread::sleep(PART);
    step(-HOUR)?;
    thread::sleep(PART);
    step(25 * HOUR)?;
    thread::sleep(PART);
    lost.send()?;
    ends::reset(&lost.client)?;
    let now = Moment::now();
    let event = tracer::wait_for(&tracer, Duration::from_secs(10), |event| {
        tracer::is_of_client(event, client)
    });
    let line = event.map(|event| event.line).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
    let connection = &json["connection"];
    // `lose` waits for 300 ms.
    let silence = (3.0 * PART.as_secs_f64()).mul_add(1_000.0, 300.0);
    let is_near = |field: &str| {
        connection[field]
            .as_f64()
            .is_some_and(|ms| (ms - silence).abs() < TOLERANCE_MS)
    };
    let right = is_near("wire_idle_ms")
        && is_near("age_ms")
        && json["verdict"] == "broker_originated"
        && off_by(&json["time"], now).is_some_and(|off| off < TIMELY);
    let outcome = if right { "ok" } else { "WRONG" };
    let found = format!(
        "wire idle {} ms, age {} ms, time off by {:?}",
        connection["wire_idle_ms"],
        connection["age_ms"],
        off_by(&json["time"], now)
    );
    say(&["limit", "a clock that steps", outcome, &found]);
    step(-24 * HOUR)?;
    let _summary = tracer::end(tracer)?;
    Ok(())
}

fn step(seconds: i64) -> Result<()> {
    let now = clock_gettime(ClockId::Realtime);
    let then = Timespec {
        tv_sec: now.tv_sec + seconds,
        tv_nsec: now.tv_nsec,
    };
    clock_settime(ClockId::Realtime, then).context("step the clock")
}

/// How far the time of an event is from `now`, either way.
fn off_by(time: &serde_json::Value, now: Moment) -> Option<Duration> {
    let reported = Moment::parse(time.as_str()?)?;
    Some(now.since(reported).max(reported.since(now)))
}
