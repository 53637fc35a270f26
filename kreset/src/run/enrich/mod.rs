//! Names that the host knows: of process, container and unit. Optional and
//! bounded: the verdict does not depend on them.

pub mod addresses;
mod cgroup;
pub mod connections;
mod executable;
mod kernel_log;
mod load;
mod memory;
mod pods;
mod process;
pub mod refresh;
mod small_file;

use std::{collections::HashMap, net::IpAddr, path::PathBuf, sync::Arc};

pub use cgroup::{Cgroups, container_id, pod_uid, systemd_unit};
pub use kernel_log::KernelLog;
pub use pods::{PodNames, Pods};
pub use process::start_time;
use smol_str::SmolStr;

use self::{executable::Executables, load::LoadOfProcesses, memory::MemoryOfProcesses};
use crate::{
    classify::finding::Names,
    event::{self, ClientNames, NamedHost, NamesShown, Process, Role},
    facts::{
        Facts, Owner,
        load::HostLoad,
        process::{Memory, ProcessFacts, ProcessId},
    },
    util::{clock::WallClock, host_names::HostNames},
};

/// Where kubelet keeps the logs of pods.
const LOGS: &str = "/var/log";

/// How what an event is about is named.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// What of the clients' own names is shown.
    pub clients: NamesShown,
    /// Names of addresses.
    pub hosts: Option<Arc<HostNames>>,
}

/// Looks names up.
#[derive(Debug)]
pub struct Enricher {
    cgroups: Option<Cgroups>,
    pods: Pods,
    executables: Executables,
    memory: MemoryOfProcesses,
    load: LoadOfProcesses,
    naming: Naming,
    /// Paths of cgroups, from a recording.
    recorded: HashMap<u64, SmolStr>,
}

impl Enricher {
    /// For what happens on this host now, with the mount point of cgroup v2, where there
    /// is one, and the kernel's log, if that may be read.
    #[must_use]
    pub fn live(cgroup_mount: Option<PathBuf>, log: Option<KernelLog>, naming: Naming) -> Self {
        Self {
            cgroups: cgroup_mount.clone().map(Cgroups::new),
            load: LoadOfProcesses::of_this_host(cgroup_mount),
            executables: Executables::of_this_host(),
            memory: MemoryOfProcesses::of_this_host(log),
            ..Self::of_files(naming)
        }
    }

    /// For files: what runs on this host now has nothing to do with them.
    #[must_use]
    pub fn of_files(naming: Naming) -> Self {
        Self {
            cgroups: None,
            pods: Pods::new(LOGS.into()),
            executables: Executables::default(),
            memory: MemoryOfProcesses::default(),
            load: LoadOfProcesses::default(),
            naming,
            recorded: HashMap::new(),
        }
    }

    /// Changes how what an event is about is named.
    pub fn rename(&mut self, naming: Naming) {
        self.naming = naming;
    }

    /// Adds the path of a cgroup from a recording.
    pub fn add_cgroup(&mut self, id: u64, path: SmolStr) {
        self.recorded.insert(id, path);
    }

    /// The path of a cgroup.
    pub fn cgroup(&mut self, id: u64) -> Option<SmolStr> {
        let found = self.cgroups.as_mut().and_then(|cgroups| cgroups.path(id));
        found.or_else(|| self.recorded.get(&id).cloned())
    }

    /// The names of what an event's connection belongs to. `boot` maps time since boot to
    /// wall time.
    pub fn names(&mut self, facts: &Facts, boot: WallClock) -> Names {
        let other = facts.other_end.as_deref();
        let client = self
            .client_names(facts)
            .filter(|names| *names != ClientNames::default())
            .or_else(|| self.client_names(other?));
        Names {
            process: self.process(facts, boot),
            other_process: other.map_or_else(Process::default, |it| self.process(it, boot)),
            client: client.unwrap_or_default(),
            hosts: self.host_names(facts),
        }
    }

    /// What of the client's own names is shown, as one end saw them.
    fn client_names(&self, facts: &Facts) -> Option<ClientNames> {
        let names = facts.packets.as_ref()?.client_names();
        Some(self.naming.clients.of(names))
    }

    fn host_names(&self, facts: &Facts) -> Option<event::HostNames> {
        let hosts = self.naming.hosts.as_ref()?;
        let names = event::HostNames {
            client: hosts.of(facts.client().address),
            broker: hosts.of(facts.broker().address),
        };
        (names != event::HostNames::default()).then_some(names)
    }

    /// What the operator calls the hosts of these addresses, of those that have a name; each once.
    #[must_use]
    pub fn named_hosts(&self, addresses: impl Iterator<Item = IpAddr>) -> Vec<NamedHost> {
        let Some(hosts) = &self.naming.hosts else {
            return Vec::new();
        };
        let mut named: Vec<NamedHost> = Vec::new();
        for address in addresses {
            if let Some(name) = hosts.of(address)
                && !named.iter().any(|it| it.address == address)
            {
                named.push(NamedHost { address, name });
            }
        }
        named
    }

    /// What this host shows of the memory of a process when something happens to it.
    pub fn memory(&mut self, facts: &ProcessFacts) -> Option<Memory> {
        self.memory.at(facts)
    }

    /// Reads how busy the broker's process of this host is when a connection of its ends,
    /// unless that was read just before.
    pub fn read_load(&mut self, facts: &Facts, now_ns: u64) -> Option<(ProcessId, &HostLoad)> {
        if facts.role != Role::Broker || !facts.is_end() {
            return None;
        }
        let process = facts.owner.process()?;
        let cgroup = facts.owner.cgroup_id.and_then(|id| self.cgroup(id));
        let load = self.load.read(process, cgroup.as_deref(), now_ns)?;
        Some((process, load))
    }

    /// Takes in what was read of a process at `now_ns`.
    pub fn observe_load(&mut self, process: ProcessId, load: HostLoad, now_ns: u64) {
        self.load.observe(process, load, now_ns);
    }

    /// How busy the broker's process was when one of its connections ended, if that was read.
    #[must_use]
    pub fn load(&self, facts: &Facts) -> Option<HostLoad> {
        if facts.role != Role::Broker || !facts.is_end() {
            return None;
        }
        self.load.near(facts.owner.process()?, facts.at_ns)
    }

    /// What the client of a connection calls itself, or the thread that it is of on this host.
    #[must_use]
    pub fn client_name(&self, facts: &Facts) -> Option<SmolStr> {
        let mut ends = std::iter::once(facts).chain(facts.other_end.as_deref());
        let own = ends.clone().find_map(|it| self.client_names(it)?.id);
        own.or_else(|| {
            let client = ends.find(|it| it.role == Role::Client)?;
            client.owner.name.clone()
        })
    }

    /// Reads the names of a process that is about to end, while it can.
    pub fn remember(&mut self, owner: &Owner) {
        let _known = self.executables.of(owner);
    }

    fn process(&mut self, facts: &Facts, boot: WallClock) -> Process {
        let owner = &facts.owner;
        let cgroup = owner.cgroup_id.and_then(|id| self.cgroup(id));
        let container = cgroup.as_deref().and_then(container_id);
        let uid = cgroup.as_deref().and_then(pod_uid);
        let names = uid.as_deref().map(|uid| self.pods.names(uid, container));
        let PodNames {
            pod: pod_name,
            namespace: pod_namespace,
            container: container_name,
        } = names.unwrap_or_default();
        Process {
            pid: owner.pid,
            name: owner.name.clone(),
            executable: self.executables.of(owner),
            start_time: start_time(owner, boot),
            pod_uid: uid.map(SmolStr::from),
            pod_name,
            pod_namespace,
            systemd_unit: cgroup.as_deref().and_then(systemd_unit).map(SmolStr::from),
            container_id: container.map(SmolStr::from),
            container_name,
            cgroup,
            netns: facts.netns,
        }
    }
}
