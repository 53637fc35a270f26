//! What became of the processes that listen at traced ports.

use std::{collections::VecDeque, num::NonZeroUsize};

use lru::LruCache;
use smol_str::SmolStr;

use crate::{
    event::Role,
    facts::{
        Facts, Trigger,
        process::{
            Change, Ending, Memory, MemoryLimit, OutOfMemory, ProcessFacts, ProcessId, Sender,
            signal,
        },
    },
};

/// Processes remembered.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");
/// Listeners remembered.
const LISTENERS: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// Processes remembered of each: the one that listens and those before it.
const OWNERS: usize = 4;
/// The end of a process explains an event of a connection that is known to have been its own,
/// however late, and one that only came to its port for so long.
const EXPLAINS_NS: u64 = 300_000_000_000;
/// What was under way to a process comes, or is sent again, for so long after its end.
const UNDER_WAY_NS: u64 = 3_500_000_000;
/// A request to end explains what follows for so long; a new one after that is another.
const ASKED_NS: u64 = 600_000_000_000;
/// A suspension explains what clients gave up for so long after.
const SUSPENDED_NS: u64 = 60_000_000_000;
/// An event and the end of its process that are judged together may be this far out of order:
/// what closes its connections first does it before its end.
const BEFORE_ITS_END_MS: f64 = 1_000.0;

/// What became of a process, as seen from the time of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessEnd {
    /// The process.
    pub process: ProcessId,
    /// Command name of its first thread.
    pub name: Option<SmolStr>,
    /// What became of it.
    pub fate: Fate,
    /// Its end, and milliseconds from that to the event.
    pub ended: Option<(Ending, f64)>,
    /// The first signal that asked it to end.
    pub asked: Option<Request>,
}

/// Who or what ended a process or suspended it.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It runs, or ended as its exit code says.
    Own,
    /// The out-of-memory killer ended it.
    OutOfMemory(OutOfMemory),
    /// Another process, or the kernel, sent the signal that ended it.
    Killed(Option<Sender>),
    /// It was suspended.
    Suspended {
        /// By whom.
        by: Sender,
        /// With which signal.
        signal: u8,
        /// For so long, ms.
        ms: f64,
        /// Whether it runs again.
        is_over: bool,
    },
}

/// A request to end.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The signal.
    pub signal: u8,
    /// Who sent it.
    pub by: Sender,
    /// Milliseconds from it to the end of the process, or to the event.
    pub ms: f64,
}

impl ProcessEnd {
    /// It has ended.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// It ended before the event, or just after it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended.is_some_and(|(_, ms)| ms >= -BEFORE_ITS_END_MS)
    }

    /// It ended, or was asked to: what its own end of a connection does is part of that.
    /// `SIGHUP` has some services read their configuration again.
    #[must_use]
    pub fn is_going(&self) -> bool {
        let is_asked = self.asked.as_ref();
        self.is_over() || is_asked.is_some_and(|it| it.signal != signal::HUP)
    }
}

#[derive(Clone, Debug)]
struct Sent {
    at_ns: u64,
    signal: u8,
    by: Sender,
}

#[derive(Clone, Debug)]
struct Suspension {
    sent: Sent,
    until_ns: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Process {
    name: Option<SmolStr>,
    memory: Option<MemoryLimit>,
    asked: Option<Sent>,
    /// The latest of the others.
    struck: Option<Sent>,
    out_of_memory: Option<OutOfMemory>,
    suspended: Option<Suspension>,
    ended: Option<(u64, Ending)>,
}

/// All of them.
#[derive(Debug)]
pub struct Processes {
    known: LruCache<ProcessId, Process>,
    /// The owners of each port, the latest last.
    listeners: LruCache<(u32, u16), VecDeque<Listening>>,
}

/// A process had a listener at a port, of one address or of all.
#[derive(Clone, Copy, Debug)]
struct Listening {
    process: ProcessId,
    /// When it was first seen to.
    since_ns: u64,
}

impl Default for Processes {
    fn default() -> Self {
        Self {
            known: LruCache::new(PROCESSES),
            listeners: LruCache::new(LISTENERS),
        }
    }
}

impl Processes {
    /// Takes in what happened to one.
    pub fn observe(&mut self, facts: &ProcessFacts) {
        let ProcessFacts {
            at_ns,
            process: id,
            name,
            change,
        } = facts;
        let process = self.known.get_or_insert_mut(*id, Process::default);
        if name.is_some() {
            process.name.clone_from(name);
        }
        match change {
            Change::Listens { netns, port } => self.listens(*id, *at_ns, (*netns, *port)),
            Change::Signalled { signal, by } => process.signalled(Sent {
                at_ns: *at_ns,
                signal: *signal,
                by: by.clone(),
            }),
            Change::OutOfMemory => {
                let limit = process.memory.clone();
                process
                    .out_of_memory
                    .get_or_insert(OutOfMemory::Unknown(limit));
            }
            Change::Ended(ending) => process.ended = Some((*at_ns, *ending)),
        }
    }

    /// Takes in what the host shows of the memory of one.
    pub fn observe_memory(&mut self, id: ProcessId, memory: &Memory) {
        let process = self.known.get_or_insert_mut(id, Process::default);
        match memory {
            Memory::Limit(limit) => process.memory = Some(limit.clone()),
            // What the group allowed may be known from before only.
            Memory::Out(OutOfMemory::OfSomeGroup) => {
                let limit = process.memory.clone();
                process.out_of_memory =
                    Some(limit.map_or(OutOfMemory::OfSomeGroup, OutOfMemory::OfGroup));
            }
            Memory::Out(OutOfMemory::Unknown(_)) => {}
            Memory::Out(what) => process.out_of_memory = Some(what.clone()),
        }
    }

    fn listens(&mut self, process: ProcessId, at_ns: u64, port: (u32, u16)) {
        let owners = self.listeners.get_or_insert_mut(port, VecDeque::new);
        let known = owners.iter().find(|it| it.process == process);
        let since_ns = known.map_or(at_ns, |it| it.since_ns);
        owners.retain(|it| it.process != process);
        if owners.len() == OWNERS {
            owners.pop_front();
        }
        owners.push_back(Listening { process, since_ns });
    }

    /// Whether `this` is the only one that had the port in its time: two at once have an
    /// address each, and which of them a packet was for is not known.
    fn is_alone(&self, this: Listening, owners: &VecDeque<Listening>) -> bool {
        let end_of = |it: &Listening| {
            let (ended_ns, _) = self.known.peek(&it.process)?.ended?;
            Some(ended_ns)
        };
        let ended_ns = end_of(&this);
        owners.iter().all(|other| {
            other.process == this.process
                || end_of(other).is_some_and(|ended_ns| ended_ns <= this.since_ns)
                || ended_ns.is_some_and(|ended_ns| ended_ns <= other.since_ns)
        })
    }

    /// What became of the process that the broker's end of an event belongs to, where that end
    /// is on this host.
    #[must_use]
    pub fn of(&mut self, facts: &Facts) -> Option<ProcessEnd> {
        if self.known.is_empty() {
            return None;
        }
        let is_broker = |it: &&Facts| it.role == Role::Broker;
        let ends = [Some(facts), facts.other_end.as_deref()];
        let broker = ends.into_iter().flatten().find(is_broker)?;
        let at_ns = broker.at_ns.max(facts.at_ns);
        if let Some(id) = broker.owner.process()
            && broker.id.is_some()
        {
            return self.known.get(&id)?.seen_at(id, at_ns);
        }
        self.of_port(broker, at_ns)
    }

    /// Where no socket names its owner: the process that had the port, and whose end the
    /// packet met.
    fn of_port(&self, broker: &Facts, at_ns: u64) -> Option<ProcessEnd> {
        if broker.queue_full {
            return None;
        }
        let asks = broker.trigger.is_some_and(Trigger::is_syn);
        let began_ns = broker.began_ns();
        let key = (broker.netns.unwrap_or(0), broker.local.port);
        let owners = self.listeners.peek(&key)?;
        // An event is held for a while: who listens since was not there yet.
        let had_it = owners.iter().rev().filter(|it| it.since_ns <= at_ns);
        had_it.enumerate().find_map(|(nth, owner)| {
            let process = self.known.peek(&owner.process)?;
            let Some((ended_ns, _)) = process.ended else {
                // It closes its listener first, and lives on for as long as it takes to stop.
                let explains = nth == 0 && asks && broker.listened == Some(false);
                return process
                    .seen_at(owner.process, at_ns)
                    .filter(|end| explains && end.is_going() && self.is_alone(*owner, owners));
            };
            let since_ns = at_ns.saturating_sub(ended_ns);
            let was_its_own =
                broker.is_had() && began_ns.is_none_or(|began_ns| began_ns <= ended_ns);
            let explains = match nth {
                // None has the port since: who asks for a connection now finds nothing.
                0 => asks || was_its_own || since_ns <= UNDER_WAY_NS,
                _ => was_its_own && began_ns.is_some(),
            };
            let is_recent = since_ns <= EXPLAINS_NS;
            process
                .seen_at(owner.process, at_ns)
                .filter(|_| explains && is_recent && self.is_alone(*owner, owners))
        })
    }
}

impl Process {
    fn signalled(&mut self, sent: Sent) {
        match sent.signal {
            signal::HUP | signal::INT | signal::TERM => {
                let again = self.asked.as_ref().is_some_and(|asked| {
                    let is_late = sent.at_ns.saturating_sub(asked.at_ns) > ASKED_NS;
                    !is_late && (asked.signal != signal::HUP || sent.signal == signal::HUP)
                });
                if !again {
                    self.asked = Some(sent);
                }
            }
            signal::CONT => {
                if let Some(suspended) = &mut self.suspended {
                    suspended.until_ns.get_or_insert(sent.at_ns);
                }
            }
            signal::STOP | signal::TSTP => {
                let is_stopped = self
                    .suspended
                    .as_ref()
                    .is_some_and(|it| it.until_ns.is_none());
                if !is_stopped {
                    self.suspended = Some(Suspension {
                        sent,
                        until_ns: None,
                    });
                }
            }
            // Most of them only have a JVM print its threads (SIGQUIT), or do nothing.
            _ => self.struck = Some(sent),
        }
    }

    fn seen_at(&self, process: ProcessId, at_ns: u64) -> Option<ProcessEnd> {
        let ended = self
            .ended
            .map(|(ended_ns, ending)| (ending, ms_between(ended_ns, at_ns)));
        let until_ns = self.ended.map_or(at_ns, |(ended_ns, _)| ended_ns);
        let asked = self
            .asked
            .as_ref()
            .filter(|asked| asked.at_ns <= until_ns && until_ns - asked.at_ns <= ASKED_NS);
        let asked = asked.map(|asked| Request {
            signal: asked.signal,
            by: asked.by.clone(),
            ms: ms_between(asked.at_ns, until_ns),
        });
        let fate = self.fate(at_ns);
        if ended.is_none() && asked.is_none() && fate == Fate::Own {
            return None;
        }
        Some(ProcessEnd {
            process,
            name: self.name.clone(),
            fate,
            ended,
            asked,
        })
    }

    fn fate(&self, at_ns: u64) -> Fate {
        match (&self.out_of_memory, self.ended) {
            // It may have ended in another way before the signal reached it.
            (
                Some(what),
                None
                | Some((
                    _,
                    Ending::Signal {
                        signal: signal::KILL,
                        ..
                    },
                )),
            ) => {
                return Fate::OutOfMemory(what.clone());
            }
            (_, Some((ended_ns, Ending::Signal { signal, .. }))) => {
                let sent = [&self.struck, &self.asked].into_iter().flatten();
                let by = sent
                    .filter(|sent| sent.signal == signal && sent.at_ns <= ended_ns)
                    .map(|sent| sent.by.clone())
                    .next();
                return match by {
                    None if signal::is_own(signal) => Fate::Own,
                    by => Fate::Killed(by),
                };
            }
            (_, Some(_)) => return Fate::Own,
            (None, None) => {}
        }
        let Some(Suspension { sent, until_ns }) = &self.suspended else {
            return Fate::Own;
        };
        let is_over = until_ns.is_some_and(|until_ns| until_ns <= at_ns);
        let until_ns = until_ns.unwrap_or(at_ns).min(at_ns);
        if sent.at_ns > at_ns || at_ns - until_ns > SUSPENDED_NS {
            return Fate::Own;
        }
        Fate::Suspended {
            by: sent.by.clone(),
            signal: sent.signal,
            ms: ms_between(sent.at_ns, until_ns),
            is_over,
        }
    }
}

/// From one time to another, which may be before it.
#[expect(clippy::cast_precision_loss, reason = "a span of milliseconds")]
fn ms_between(from_ns: u64, to_ns: u64) -> f64 {
    let ms = from_ns.abs_diff(to_ns) as f64 / 1e6;
    if to_ns < from_ns { -ms } else { ms }
}
