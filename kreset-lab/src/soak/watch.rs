//! One host's tracers, one after the other: started, sampled, and ended at random.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};

use super::{
    delivery::Sent,
    level::Sample,
    reconcile::{End, Kind, Life, Reported},
};
use crate::{
    Moment, Side, Stop,
    driver::{TORN, Tracer},
    error::{Context as _, Error, Result},
    event::Event,
    trace::follow::{Direction, Flow},
    util::{lock::lock, process::Observed},
};

/// How long a tracer may take to attach, and to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Everything that a host's tracers said on standard output, which never fails.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Of connections.
    pub reported: Vec<Reported>,
    /// All events.
    pub sent: Vec<Sent>,
    /// What they counted as lost, by where.
    pub lost: BTreeMap<String, u64>,
    /// How long after it was made an event was heard, at most.
    pub latest: Duration,
    /// Lines that are not events, but for the last one of a tracer that was killed.
    pub garbage: Vec<String>,
}

/// What the tracers of one host left behind.
#[derive(Debug)]
pub struct Watch {
    host: Side,
    program: PathBuf,
    config: PathBuf,
    complaints: PathBuf,
    heard: Heard,
    /// How many events were heard before the last tracer began.
    before: usize,
    now: Option<Running>,
    /// Those that have ended.
    pub lives: Vec<Life>,
    /// What each of them had, in the order of [`Self::lives`].
    pub samples: Vec<Vec<Sample>>,
    /// The most resident memory, KiB, that one of them had while it started.
    pub start: u64,
    /// Programs and maps that they had in the kernel.
    pub programs: BTreeSet<u32>,
    /// What went wrong.
    pub problems: Vec<String>,
    /// The tracer that a rotation signals; `None` while none handles signals.
    pub pid: Arc<Mutex<Option<Pid>>>,
}

#[derive(Debug)]
struct Running {
    tracer: Tracer,
    began: Moment,
    watching: Moment,
    since: Instant,
    samples: Vec<Sample>,
}

impl Watch {
    /// No tracer runs yet.
    pub fn new(host: Side, program: &Path, config: PathBuf, complaints: PathBuf) -> Self {
        Self {
            host,
            program: program.to_owned(),
            config,
            complaints,
            heard: Heard::default(),
            before: 0,
            now: None,
            lives: Vec::new(),
            samples: Vec::new(),
            start: 0,
            programs: BTreeSet::new(),
            problems: Vec::new(),
            pid: Arc::default(),
        }
    }

    /// The host that is watched.
    pub const fn host(&self) -> Side {
        self.host
    }

    /// Starts a tracer, and waits until it watches.
    pub fn begin(&mut self, stop: &Stop) -> Result<()> {
        let complaints = File::options()
            .append(true)
            .create(true)
            .open(&self.complaints)
            .context(|| format!("open {}", self.complaints.display()))?;
        let began = Moment::now();
        let mut command = Command::new(&self.program);
        command
            .arg("--config")
            .arg(&self.config)
            // Ctrl-C at a terminal is for the lab, which ends its tracers by itself.
            .process_group(0)
            .stderr(complaints);
        let flow = format!("the {} host", self.host);
        let tracer = Tracer::spawn(flow, command, PATIENCE, stop);
        let tracer = tracer.map_err(|mut error| {
            if let Error::Tracer { stderr, .. } = &mut error {
                *stderr = fs::read_to_string(&self.complaints).unwrap_or_default();
            }
            error
        })?;
        let pid = tracer.id();
        self.before = self.heard.sent.len();
        let observed = Observed::new(pid);
        self.start = self.start.max(observed.status("VmHWM:")?);
        self.programs.extend(observed.program_ids());
        self.now = Some(Running {
            tracer,
            began,
            watching: Moment::now(),
            since: Instant::now(),
            samples: Vec::new(),
        });
        *lock(&self.pid) = Some(Pid::from_raw(pid.cast_signed()));
        Ok(())
    }

    /// Notes what the tracer has; whether it lives, as it should.
    pub fn look(&mut self) -> Result<bool> {
        let Some(running) = &mut self.now else {
            return Ok(false);
        };
        for event in running.tracer.take() {
            self.heard.hear(self.host, &event);
        }
        let (age, events) = (running.since.elapsed(), self.heard.sent.len());
        running
            .samples
            .extend(sample(running.tracer.id(), age, events));
        // Held, so that no signal goes to a pid that is free.
        let mut pid = lock(&self.pid);
        let Some(status) = running.tracer.child().ended()? else {
            return Ok(true);
        };
        *pid = None;
        drop(pid);
        self.problems
            .push(format!("the tracer ended by itself: {status}"));
        self.bury(Moment::now(), End::Killed);
        Ok(false)
    }

    /// Notes the life of a tracer that has ended.
    fn bury(&mut self, until: Moment, how: End) {
        let Some(mut running) = self.now.take() else {
            return;
        };
        self.lives.push(Life {
            host: self.host,
            began: running.began,
            watching: running.watching,
            until,
            ended: Moment::now(),
            how,
        });
        self.samples.push(running.samples);
        let rest = running.tracer.rest();
        for event in &rest.events {
            self.heard.hear(self.host, event);
        }
        let garbage = rest.garbage.into_iter();
        let counts = |line: &String| how == End::Asked || !line.starts_with(TORN);
        self.heard.garbage.extend(garbage.filter(counts));
    }

    /// Ends the tracer, if there is one.
    pub fn end(&mut self, how: End) -> Result<()> {
        let Some(running) = &mut self.now else {
            return Ok(());
        };
        *lock(&self.pid) = None;
        let signal = match how {
            End::Asked => Signal::SIGTERM,
            End::Killed => Signal::SIGKILL,
        };
        let until = Moment::now();
        let child = running.tracer.child();
        child.signal(signal)?;
        let status = match child.wait(PATIENCE) {
            // It has ignored the other one, which its status shows.
            Err(Error::Deadline { .. }) => child.kill()?,
            status => status?,
        };
        let as_asked = match how {
            End::Asked => status.success(),
            End::Killed => status.signal() == Some(Signal::SIGKILL as i32),
        };
        if !as_asked {
            self.problems
                .push(format!("the tracer ended with {status} after {signal}"));
        }
        self.bury(until, how);
        Ok(())
    }

    /// All events of the last tracer, as far as they were heard.
    pub fn of_the_last_life(&self) -> &[Sent] {
        self.heard.sent.get(self.before..).unwrap_or_default()
    }

    /// What was heard so far.
    pub const fn heard(&self) -> &Heard {
        &self.heard
    }
}

impl Heard {
    fn hear(&mut self, host: Side, event: &Event) {
        let at = event.time.as_deref().and_then(Moment::parse);
        let (Some(id), Some(at)) = (event.id.clone(), at) else {
            self.garbage.push(event.line.clone());
            return;
        };
        self.latest = self.latest.max(event.read.since(at));
        if event.kind == "loss" {
            let source = event.source.clone().unwrap_or_else(|| "unknown".to_owned());
            *self.lost.entry(source).or_default() += event.lost.unwrap_or_default();
        }
        let kind = match (event.kind.as_str(), event.direction.as_deref()) {
            ("reset", Some("received")) => Some(Kind::Reset(Direction::Received)),
            ("reset", Some("sent")) => Some(Kind::Reset(Direction::Sent)),
            // A socket that gave up is gone, without a segment on the wire: what its host answers
            // since, or receives, is of no socket.
            ("close" | "timeout", _) => Some(Kind::Close),
            _ => None,
        };
        if let (Some(kind), Some((client, broker))) = (kind, event.ends()) {
            self.reported.push(Reported {
                id: id.clone(),
                kind,
                flow: Flow {
                    host,
                    client,
                    broker,
                },
                at,
                line: event.line.clone(),
            });
        }
        let heard = event.read;
        self.sent.push(Sent { id, at, heard });
    }
}

fn sample(pid: u32, age: Duration, events: usize) -> Option<Sample> {
    let resident = Observed::new(pid).status("VmRSS:").ok()?;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some(Sample {
        age,
        events: u32::try_from(events).ok()?,
        resident: u32::try_from(resident).ok()?,
        descriptors: u32::try_from(descriptors).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heard_is_sorted() {
        let mut heard = Heard::default();
        let ends = r#""client":{"address":"10.77.1.2","port":4},"broker":{"address":"10.77.2.2","port":9092}"#;
        let time = r#""time":"2026-11-23T16:29:23.3Z""#;
        for line in [
            format!(r#"{{"type":"start","id":"1",{time}}}"#),
            format!(r#"{{"type":"reset","direction":"sent","id":"2",{time},{ends}}}"#),
            format!(r#"{{"type":"close","direction":"received","id":"3",{time},{ends}}}"#),
            format!(r#"{{"type":"loss","id":"4",{time},"source":"sink file","lost":3}}"#),
            format!(r#"{{"type":"timeout","id":"5",{time},{ends}}}"#),
            r#"{"type":"alert"}"#.to_owned(),
        ] {
            heard.hear(Side::Client, &Event::parse(&line).expect("JSON"));
        }
        let kinds: Vec<_> = heard
            .reported
            .iter()
            .map(|reported| reported.kind)
            .collect();
        let ended = Kind::Close;
        assert_eq!(kinds, [Kind::Reset(Direction::Sent), ended, ended]);
        assert_eq!(heard.sent.len(), 5);
        assert_eq!(heard.lost, BTreeMap::from([("sink file".to_owned(), 3)]));
        assert_eq!(heard.garbage.len(), 1);
    }
}
