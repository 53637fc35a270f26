//! A run: prepare, attach, stream, end.

pub mod confine;
pub mod corrections;
pub mod enrich;
pub mod holding;
pub mod joining;
pub mod limit;
pub mod options;
pub mod pipeline;
pub mod read;
pub mod reload;
pub mod repeats;
pub mod service;
pub mod signals;
pub mod sinks;
mod staging;
pub mod summary;

use std::{
    convert::Infallible,
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use kreset_common::counter;
use rustix::{
    system::uname,
    time::{ClockId, clock_gettime},
};
use thiserror::Error;
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant as Deadline, sleep_until},
};

use crate::{
    capture::{input::InputError, recording::Recorder},
    classify::Config,
    delivery::{Health, SinkError},
    event::{Degraded, Event, Host, Source, Start},
    facts::Decoder,
    kernel::{
        apply::{ApplyError, Attached},
        netns::Namespace,
        plan::{Degradation, Plan},
        prepare::{self, CannotStart, Ready},
    },
    run::{
        confine::{ConfineError, confine},
        enrich::{
            Enricher, KernelLog, addresses::Addresses, connections::Connections, refresh::Latest,
        },
        limit::Limiter,
        options::Options,
        pipeline::{KernelLosses, Parts, Pipeline, Turns},
        reload::{ReadOptions, Reloader},
        service::ServiceManager,
        signals::{Asked, Signals},
        sinks::Sinks,
    },
    util::{
        clock::{Clocks, WallClock},
        exit::Exit,
        heap,
        stderr::{self, log},
    },
};

/// How often the kernel's count of lost records is read.
const LOSS_EVERY: Duration = Duration::from_millis(500);
/// While a port of this host refuses connections, it is looked at so often.
const ASK_LISTENERS: Duration = Duration::from_millis(50);
/// Time limit for reading the addresses of the traced namespaces. What is cut is unknown.
const READ: Duration = Duration::from_secs(2);

/// Why a run did not end as requested.
#[derive(Debug, Error)]
pub enum RunError {
    /// It cannot start here.
    #[error(transparent)]
    CannotStart(#[from] CannotStart),
    /// Privileges that are not needed cannot be dropped.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// The output failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The file of `--record` cannot be created.
    #[error("cannot create {}: {source}; choose another file with --record", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// A system call failed while running.
    #[error("{what}: {source}")]
    System {
        /// What failed.
        what: &'static str,
        /// The error of the system call.
        source: io::Error,
    },
    /// A file to read is of no use.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Reading a counter failed.
    #[error("cannot read the BPF counters: {0}")]
    Counters(#[source] ApplyError),
}

impl RunError {
    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::CannotStart(error) => error.exit(),
            // The reader closed the pipe, which is not a failure.
            Self::Sink(SinkError::Closed) => Exit::Done,
            Self::Confine(_)
            | Self::Sink(_)
            | Self::Record { .. }
            | Self::System { .. }
            | Self::Input(_)
            | Self::Counters(_) => Exit::Failed,
        }
    }
}

/// Runs until a signal, `--duration` or `--count`. `read` gives the options anew
/// when SIGHUP asks for it, which is to be [held back](signals::hold_reloads) before.
///
/// # Errors
///
/// If it cannot start here, or fails while running.
pub fn run(options: &Options, read: ReadOptions) -> Result<(), RunError> {
    let began = Instant::now();
    let service = ServiceManager::from_env();
    // Opened before anything is attached, so that a bad path fails early.
    let sinks = sinks::open(options)?;
    let mut recorder = options.record.as_deref().map(record).transpose()?;
    // Held open as long as it is traced.
    let namespace = options.network_namespace().map_err(CannotStart::from)?;
    let request = options.request_in(namespace.as_ref());
    let netns = request.netns.map(u64::from);
    let mut connections = Connections::of(netns, options.ports.clone());
    // With many connections the kernel takes as long to list them as to seed them.
    let (ready, watched) = thread::scope(|scope| {
        let counting = scope.spawn(|| connections.now());
        let ready = prepare::attach(&request, &options.ports);
        (ready, counting.join().unwrap_or_default())
    });
    let Ready {
        attached,
        plan,
        hz,
        seeded,
    } = ready?;
    heap::trim();
    let host = Host {
        name: uname().nodename().to_string_lossy().into(),
    };
    let start = Start {
        watched,
        ..start_event(options, &plan, seeded, &host, began)
    };
    let decoder = Decoder {
        hz: hz.get(),
        reasons: plan.reset_reasons,
    };
    if let Some(recorder) = &mut recorder {
        recorder
            .begin(&decoder, &host.name)
            .map_err(|source| RunError::System {
                what: "cannot write the file of --record",
                source,
            })?;
    }
    // Opened while this process may.
    let kernel_log = KernelLog::open();
    // There are no other threads now, so this holds for all of them.
    confine(sinks.needs(), || attached.counter(counter::LOST).is_ok())?;
    stderr::detach().map_err(SinkError::Thread)?;
    let Sinks { delivery, health } = sinks.start()?;
    let addresses = Addresses::of(netns);
    let pipeline = Pipeline::new(Parts {
        decoder,
        config: Config {
            broker_max_idle: options.broker_max_idle,
        },
        enricher: Enricher::live(plan.hierarchy, kernel_log, options.naming()),
        filter: options.filter.clone(),
        limiter: Limiter::new(options.event_limit),
        count: options.count,
        host,
        ports: options.ports.clone(),
        addresses: Latest::of("addresses", move || addresses.now(Instant::now() + READ))
            .map_err(SinkError::Thread)?,
        connections: Latest::of("connections", move || connections.now())
            .map_err(SinkError::Thread)?,
        delivery,
        recorder,
        own_pid: Some(std::process::id()),
        source: Source::Live,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| RunError::System {
            what: "cannot start the event loop",
            source,
        })?;
    health.set_attached(true);
    let reloader = Reloader::new(read, reload::LONGEST);
    let run = Run {
        options,
        namespace,
        attached,
        pipeline,
        service,
        health: &health,
        reloader,
    };
    let ended = runtime.block_on(run.stream(start));
    health.set_attached(false);
    ended
}

fn record(path: &Path) -> Result<Recorder, RunError> {
    Recorder::create(path).map_err(|source| RunError::Record {
        path: path.to_owned(),
        source,
    })
}

fn start_event(options: &Options, plan: &Plan, seeded: u64, host: &Host, began: Instant) -> Start {
    let clocks = clocks();
    Start {
        time: clocks.monotonic.timestamp(clocks.now_ns).into(),
        host: host.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        kernel: uname().release().to_string_lossy().into_owned(),
        ports: options.ports.list(),
        packet_evidence: plan.packet_evidence.name().into(),
        seeded,
        watched: None,
        attach_ms: (began.elapsed().as_secs_f64() * 10_000.0).round() / 10.0,
        degraded: plan.degradations.iter().map(degraded).collect(),
    }
}

fn degraded(degradation: &Degradation) -> Degraded {
    let Degradation {
        feature,
        reason,
        remedy,
    } = degradation;
    Degraded {
        feature: feature.name().into(),
        reason: reason.clone(),
        remedy: remedy.clone(),
    }
}

/// Reads all clocks at once: the wall clock may be stepped at any time.
fn clocks() -> Clocks {
    let realtime = nanoseconds(ClockId::Realtime);
    let monotonic = nanoseconds(ClockId::Monotonic);
    let boot = nanoseconds(ClockId::Boottime);
    Clocks {
        monotonic: WallClock::new(realtime, monotonic),
        boot: WallClock::new(realtime, boot),
        now_ns: u64::try_from(monotonic).unwrap_or(0),
    }
}

fn nanoseconds(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(now.tv_nsec)
}

/// A run, attached.
struct Run<'a> {
    options: &'a Options,
    namespace: Option<Namespace>,
    attached: Attached,
    pipeline: Pipeline,
    service: ServiceManager,
    health: &'a Health,
    reloader: Reloader,
}

impl Run<'_> {
    async fn stream(self, start: Start) -> Result<(), RunError> {
        let Self {
            options,
            mut namespace,
            mut attached,
            mut pipeline,
            mut service,
            health,
            mut reloader,
        } = self;
        let status = watching(&start);
        let attached_at = Instant::now();
        let mut signals = Signals::new()?;
        let failed = |source| RunError::System {
            what: "cannot wait for the ring buffer",
            source,
        };
        let ring = attached
            .ring()
            .as_fd()
            .try_clone_to_owned()
            .map_err(failed)?;
        // SAFETY: an `OwnedFd` keeps its one descriptor open for as long as it lives.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| failed(error.into()))?;
        pipeline.write(Event::Start(Box::new(start)));
        service.ready(&status);
        let ending = options.duration.map(|duration| Deadline::now() + duration);
        let mut every = options.summary_interval;
        let mut next_summary = every.map(|every| Deadline::now() + every);
        let mut next_loss = Deadline::now() + LOSS_EVERY;
        let sink_ended = pipeline.delivery().wake();
        let mut by_signal = false;
        let mut turns = Turns::default();
        loop {
            let now = clocks();
            let taken = take_batch(&mut attached, &mut pipeline, now)?;
            attached.log();
            pipeline.release(now.now_ns, now);
            let refuses = ask_listeners(&attached, &mut pipeline, now);
            if Deadline::now() >= next_loss {
                next_loss = Deadline::now() + LOSS_EVERY;
                read_losses(&mut attached, &mut pipeline, now)?;
                if let Some(path) = namespace.as_mut().and_then(Namespace::take_end) {
                    pipeline.record_loss("netns", 1, now);
                    log(format_args!(
                        "the network namespace {} has ended, and nothing else is traced: restart to trace another",
                        path.display()
                    ));
                }
                pipeline.alert(now);
                if options.is_interactive() {
                    pipeline.glance(attached_at.elapsed());
                }
            }
            if let (Some(due), Some(every)) = (next_summary, every)
                && Deadline::now() >= due
            {
                // After a pause of this process one is enough.
                next_summary = Some((due + every).max(Deadline::now()));
                pipeline.summarize(attached_at.elapsed(), false, now);
            }
            pipeline.flush()?;
            if let Some(error) = pipeline.delivery().take_failure() {
                return Err(error.into());
            }
            if pipeline.is_done() {
                break;
            }
            service.alive(Instant::now());
            health.turn(Instant::now());
            // More records may follow: let them gather. The kernel wakes the reader of a
            // ring only at the first record after the reader's position
            // (bpf_ringbuf_commit, 6.18), so neither side wakes the other meanwhile.
            let turn = turns.after(taken).map(|wait| Deadline::now() + wait);
            let due = pipeline
                .due_ns(turn.is_some())
                .map(|due| deadline(due, now));
            let ask = refuses.then(|| Deadline::now() + ASK_LISTENERS);
            let wake = [
                turn,
                due,
                ask,
                next_summary,
                service.due().map(Deadline::from),
            ]
            .into_iter()
            .flatten()
            .fold(next_loss, Deadline::min);
            tokio::select! {
                biased;
                asked = signals.next() => match asked {
                    Asked::End => {
                        by_signal = true;
                        break;
                    }
                    Asked::Reload => {
                        pipeline.delivery().reopen();
                        service.reloading();
                        match &options.config {
                            None => service.ready(&status),
                            Some(_) => if let Err(error) = reloader.start() {
                                log(format_args!("cannot start a thread to reload: {error}"));
                                service.ready(&status);
                            },
                        }
                    }
                },
                fresh = reloader.answer() => {
                    if let Some(reloaded) = sinks::reload(options, &mut pipeline, health, fresh) {
                        every = reloaded.summary_interval;
                        next_summary = every.map(|every| Deadline::now() + every);
                    }
                    service.ready(&status);
                }
                () = until(ending) => break,
                () = sink_ended.notified() => {}
                ready = ring.readable(), if turn.is_none() => {
                    if let Ok(mut ready) = ready {
                        ready.clear_ready();
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
        drop(ring);
        health.set_attached(false);
        service.stopping("delivering the remaining events");
        // All that follows has this long.
        let until = Instant::now() + options.drain;
        end(attached, &mut pipeline, attached_at, options.drain / 2)?;
        let drained = sinks::drain(options, pipeline.delivery_mut(), until, by_signal, async {
            while signals.next().await != Asked::End {}
        });
        tokio::select! {
            drained = drained => Ok(drained?),
            never = keep_alive(&mut service) => match never {},
        }
    }
}

/// The status line that `systemctl status` shows.
fn watching(start: &Start) -> String {
    format!(
        "watching ports {}, packet evidence {}",
        start.ports.join(","),
        start.packet_evidence
    )
}

/// Feeds the watchdog while the run drains.
async fn keep_alive(service: &mut ServiceManager) -> Infallible {
    while let Some(due) = service.due() {
        sleep_until(due.into()).await;
        service.alive(Instant::now());
    }
    std::future::pending().await
}

/// Detaches, judges what is left, and reports losses and counts. Waits for sinks
/// for at most `longest`.
fn end(
    mut attached: Attached,
    pipeline: &mut Pipeline,
    attached_at: Instant,
    longest: Duration,
) -> Result<(), RunError> {
    attached.detach();
    let ran = attached_at.elapsed();
    let now = clocks();
    let until = Instant::now() + longest;
    let left = || until.saturating_duration_since(Instant::now());
    while take_batch(&mut attached, pipeline, now)? == Turns::BATCH {
        pipeline.flush_and_settle(left())?;
    }
    attached.log();
    pipeline.release(u64::MAX, now);
    pipeline.flush_and_settle(left())?;
    read_losses(&mut attached, pipeline, now)?;
    pipeline.end_incidents(now);
    pipeline.summarize(ran, true, now);
    pipeline.flush()?;
    Ok(())
}

/// Reads up to a batch of records from the ring; returns how many.
fn take_batch(
    attached: &mut Attached,
    pipeline: &mut Pipeline,
    now: Clocks,
) -> Result<usize, RunError> {
    for taken in 0..Turns::BATCH {
        let Some(record) = attached.ring().next() else {
            return Ok(taken);
        };
        pipeline.take(&record, now)?;
    }
    Ok(Turns::BATCH)
}

fn read_losses(
    attached: &mut Attached,
    pipeline: &mut Pipeline,
    now: Clocks,
) -> Result<(), RunError> {
    let losses = KernelLosses {
        records: attached
            .counter(counter::LOST)
            .map_err(RunError::Counters)?,
        skipped: attached.skipped().map_err(RunError::Counters)?,
        untracked: attached.untracked().map_err(RunError::Counters)?,
        unobserved: attached.unobserved().map_err(RunError::Counters)?,
    };
    pipeline.kernel_lost(losses, now);
    pipeline.sinks_lost(now);
    Ok(())
}

/// Whether any port of this host refuses connections; those that listen again no longer do.
fn ask_listeners(attached: &Attached, pipeline: &mut Pipeline, now: Clocks) -> bool {
    let mut refuses = false;
    for (place, netns) in pipeline.refusing_here(now.now_ns) {
        // Where nothing ever listened, it is not known to be a broker.
        if let Some(listeners) = attached.listeners(netns, place.broker.port) {
            refuses = true;
            if pipeline.listens_since(place, netns, listeners) {
                // Later than the last refusal, which may still be in the ring.
                pipeline.listens(place, netns, clocks());
            }
        }
    }
    refuses
}

fn deadline(due_ns: u64, now: Clocks) -> Deadline {
    Deadline::now() + Duration::from_nanos(due_ns.saturating_sub(now.now_ns))
}

async fn until(ending: Option<Deadline>) {
    match ending {
        Some(ending) => sleep_until(ending).await,
        None => std::future::pending().await,
    }
}
