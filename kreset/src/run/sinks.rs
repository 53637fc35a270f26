//! A run's sinks: started, reloaded, drained.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    classify::Config,
    delivery::{Delivery, Health, OnFailure, Sink, SinkError},
    run::{RunError, confine::Needs, options::Options, pipeline::Pipeline},
    sink::{HostSettings, SinkConfig},
    util::stderr::log,
};

/// How often a draining run checks whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Sinks that run.
#[derive(Debug)]
pub struct Sinks {
    /// Where events go.
    pub delivery: Delivery,
    /// What health checks read; the event loop updates it.
    pub health: Arc<Health>,
}

/// Sinks that are open, but have no thread yet.
pub struct Opened {
    sinks: Vec<(SinkConfig, Sink)>,
    health: Arc<Health>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.sinks.iter().map(|(sink, _)| &sink.name))
            .finish()
    }
}

/// Opens the sinks of a run: their files, spools, certificates.
///
/// # Errors
///
/// When one cannot be opened.
pub fn open(options: &Options) -> Result<Opened, SinkError> {
    let mut sinks = Vec::new();
    let health = Arc::default();
    let settings = HostSettings {
        spool: &options.spool,
        spool_size: options.spool_size,
        // A user waits for the output of a command; an agent runs unattended.
        on_failure: if options.configured.is_empty() {
            OnFailure::EndRun
        } else {
            OnFailure::Retry
        },
        health: &health,
    };
    for config in options.sinks() {
        let sink = config.open(&settings)?;
        sinks.push((config, sink));
    }
    Ok(Opened { sinks, health })
}

impl Opened {
    /// The rights that the sinks need, beside those of the event loop.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let mut sinks = self.sinks.iter();
        Needs {
            // Others than local ones connect or listen.
            network: sinks.any(|(_, sink)| !matches!(sink, Sink::Local { .. })),
            threads: true,
        }
    }

    /// Starts the sinks' threads.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started, or the address for metrics is not available.
    pub fn start(self) -> Result<Sinks, SinkError> {
        let mut delivery = Delivery::default();
        for (config, sink) in self.sinks {
            delivery
                .start(&config.name, config.filter, sink)
                .map_err(SinkError::Thread)?;
        }
        delivery.start_observers()?;
        Ok(Sinks {
            delivery,
            health: self.health,
        })
    }
}

/// What of a new configuration its reader applies itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// How often a summary is due; `None` for none.
    pub summary_interval: Option<Duration>,
}

/// Applies what may change of the configuration: filters, names, `event-limit`, `broker-max-idle`,
/// and what it returns.
///
/// `fresh` are the options of the same command line with the file as it is now, or why it is
/// rejected: then nothing changes, and `None` is returned.
pub fn reload(
    options: &Options,
    pipeline: &mut Pipeline,
    health: &Health,
    fresh: Result<Options, String>,
) -> Option<Reloaded> {
    health.reloaded(fresh.is_ok());
    let fresh = match fresh {
        Ok(fresh) => fresh,
        Err(error) => {
            for line in error.lines() {
                log(format_args!("{line}; the running configuration is kept"));
            }
            return None;
        }
    };
    pipeline.reconfigure(
        fresh.filter.clone(),
        fresh.naming(),
        fresh.event_limit,
        Config {
            broker_max_idle: fresh.broker_max_idle,
        },
    );
    let sinks = fresh.sinks();
    for sink in &sinks {
        pipeline
            .delivery_mut()
            .set_filter(&sink.name, sink.filter.clone());
    }
    for what in needs_restart(options, &fresh) {
        log(format_args!("changing {what} requires a restart"));
    }
    log(format_args!("configuration reloaded"));
    Some(Reloaded {
        summary_interval: fresh.summary_interval,
    })
}

/// The options that differ and require a restart.
fn needs_restart(old: &Options, new: &Options) -> Vec<&'static str> {
    let targets = |options: &Options| {
        let sinks = options.sinks();
        sinks
            .into_iter()
            .map(|sink| (sink.name, sink.target))
            .collect::<Vec<_>>()
    };
    [
        ("port", old.ports == new.ports),
        ("netns", old.netns == new.netns),
        (
            "max-connections",
            old.max_connections == new.max_connections,
        ),
        (
            "packet-evidence",
            old.packet_evidence == new.packet_evidence,
        ),
        ("require", old.require == new.require),
        ("spool", old.spool == new.spool),
        ("spool-size", old.spool_size == new.spool_size),
        ("drain", old.drain == new.drain),
        ("duration", old.duration == new.duration),
        ("count", old.count == new.count),
        (
            "the sinks, other than their filters,",
            targets(old) == targets(new),
        ),
    ]
    .into_iter()
    .filter_map(|(what, same)| (!same).then_some(what))
    .collect()
}

/// Writes what the sinks still have, for commands without an event loop of their own.
///
/// # Errors
///
/// When a sink fails whose failure ends the run, or the system refuses a loop.
pub fn drain_at_end(options: &Options, delivery: &mut Delivery) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|source| RunError::System {
            what: "cannot start the event loop",
            source,
        })?;
    let until = Instant::now() + options.drain;
    let drained = drain(options, delivery, until, false, std::future::pending());
    Ok(runtime.block_on(drained)?)
}

/// How long a run that was told to end waits for what its sinks have in memory.
///
/// On a starved machine a process may get no time to write what it has within any limit by the
/// clock, and what is in memory is lost when it ends. So it goes on while something is
/// written, within reason.
#[derive(Debug)]
struct Patience {
    /// It waits until then at least.
    until: Instant,
    /// And so long after a sink has taken an event.
    drain: Duration,
    /// When one did last.
    progress: Instant,
    /// What was left then.
    left: u64,
}

impl Patience {
    /// It ends this many times `--drain` after `until`, however slowly a reader reads: service
    /// managers kill after 30 s.
    const MOST: u32 = 3;

    fn new(until: Instant, drain: Duration, now: Instant) -> Self {
        Self {
            until,
            drain,
            // Whoever had no time before `until` has half of it still.
            progress: now.checked_sub(drain / 2).unwrap_or(now),
            left: u64::MAX,
        }
    }

    /// Whether it is over, with so many events in memory.
    fn is_over(&mut self, now: Instant, left: u64) -> bool {
        if left < self.left {
            // The first look only tells how many there are.
            if self.left != u64::MAX {
                self.progress = now;
            }
            self.left = left;
        }
        now >= self.until
            && (left == 0
                || now >= self.progress + self.drain
                || now >= self.until + Self::MOST * self.drain)
    }
}

/// Delivers the remaining events, and reports what is left.
///
/// Sinks with a spool have until `until` to reach their receivers. What is in memory is
/// written, to standard output, files and spools, for as long as it takes; if the run was
/// ended by a signal, or `hurry` completes, while something is written (`Patience`).
///
/// # Errors
///
/// When a sink fails whose failure ends the run.
pub async fn drain(
    options: &Options,
    delivery: &mut Delivery,
    until: Instant,
    by_signal: bool,
    hurry: impl Future<Output = ()>,
) -> Result<(), SinkError> {
    delivery.stop_remote_at(until);
    let hurried = |until| Patience::new(until, options.drain, Instant::now());
    let mut patience = by_signal.then(|| hurried(until));
    let mut hurry = std::pin::pin!(hurry);
    let is_over = |delivery: &mut Delivery, patience: &mut Option<Patience>| {
        let all_ended = delivery.close() && delivery.has_ended();
        let left = delivery.in_memory();
        let impatient = patience.as_mut();
        all_ended || impatient.is_some_and(|it| it.is_over(Instant::now(), left))
    };
    while !is_over(delivery, &mut patience) {
        tokio::select! {
            () = &mut hurry, if patience.is_none() => {
                patience = Some(hurried(Instant::now() + options.drain));
            }
            () = sleep(LOOK_EVERY) => {}
        }
    }
    for (name, left) in delivery.left() {
        if left.dropped > 0 {
            log(format_args!(
                "sink {name}: {} events were dropped: they could not be written within {:?}",
                left.dropped, options.drain
            ));
        }
        if left.spooled > 0 {
            log(format_args!(
                "sink {name}: {} events stay in its spool for the next run",
                left.spooled
            ));
        }
    }
    delivery.take_failure().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Duration = Duration::from_secs(5);

    /// When it is over, looking ten times a second from `began` seconds after the signal on, with
    /// what is in memory by the time since the signal.
    fn over(began: u32, left: impl Fn(Duration) -> u64) -> Duration {
        let signal = Instant::now();
        let mut since = Duration::from_secs(began.into());
        let mut patience = Patience::new(signal + DRAIN, DRAIN, signal + since);
        while !patience.is_over(signal + since, left(since)) {
            since += Duration::from_millis(100);
        }
        since
    }

    #[test]
    fn a_sink_that_takes_nothing_is_given_up_in_time() {
        assert_eq!(over(0, |_| 3), DRAIN);
        assert_eq!(over(2, |_| 3), DRAIN);
    }

    #[test]
    fn a_run_without_time_to_write_until_then_still_writes() {
        // The last batches of the kernel's buffer alone took longer than `drain`.
        let left = |since: Duration| u64::from(since < Duration::from_secs(9)) * 250;
        assert_eq!(over(8, left), Duration::from_secs(9));
    }

    #[test]
    fn it_goes_on_while_something_is_written_and_no_longer_than_service_managers_wait() {
        let until = |secs| move |since: Duration| Duration::from_secs(secs).saturating_sub(since);
        let seconds = |left: Duration| left.as_secs_f64().ceil() as u64;
        assert_eq!(
            over(1, |it| seconds(until(12)(it))),
            Duration::from_secs(12)
        );
        assert_eq!(over(1, |it| seconds(until(90)(it))), 4 * DRAIN);
        // It stops at six.
        let stuck = |it: Duration| seconds(until(12)(it).max(Duration::from_secs(6)));
        assert_eq!(over(1, stuck), Duration::from_secs(6) + DRAIN);
    }
}
