//! What each agent watched, and when: what the absence of an event rests on.

use std::{net::IpAddr, sync::Arc};

use foldhash::HashMap;
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::{
    checkpoints::{Checkpoint, Checkpoints},
    coverage::Addresses,
    line::{Origin, Watched},
    numbers::Numbers,
};
use crate::event::{Endpoint, Missing};

/// An event may be written this long after it happened: most are held briefly, so that
/// related ones can be correlated.
const HELD_NS: i64 = 1_000_000_000;
/// Summaries and losses of one run that are kept at least; older ones go with the window.
const KEPT: usize = 64;

/// A host in one boot: a name that boots again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct HostId {
    /// First, so that the order of two hosts does not depend on whose events came first.
    boot: u64,
    index: u32,
}

/// One run of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct AgentId(u32);

/// All agents that were heard of.
#[derive(Debug, Default)]
pub(super) struct Agents {
    hosts: HashMap<(SmolStr, u64), HostId>,
    /// By their index.
    names: Vec<SmolStr>,
    runs: HashMap<(HostId, u64), AgentId>,
    /// The agent that was heard of last with this boot and run: nearly always the only one.
    latest: HashMap<(u64, u64), AgentId>,
    all: Vec<Agent>,
    owners: HashMap<IpAddr, SmallVec<[AgentId; 1]>>,
}

#[derive(Debug)]
struct Agent {
    host: HostId,
    run: u64,
    name: SmolStr,
    /// When it was attached.
    start_ns: Option<i64>,
    degraded: bool,
    /// Its start and summaries, by their numbers.
    checkpoints: Checkpoints,
    /// The numbers of the events that were read.
    numbers: Numbers,
    losses_ns: Vec<i64>,
    addresses: Addresses,
}

/// Whether an agent would have reported a RST that its host sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    /// Whose watch it is.
    pub(super) agent: Option<AgentId>,
    /// What it lacks; nothing if the absence of an event is proof.
    pub(super) missing: Vec<Missing>,
    /// From when, by its own clock.
    pub(super) from_ns: i64,
    /// Until when.
    pub(super) until_ns: i64,
}

impl Watch {
    const fn lacking(missing: Vec<Missing>) -> Self {
        Self {
            agent: None,
            missing,
            from_ns: 0,
            until_ns: 0,
        }
    }

    /// The host was watching and lost nothing.
    pub(super) const fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.agent.is_some()
    }
}

impl Agents {
    /// The agent of an event; `None` if the event was read before.
    pub(super) fn of(&mut self, host: &str, origin: Origin) -> Option<AgentId> {
        let key = (origin.boot, origin.run);
        let latest = self.latest.get(&key).copied();
        let agent = match latest {
            Some(agent) if self.get(agent).is_some_and(|it| it.name == host) => agent,
            _ => {
                let agent = self.found(host, origin)?;
                self.latest.insert(key, agent);
                agent
            }
        };
        self.get_mut(agent)?
            .numbers
            .insert(origin.number)
            .then_some(agent)
    }

    /// The agent of that name, boot and run, which may be a new one.
    fn found(&mut self, host: &str, origin: Origin) -> Option<AgentId> {
        let next = HostId {
            boot: origin.boot,
            index: u32::try_from(self.hosts.len()).ok()?,
        };
        let name = SmolStr::new(host);
        let names = &mut self.names;
        let host_id = *self
            .hosts
            .entry((name.clone(), origin.boot))
            .or_insert_with(|| {
                names.push(name.clone());
                next
            });
        let next = AgentId(u32::try_from(self.all.len()).ok()?);
        Some(*self.runs.entry((host_id, origin.run)).or_insert_with(|| {
            self.all.push(Agent {
                host: host_id,
                run: origin.run,
                name,
                start_ns: None,
                degraded: false,
                checkpoints: Checkpoints::default(),
                numbers: Numbers::default(),
                losses_ns: Vec::new(),
                addresses: None,
            });
            next
        }))
    }

    fn get(&self, agent: AgentId) -> Option<&Agent> {
        self.all.get(agent.0 as usize)
    }

    fn get_mut(&mut self, agent: AgentId) -> Option<&mut Agent> {
        self.all.get_mut(agent.0 as usize)
    }

    /// The host of an agent.
    pub(super) fn host(&self, agent: AgentId) -> Option<HostId> {
        self.get(agent).map(|it| it.host)
    }

    /// The name of its host.
    pub(super) fn name(&self, agent: AgentId) -> SmolStr {
        self.get(agent)
            .map(|it| it.name.clone())
            .unwrap_or_default()
    }

    /// The name of a host.
    pub(super) fn host_name(&self, host: HostId) -> SmolStr {
        let name = self.names.get(host.index as usize);
        name.cloned().unwrap_or_default()
    }

    /// An agent is attached.
    pub(super) fn start(&mut self, agent: AgentId, number: u64, at_ns: i64, degraded: bool) {
        if let Some(it) = self.get_mut(agent) {
            it.start_ns = Some(at_ns);
            it.degraded = degraded;
            let watched = Watched::default();
            it.checkpoints.insert(number, Checkpoint { at_ns, watched });
        }
    }

    /// An agent reported that records were lost.
    pub(super) fn loss(&mut self, agent: AgentId, at_ns: i64) {
        if let Some(it) = self.get_mut(agent) {
            it.losses_ns.push(at_ns);
        }
    }

    /// An agent reported what it watched so far.
    pub(super) fn summary(&mut self, agent: AgentId, number: u64, at_ns: i64, watched: Watched) {
        let Some(it) = self.all.get_mut(agent.0 as usize) else {
            return;
        };
        if it.addresses != watched.addresses {
            for address in watched.addresses.iter().flat_map(|all| all.iter()) {
                let owners = self.owners.entry(*address).or_default();
                if !owners.contains(&agent) {
                    owners.push(agent);
                }
            }
            it.addresses.clone_from(&watched.addresses);
        }
        it.checkpoints.insert(number, Checkpoint { at_ns, watched });
    }

    /// Forgets what ended before `before_ns`.
    pub(super) fn forget(&mut self, before_ns: i64) {
        for it in &mut self.all {
            let surplus = it.losses_ns.len().saturating_sub(KEPT);
            let old = it.losses_ns.iter().take(surplus);
            let old = old.take_while(|at| **at < before_ns).count();
            it.losses_ns.drain(..old);
            it.checkpoints.forget(before_ns, KEPT);
        }
    }

    /// Whether some agent reports from `address`.
    pub(super) fn knows(&self, address: IpAddr) -> bool {
        self.owners.contains_key(&address)
    }

    /// Whether the host that has `end.address` would have reported a RST that it sent at a
    /// time, which `clock` gives by the clock of each host. `port` is the broker's.
    pub(super) fn watch(&self, address: IpAddr, port: u16, clock: impl Fn(HostId) -> i64) -> Watch {
        let owners = self
            .owners
            .get(&address)
            .map_or(&[][..], |it| it.as_slice());
        let mut watches: SmallVec<[((HostId, u64), Watch); 2]> = SmallVec::new();
        for agent in owners {
            if let Some(it) = self.get(*agent) {
                let watch = it.watch(*agent, address, port, clock(it.host));
                watches.push(((it.host, it.run), watch));
            }
        }
        // Of several agents of one host the best one counts; of an earlier run that has ended,
        // or a later one, nothing follows.
        watches.sort_by(|(a, one), (b, other)| {
            let size = one.missing.len().cmp(&other.missing.len());
            size.then_with(|| one.missing.cmp(&other.missing))
                .then_with(|| a.cmp(b))
        });
        let covering: SmallVec<[HostId; 2]> = watches
            .iter()
            .filter(|(_, watch)| !is_elsewhen(&watch.missing))
            .map(|((host, _), _)| *host)
            .collect();
        if covering.iter().any(|host| Some(host) != covering.first()) {
            return Watch::lacking(vec![Missing::Address]);
        }
        let best = watches
            .iter()
            .position(|(_, watch)| !is_elsewhen(&watch.missing))
            .unwrap_or(0);
        if best < watches.len() {
            watches.swap_remove(best).1
        } else {
            Watch::lacking(vec![Missing::NoAgent])
        }
    }

    /// The watch of one agent, which is known to have the connection's end.
    pub(super) fn watch_of(&self, agent: AgentId, end: Endpoint, port: u16, at_ns: i64) -> Watch {
        self.get(agent).map_or_else(
            || Watch::lacking(vec![Missing::NoAgent]),
            |it| it.watch(agent, end.address, port, at_ns),
        )
    }
}

/// The agent did not run at that time.
fn is_elsewhen(missing: &[Missing]) -> bool {
    missing
        .iter()
        .any(|it| matches!(it, Missing::NotAttachedYet | Missing::Ended))
}

impl Agent {
    fn watch(&self, agent: AgentId, address: IpAddr, port: u16, at_ns: i64) -> Watch {
        let mut watch = Watch {
            agent: Some(agent),
            missing: Vec::new(),
            from_ns: self.start_ns.unwrap_or(at_ns),
            until_ns: at_ns,
        };
        let lacks = &mut watch.missing;
        if self.start_ns.is_none_or(|start| start > at_ns) {
            lacks.push(Missing::NotAttachedYet);
            return watch;
        }
        let Some(after) = self.checkpoints.first_after(at_ns, HELD_NS) else {
            lacks.push(Missing::Ended);
            return watch;
        };
        let (last_number, last) = after.checkpoint();
        watch.until_ns = last.at_ns;
        let Some((first_number, first)) = after.last_before(at_ns) else {
            lacks.push(Missing::Lost);
            return watch;
        };
        watch.from_ns = first.at_ns;
        let (earlier, later) = (&first.watched, &last.watched);
        let lost = later.lost > earlier.lost
            || !self.numbers.has_all(first_number..=last_number)
            || self
                .losses_ns
                .iter()
                .any(|at| (first.at_ns..=last.at_ns).contains(at));
        if lost {
            lacks.push(Missing::Lost);
        }
        if later.unshown > earlier.unshown {
            lacks.push(Missing::Unshown);
        }
        if self.degraded {
            lacks.push(Missing::Degraded);
        }
        let traced = |(first, last): &(u16, u16)| (*first..=*last).contains(&port);
        if !later.ports.iter().any(traced) {
            lacks.push(Missing::Port);
        }
        let has = |addresses: &Arc<[IpAddr]>| addresses.contains(&address);
        if !later.addresses.as_ref().is_some_and(has) {
            lacks.push(Missing::Address);
        }
        watch
    }
}
