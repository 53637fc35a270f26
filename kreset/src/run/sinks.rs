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

/// Applies what may change of the configuration.
///
/// That is filters, `broker-max-idle`, and the returned interval of summaries. `fresh` are the options of the same command line with
/// the file as it is now, or why it is rejected.
pub fn reload(
    options: &Options,
    pipeline: &mut Pipeline,
    health: &Health,
    fresh: Result<Options, String>,
) -> Option<Duration> {
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
    fresh.summary_interval
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

/// Delivers the remaining events, and reports what is left.
///
/// Sinks with a spool have until `until` for it. Standard output and files have
/// unlimited time, unless the run was ended by a signal or `hurry` completes, which
/// gives them `--drain` more.
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
    let mut until = by_signal.then_some(until);
    let mut hurry = std::pin::pin!(hurry);
    let mut hurried = by_signal;
    while !(delivery.close() && delivery.has_ended())
        && until.is_none_or(|until| Instant::now() < until)
    {
        tokio::select! {
            () = &mut hurry, if !hurried => {
                hurried = true;
                until = Some(Instant::now() + options.drain);
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
