//! One host's tracers, one after the other: started, sampled, and ended at random.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::{
    delivery::Sent,
    level::Sample,
    reckoning::{End, Kind, Life, Told},
    witness::{Direction, Place},
};
use crate::{
    Moment, Side, Stop,
    error::{Context as _, Error, Result},
    event::Event,
};

/// How long a tracer may take to attach, and to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Everything that a host's tracers said on standard output, which never fails.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Of connections.
    pub told: Vec<Told>,
    /// All events.
    pub sent: Vec<Sent>,
    /// What they counted as lost, by where.
    pub lost: BTreeMap<String, u64>,
    /// How long after it was made an event was heard, at most.
    pub latest: Duration,
    /// Lines that are no events, but for the last one of a tracer that was killed.
    pub garbage: Vec<String>,
    starts: u64,
}

/// What the tracers of one host left behind.
#[derive(Debug)]
pub struct Watch {
    host: Side,
    program: PathBuf,
    config: PathBuf,
    complaints: PathBuf,
    heard: Arc<Mutex<Heard>>,
    now: Option<Running>,
    /// Those that have ended.
    pub lives: Vec<Life>,
    /// What each of them had, in the order of [`Self::lives`].
    pub samples: Vec<Vec<Sample>>,
    /// Programs and maps that they had in the kernel.
    pub programs: BTreeSet<u32>,
    /// What went wrong.
    pub problems: Vec<String>,
    /// Whom a rotation has to tell; nobody while none listens to signals.
    pub pid: Arc<Mutex<Option<Pid>>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    reader: JoinHandle<Option<String>>,
    began: Moment,
    watching: Moment,
    since: Instant,
    samples: Vec<Sample>,
}

impl Watch {
    /// Nobody watches yet.
    #[must_use]
    pub fn new(host: Side, program: &Path, config: PathBuf, complaints: PathBuf) -> Self {
        Self {
            host,
            program: program.to_owned(),
            config,
            complaints,
            heard: Arc::default(),
            now: None,
            lives: Vec::new(),
            samples: Vec::new(),
            programs: BTreeSet::new(),
            problems: Vec::new(),
            pid: Arc::default(),
        }
    }

    /// The host that is watched.
    #[must_use]
    pub const fn host(&self) -> Side {
        self.host
    }

    /// Starts a tracer, and waits until it watches.
    ///
    /// # Errors
    /// When it does not start.
    pub fn begin(&mut self, stop: &Stop) -> Result<()> {
        let complaints = File::options()
            .append(true)
            .create(true)
            .open(&self.complaints)
            .context(|| format!("open {}", self.complaints.display()))?;
        let began = Moment::now();
        let starts = lock(&self.heard).starts;
        let mut child = Command::new(&self.program)
            .arg("--config")
            .arg(&self.config)
            // Ctrl-C at a terminal is for the lab, which ends its tracers by itself.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .context(|| format!("run {}", self.program.display()))?;
        let heard = Arc::clone(&self.heard);
        let stdout = child.stdout.take();
        let host = self.host;
        let reader = thread::spawn(move || listen(host, stdout?, &heard));
        let mut running = Running {
            child,
            reader,
            began,
            watching: began,
            since: Instant::now(),
            samples: Vec::new(),
        };
        let deadline = Instant::now() + PATIENCE;
        while lock(&self.heard).starts == starts {
            let ended = running.child.try_wait();
            let ended = ended.context(|| "look at a tracer".to_owned())?;
            if ended.is_some() || Instant::now() > deadline || stop.check().is_err() {
                let _signalled = running.child.kill();
                let _ended = running.child.wait();
                stop.check()?;
                return Err(Error::Tracer {
                    host: self.host,
                    what: "did not begin to watch".to_owned(),
                    stderr: fs::read_to_string(&self.complaints).unwrap_or_default(),
                });
            }
            thread::sleep(Duration::from_millis(10));
        }
        running.watching = Moment::now();
        running.since = Instant::now();
        let pid = running.child.id();
        self.programs.extend(in_kernel(pid));
        *lock(&self.pid) = Some(Pid::from_raw(pid.cast_signed()));
        self.now = Some(running);
        Ok(())
    }

    /// Notes what the tracer has; whether it lives, as it should.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn look(&mut self) -> Result<bool> {
        let Some(running) = &mut self.now else {
            return Ok(false);
        };
        let age = running.since.elapsed();
        let events = lock(&self.heard).sent.len();
        running
            .samples
            .extend(sample(running.child.id(), age, events));
        // Held, so that nobody signals a pid that is free.
        let mut pid = lock(&self.pid);
        let ended = running.child.try_wait();
        let Some(status) = ended.context(|| "look at a tracer".to_owned())? else {
            return Ok(true);
        };
        *pid = None;
        drop(pid);
        self.problems
            .push(format!("the tracer ended by itself: {status}"));
        self.bury(Moment::now(), End::Killed);
        Ok(false)
    }

    /// Notes the life of a tracer that has ended, and returns what it said after its last line.
    fn bury(&mut self, until: Moment, how: End) -> Option<String> {
        let running = self.now.take()?;
        self.lives.push(Life {
            host: self.host,
            began: running.began,
            watching: running.watching,
            until,
            ended: Moment::now(),
            how,
        });
        self.samples.push(running.samples);
        running.reader.join().unwrap_or_default()
    }

    /// Ends the tracer, if there is one.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn end(&mut self, how: End) -> Result<()> {
        let Some(running) = &mut self.now else {
            return Ok(());
        };
        *lock(&self.pid) = None;
        // The pid is this child's until it is waited for.
        let pid = Pid::from_raw(running.child.id().cast_signed());
        let signal = match how {
            End::Asked => Signal::SIGTERM,
            End::Killed => Signal::SIGKILL,
        };
        let until = Moment::now();
        kill(pid, signal).context(|| format!("send {signal} to process {pid}"))?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            let ended = running.child.try_wait();
            if let Some(status) = ended.context(|| "wait for a tracer".to_owned())? {
                break status;
            }
            if Instant::now() > deadline {
                // It has ignored the other one, which its status tells.
                let _signalled = running.child.kill();
            }
            thread::sleep(Duration::from_millis(5));
        };
        let as_asked = match how {
            End::Asked => status.success(),
            End::Killed => status.signal() == Some(Signal::SIGKILL as i32),
        };
        if !as_asked {
            self.problems
                .push(format!("the tracer ended with {status} after {signal}"));
        }
        let unfinished = self.bury(until, how);
        if let (Some(line), End::Asked) = (unfinished, how) {
            lock(&self.heard).garbage.push(line);
        }
        Ok(())
    }

    /// What was heard so far.
    #[must_use]
    pub fn heard(&self) -> Heard {
        lock(&self.heard).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(running) = &mut self.now {
            // It may have ended already, which is as good.
            let _signalled = running.child.kill();
            let _ended = running.child.wait();
        }
    }
}

/// Listens to the end; what came after the last whole line.
fn listen(host: Side, out: ChildStdout, heard: &Mutex<Heard>) -> Option<String> {
    let mut out = BufReader::new(out);
    let mut line = Vec::new();
    while matches!(out.read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line).into_owned();
        let Some(whole) = text.strip_suffix('\n') else {
            return Some(text);
        };
        lock(heard).hear(host, whole);
        line.clear();
    }
    None
}

impl Heard {
    fn hear(&mut self, host: Side, line: &str) {
        let Some((event, id, at)) = read(line) else {
            self.garbage.push(line.to_owned());
            return;
        };
        self.latest = self.latest.max(Moment::now().since(at));
        self.starts += u64::from(event.kind == "start");
        if event.kind == "loss" {
            self.lose(line);
        }
        let kind = match (event.kind.as_str(), event.direction.as_deref()) {
            ("reset", Some("received")) => Some(Kind::Reset(Direction::Received)),
            ("reset", Some("sent")) => Some(Kind::Reset(Direction::Sent)),
            ("close", _) => Some(Kind::Close),
            _ => None,
        };
        let ends = event
            .client
            .and_then(|it| it.socket())
            .zip(event.broker.and_then(|it| it.socket()));
        if let (Some(kind), Some((client, broker))) = (kind, ends) {
            self.told.push(Told {
                id: id.clone(),
                kind,
                place: Place {
                    host,
                    client,
                    broker,
                },
                at,
            });
        }
        self.sent.push(Sent { id, at });
    }

    fn lose(&mut self, line: &str) {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        let source = event["source"]
            .as_str()
            .unwrap_or("nobody knows")
            .to_owned();
        *self.lost.entry(source).or_default() += event["lost"].as_u64().unwrap_or_default();
    }
}

fn read(line: &str) -> Option<(Event, String, Moment)> {
    let event = Event::parse(line).ok()?;
    let id = event.id.clone()?;
    let at = Moment::parse(event.time.as_deref()?)?;
    Some((event, id, at))
}

fn sample(pid: u32, age: Duration, events: usize) -> Option<Sample> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(Sample {
        age,
        events: u32::try_from(events).ok()?,
        resident: resident.split_whitespace().next()?.parse().ok()?,
        descriptors: u32::try_from(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count()).ok()?,
    })
}

/// The ids of the programs that a process holds in the kernel.
fn in_kernel(pid: u32) -> BTreeSet<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo"));
    let entries = entries.into_iter().flatten().flatten();
    entries
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .flat_map(|info| programs_in(&info))
        .collect()
}

/// As `bpf_prog_show_fdinfo` and `bpf_link_show_fdinfo` write them (`kernel/bpf/syscall.c`, 6.18).
fn programs_in(info: &str) -> Vec<u32> {
    let lines = info.lines();
    lines
        .filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            "no event".to_owned(),
        ] {
            heard.hear(Side::Client, &line);
        }
        let kinds: Vec<_> = heard.told.iter().map(|told| told.kind).collect();
        assert_eq!(kinds, [Kind::Reset(Direction::Sent), Kind::Close]);
        assert_eq!(heard.sent.len(), 5);
        assert_eq!(heard.lost, BTreeMap::from([("sink file".to_owned(), 3)]));
        assert_eq!((heard.starts, heard.garbage.len()), (1, 1));
    }

    #[test]
    fn programs_are_found_among_what_the_kernel_tells() {
        let info = "pos:\t0\nflags:\t02000000\nlink_type:\ttracing\nprog_tag:\tab\nprog_id:\t77\n";
        assert_eq!(programs_in(info), [77]);
        assert_eq!(programs_in("pos:\t0\n"), [0_u32; 0]);
    }
}
