//! One host's tracers, one after the other: started, sampled, and ended at random.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::{sys::signal::Signal, unistd::Pid};

use super::{
    delivery::{IN_MEMORY, Sent},
    level::Sample,
    receiver::Receiver,
    reconcile::{End, Kind, Life, Reported},
    spool::Spool,
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

/// A sink that keeps its events in a spool.
#[derive(Clone, Debug)]
pub struct Sink<'a> {
    /// Where it keeps them.
    pub spool: Spool,
    /// Where it delivers them.
    pub receiver: &'a Receiver,
}

impl Sink<'_> {
    /// The events that outlive the tracer.
    fn firm(&self) -> Result<BTreeSet<String>> {
        // In this order: what leaves the spool in between has been received.
        let mut ids = self.spool.ids()?;
        ids.extend(self.receiver.received().ids);
        Ok(ids)
    }
}

/// A host that is watched, by one tracer after the other.
#[derive(Debug)]
pub struct Watch<'a> {
    program: PathBuf,
    config: PathBuf,
    complaints: PathBuf,
    sinks: [Sink<'a>; 2],
    /// How many events were heard before the last tracer began.
    before: usize,
    now: Option<Running>,
    left: Left,
    /// The tracer that a rotation signals; `None` while none handles signals.
    pub pid: Arc<Mutex<Option<Pid>>>,
}

/// What the tracers of one host left behind.
#[derive(Debug)]
pub struct Left {
    /// The host.
    pub host: Side,
    /// What was heard of them.
    pub heard: Heard,
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
}

#[derive(Debug)]
struct Running {
    tracer: Tracer,
    began: Moment,
    watching: Moment,
    since: Instant,
    samples: Vec<Sample>,
}

impl<'a> Watch<'a> {
    /// No tracer runs yet.
    pub fn new(
        host: Side,
        program: &Path,
        config: PathBuf,
        complaints: PathBuf,
        sinks: [Sink<'a>; 2],
    ) -> Self {
        Self {
            program: program.to_owned(),
            config,
            complaints,
            sinks,
            before: 0,
            now: None,
            left: Left {
                host,
                heard: Heard::default(),
                lives: Vec::new(),
                samples: Vec::new(),
                start: 0,
                programs: BTreeSet::new(),
                problems: Vec::new(),
            },
            pid: Arc::default(),
        }
    }

    /// The host that is watched.
    pub const fn host(&self) -> Side {
        self.left.host
    }

    /// What is left when none runs any more.
    pub fn over(self) -> Left {
        self.left
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
        let flow = format!("the {} host", self.left.host);
        let tracer = Tracer::spawn(flow, command, PATIENCE, stop);
        let tracer = tracer.map_err(|mut error| {
            if let Error::Tracer { stderr, .. } = &mut error {
                *stderr = fs::read_to_string(&self.complaints).unwrap_or_default();
            }
            error
        })?;
        let pid = tracer.id();
        self.before = self.left.heard.sent.len();
        let observed = Observed::new(pid);
        self.left.start = self.left.start.max(observed.status("VmHWM:")?);
        self.left.programs.extend(observed.program_ids());
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
            self.left.heard.hear(self.left.host, &event);
        }
        let (age, events) = (running.since.elapsed(), self.left.heard.sent.len());
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
        self.left
            .problems
            .push(format!("the tracer ended by itself: {status}"));
        let firm = self.left.heard.sent.len();
        self.bury(Moment::now(), End::Killed, firm);
        Ok(false)
    }

    /// Notes the life of a tracer that has ended, all of whose events before `firm` are somewhere
    /// else than in its memory.
    fn bury(&mut self, until: Moment, how: End, firm: usize) {
        let Some(mut running) = self.now.take() else {
            return;
        };
        let ended = Moment::now();
        self.left.samples.push(running.samples);
        let rest = running.tracer.rest();
        for event in &rest.events {
            self.left.heard.hear(self.left.host, event);
        }
        let garbage = rest.garbage.into_iter();
        let times = self.of_the_last_life().iter().map(|event| event.at);
        self.left.lives.push(Life {
            host: self.left.host,
            began: running.began,
            watching: running.watching,
            until,
            ended,
            how,
            reported_until: times.max().unwrap_or(running.began),
            events: self.before..self.left.heard.sent.len(),
            firm,
        });
        let counts = |line: &String| how == End::Asked || !line.starts_with(TORN);
        self.left.heard.garbage.extend(garbage.filter(counts));
    }

    /// Waits until its spools have all that the tracer reported two seconds ago, or longer; returns
    /// before which event that is.
    ///
    /// Nothing can be said by the clock of what it has in memory on a machine that gives it no
    /// time.
    fn wait_for_spools(&mut self) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        while self.look()? {
            let now = Moment::now();
            let reported = self.of_the_last_life();
            let due = reported.partition_point(|event| now.since(event.heard) >= IN_MEMORY);
            let reported = &reported[..due];
            let mut lacking = None;
            for sink in &self.sinks {
                let firm = sink.firm()?;
                let lacks = reported.iter().filter(|event| !firm.contains(&event.id));
                lacking = lacking.max(lacks.map(|event| now.since(event.heard)).max());
            }
            match lacking {
                None => return Ok(self.before + due),
                Some(longest) if Instant::now() >= deadline => {
                    self.left.problems.push(format!(
                        "an event was in no spool {longest:?} after it was reported"
                    ));
                    break;
                }
                Some(_) => thread::sleep(Stop::GLANCE),
            }
        }
        Ok(self.before)
    }

    /// Ends the tracer, if there is one.
    pub fn end(&mut self, how: End) -> Result<()> {
        let firm = match how {
            End::Killed => self.wait_for_spools()?,
            End::Asked => 0,
        };
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
            self.left
                .problems
                .push(format!("the tracer ended with {status} after {signal}"));
        }
        self.bury(until, how, firm);
        Ok(())
    }

    /// All events of the last tracer, as far as they were heard.
    pub fn of_the_last_life(&self) -> &[Sent] {
        self.left.heard.sent.get(self.before..).unwrap_or_default()
    }

    /// What was heard so far.
    pub const fn heard(&self) -> &Heard {
        &self.left.heard
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
