//! How long each phase of a command took.

use std::{
    fmt, fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// Of the times in `/proc/PID/stat`: `USER_HZ` is 100 on all architectures that programs are made
/// for here.
const TICKS_PER_SECOND: u64 = 100;

/// The phases so far.
#[derive(Default)]
pub(crate) struct Phases(Vec<Phase>);

struct Phase {
    name: &'static str,
    took: Duration,
    processor: Duration,
}

impl Phases {
    /// Runs a phase and records how long it took, whatever becomes of it.
    pub(crate) fn run<T>(
        &mut self,
        name: &'static str,
        phase: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let (began, before) = (Instant::now(), of_children()?);
        let outcome = phase();
        self.0.push(Phase {
            name,
            took: began.elapsed(),
            processor: of_children()?.saturating_sub(before),
        });
        outcome
    }
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22} {:>7} {:>12}", "phase", "seconds", "of processor")?;
        let mut line = |name: &str, took: Duration, processor: Duration| {
            let (took, processor) = (took.as_secs(), processor.as_secs());
            writeln!(f, "{name:<22} {took:>7} {processor:>12}")
        };
        for phase in &self.0 {
            line(phase.name, phase.took, phase.processor)?;
        }
        let sum = |of: fn(&Phase) -> Duration| self.0.iter().map(of).sum();
        line("all", sum(|phase| phase.took), sum(|phase| phase.processor))
    }
}

/// The processor time of all processes that this one has waited for, and that they have.
fn of_children() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    times_in(&stat).with_context(|| format!("no times in /proc/self/stat: {stat}"))
}

/// `cutime` and `cstime`, see proc(5).
fn times_in(stat: &str) -> Option<Duration> {
    // The name before it may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    // The first of these fields is the third.
    let mut fields = fields.split_whitespace().skip(16 - 3);
    let mut next = || fields.next()?.parse::<u64>().ok();
    let ticks = next()? + next()?;
    Some(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn the_times_of_children_are_read() {
        let stat = "99 (a ) b) S 1 99 99 0 -1 4194560 2500 800 0 0 7 9 1234 66 20 0 1 0 600 1 2";
        assert_eq!(times_in(stat), Some(Duration::from_secs(13)));
        assert_eq!(times_in("99 (a) S 1"), None);
    }

    #[test]
    fn a_phase_that_fails_is_listed_too() {
        let mut phases = Phases::default();
        phases.run("first", || Ok(())).expect("nothing fails");
        phases
            .run::<()>("second", || bail!("wrong"))
            .expect_err("what failed is passed on");
        let shown = phases.to_string();
        let names: Vec<_> = shown
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert_eq!(names, ["phase", "first", "second", "all"]);
    }
}
