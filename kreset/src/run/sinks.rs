//! A run's sinks: started, reloaded, drained.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    classify::Config,
    config::{SinkConfig, Target},
    delivery::{Delivery, OnFailure, Outlet, SinkError},
    run::{confine::Needs, options::Options, pipeline::Pipeline},
    sink::{self, HostSettings},
    util::stderr::log,
};

/// How often a draining run looks whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Reads the options of a run again; a sentence says what is wrong with them.
pub type ReadOptions<'a> = &'a dyn Fn() -> Result<Options, String>;

/// Sinks that run.
#[derive(Debug)]
pub struct Agent {
    /// Where events go.
    pub delivery: Delivery,
    /// To be told whether the kernel is watched.
    pub attached: Arc<AtomicBool>,
}

/// Sinks that are open, but have no thread yet.
pub struct Opened {
    outlets: Vec<(SinkConfig, Outlet)>,
    /// Whether a sink connects or listens.
    network: bool,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.outlets.iter().map(|(sink, _)| &sink.name))
            .finish()
    }
}

/// Opens the sinks of a run: their files, spools, certificates.
///
/// # Errors
///
/// When one cannot be opened.
pub fn open(options: &Options) -> Result<Opened, SinkError> {
    let mut outlets = Vec::new();
    let mut network = false;
    let settings = HostSettings {
        spool: &options.spool,
        spool_size: options.spool_size,
        // A user waits for a command's output; an agent runs unattended.
        on_failure: if options.configured.is_empty() {
            OnFailure::EndRun
        } else {
            OnFailure::Retry
        },
    };
    for sink in options.sinks() {
        network |= !matches!(sink.target, Target::Stdout { .. } | Target::File { .. });
        if let Some(outlet) = sink::open(&sink, &settings)? {
            outlets.push((sink, outlet));
        }
    }
    Ok(Opened { outlets, network })
}

impl Opened {
    /// What the sinks take beside the event loop.
    #[must_use]
    pub const fn needs(&self) -> Needs {
        Needs {
            network: self.network,
            threads: true,
        }
    }

    /// Starts the sinks' threads.
    ///
    /// # Errors
    ///
    /// When the system has no thread for one, or no port for metrics.
    pub fn start(self, options: &Options) -> Result<Agent, SinkError> {
        let mut delivery = Delivery::default();
        for (sink, outlet) in self.outlets {
            delivery
                .start(&sink.name, sink.filter, outlet)
                .map_err(SinkError::Thread)?;
        }
        let attached = count(options, &mut delivery)?;
        Ok(Agent { delivery, attached })
    }
}

/// Has Prometheus sinks count.
#[cfg(feature = "metrics")]
fn count(options: &Options, delivery: &mut Delivery) -> Result<Arc<AtomicBool>, SinkError> {
    use crate::sink::prometheus::{Metrics, serve};

    let metrics = Arc::new(Metrics::new());
    let mut wanted = false;
    for sink in &options.configured {
        if let Target::Prometheus { listen } = sink.target {
            wanted = true;
            serve(Arc::clone(&metrics), listen).map_err(|source| SinkError::Listen {
                address: listen,
                source,
            })?;
        }
    }
    if wanted {
        metrics.watch(delivery, options.spool_size);
        let observer = Arc::clone(&metrics);
        delivery.observe(Box::new(move |event| observer.observe(event)));
    }
    Ok(metrics.attached())
}

/// Nobody counts in this build.
#[cfg(not(feature = "metrics"))]
fn count(_: &Options, _: &mut Delivery) -> Result<Arc<AtomicBool>, SinkError> {
    Ok(Arc::default())
}

/// Opens files anew, and takes over what of the configuration may change:
/// filters, `broker-max-idle`, and the returned interval of summaries. `read`
/// gives the options of the same command line with the file as it is now.
pub fn reload(
    options: &Options,
    pipeline: &mut Pipeline,
    read: ReadOptions<'_>,
) -> Option<Duration> {
    pipeline.delivery().reopen();
    options.config.as_ref()?;
    let fresh = match read() {
        Ok(fresh) => fresh,
        Err(error) => {
            log(format_args!("{error}; everything stays as it was"));
            return None;
        }
    };
    pipeline.reconfigure(
        fresh.filter,
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
        log(format_args!("a change of {what} takes a restart"));
    }
    log(format_args!("configuration read again"));
    fresh.summary_interval
}

/// What differs and cannot be taken over.
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

/// Delivers what is left. Sinks with a spool have `--drain` for it; standard
/// output and files have as long as they take, unless the run was ended by a
/// signal or `hurry` is over before.
///
/// # Errors
///
/// When a sink fails whose failure ends the run.
pub async fn drain(
    options: &Options,
    delivery: &mut Delivery,
    by_signal: bool,
    hurry: impl Future<Output = ()>,
) -> Result<(), SinkError> {
    let began = Instant::now();
    delivery.stop_remote_at(began + options.drain);
    let mut until = by_signal.then(|| began + options.drain);
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
    delivery.take_failure().map_or(Ok(()), Err)
}
