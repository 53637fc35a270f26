//! Runs a probe from start to end.

use std::{
    ffi::CString,
    io::{self, Write as _},
    time::Duration,
};

use jiff::Timestamp;
use rustix::system::uname;
use smol_str::SmolStr;
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::LocalSet,
    time::{Instant, interval},
};

use super::{
    clients::HostKeepalive,
    finding::Finding,
    hold::{Held, hold},
    measure::{Measured, measure},
    options::{Options, Refusal, Task},
    plan_text,
    report::{Header, report},
    screen::{Screen, Screens},
    stop::Stop,
};
use crate::{
    delivery::{Encoder, SinkError},
    event::{Endpoint, Event, Host, Ids, Message, PROBE_PROCESS, Time},
    util::exit::Exit,
};

/// Why it failed.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// It was not started.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The system did not let it.
    #[error("{what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// What was found cannot be written.
    #[error(transparent)]
    Output(#[from] SinkError),
}

impl ProbeError {
    /// The exit code, for scripts.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) => Exit::Usage,
            Self::Output(SinkError::Closed) => Exit::Done,
            Self::System { .. } | Self::Output(_) => Exit::Failed,
        }
    }
}

/// Probes as `options` say, writes an event for each address with `encoder` to
/// standard output, and says what came of it.
///
/// # Errors
/// When it could not start, or its output could not be written.
pub fn run(options: &Options, encoder: &mut dyn Encoder) -> Result<Exit, ProbeError> {
    let work = options.work(HostKeepalive::of_this_host())?;
    let system = |what| move |source| ProbeError::System { what, source };
    // A tracer on this host knows its connections by that name, which the kernel
    // side records when they connect. A name of this length is never refused.
    let _named = CString::new(PROBE_PROCESS).map(|name| rustix::thread::set_name(&name));
    let plan = plan_text::describe(&work);
    let _unseen = io::stderr().write_all(plan.as_bytes());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("cannot start the event loop"))?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let (request, stop) = Stop::new();
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(system("cannot wait for signals"))?;
        let mut terminate =
            signal(SignalKind::terminate()).map_err(system("cannot wait for signals"))?;
        tokio::task::spawn_local(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            request.send_replace(true);
        });
        let screens = Screens::new();
        let several = work.tasks.len() > 1;
        let mut running = Vec::new();
        for task in work.tasks {
            let name = if several {
                task.plan.remote.to_string()
            } else {
                String::new()
            };
            let screen = screens.add(&name);
            let stop = stop.clone();
            running.push(tokio::task::spawn_local(async move {
                let began = Instant::now();
                let found = one(&task, &screen, &stop).await;
                screen.end();
                (task, found, began.elapsed())
            }));
        }
        let mut ids = Ids::of_this_run();
        let mut exit = Exit::Done;
        for task in running {
            let (task, found, duration) = task
                .await
                .map_err(|error| system("a task failed")(io::Error::other(error)))?;
            let event = report(
                header(&work.target.to_string(), &task, duration),
                found.measured.as_ref(),
                found.held.as_ref(),
            );
            exit = worse(exit, found.exit());
            let message = Message {
                id: ids.next_id(),
                event: Event::Probe(Box::new(event)),
            };
            let mut bytes = Vec::new();
            encoder.encode(&message, &mut bytes)?;
            screens.aside(|| print(&bytes))?;
        }
        Ok(exit)
    })
}

#[derive(Debug)]
struct Found {
    measured: Option<Measured>,
    held: Option<Held>,
}

impl Found {
    /// The exit code for scripts.
    fn exit(&self) -> Exit {
        let measured = match self.measured.as_ref().map(|it| &it.finding) {
            Some(Finding::Timer(timer)) if !timer.is_broker => Exit::Found,
            Some(Finding::Unmeasured { .. }) => Exit::Failed,
            Some(Finding::Timer(_) | Finding::None { .. }) | None => Exit::Done,
        };
        let held = match &self.held {
            None => Exit::Done,
            Some(held) if held.kept.is_empty() => Exit::Failed,
            Some(held) if held.holds() => Exit::Done,
            Some(_) => Exit::Found,
        };
        worse(measured, held)
    }
}

/// A device that was found is the news; then that something could not be measured.
const fn worse(one: Exit, other: Exit) -> Exit {
    match (one, other) {
        (Exit::Found, _) | (_, Exit::Found) => Exit::Found,
        (Exit::Done, other) => other,
        (one, _) => one,
    }
}

async fn one(task: &Task, screen: &Screen, stop: &Stop) -> Found {
    let measuring = async {
        if task.measure {
            Some(measure(&task.plan, screen, stop).await)
        } else {
            None
        }
    };
    let holding = async {
        match task.hold {
            Some(what) => Some(hold(what, task.plan.common(), screen, stop).await),
            None => None,
        }
    };
    let ticking = async {
        let mut ticks = interval(Duration::from_millis(250));
        loop {
            ticks.tick().await;
            screen.tick();
        }
    };
    tokio::select! {
        (measured, held) = async { tokio::join!(measuring, holding) } => Found { measured, held },
        () = ticking => Found { measured: None, held: None },
    }
}

fn header(target: &str, task: &Task, duration: Duration) -> Header {
    let remote = task.plan.remote;
    Header {
        time: Time(Timestamp::now()),
        host: Host {
            name: uname().nodename().to_string_lossy().into(),
        },
        target: SmolStr::from(target),
        broker: Endpoint {
            address: remote.ip(),
            port: remote.port(),
        },
        trigger: task.plan.trigger,
        duration,
    }
}

fn print(bytes: &[u8]) -> Result<(), SinkError> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(SinkError::Closed),
        Err(source) => Err(SinkError::write("standard output", source)),
    }
}
