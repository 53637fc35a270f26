//! Names that the host knows: of process, container and unit. Optional and
//! bounded: the verdict does not depend on them.

pub mod addresses;
mod cgroup;
pub mod connections;
mod pods;
mod process;
pub mod refresh;

use std::{collections::HashMap, path::PathBuf};

pub use cgroup::{Cgroups, container_id, pod_uid, systemd_unit};
pub use pods::{PodNames, Pods};
pub use process::start_time;
use smol_str::SmolStr;

use crate::{event::Process, facts::Facts, util::clock::WallClock};

/// Where kubelet keeps the logs of pods.
const LOGS: &str = "/var/log";

/// Looks names up.
#[derive(Debug)]
pub struct Enricher {
    cgroups: Option<Cgroups>,
    pods: Pods,
    /// Paths of cgroups, from a recording.
    recorded: HashMap<u64, SmolStr>,
}

impl Default for Enricher {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Enricher {
    /// With the mount point of cgroup v2, where there is one.
    #[must_use]
    pub fn new(cgroup_mount: Option<PathBuf>) -> Self {
        Self {
            cgroups: cgroup_mount.map(Cgroups::new),
            pods: Pods::new(LOGS.into()),
            recorded: HashMap::new(),
        }
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

    /// The owner of an event's socket. `boot` maps time since boot to wall time.
    pub fn process(&mut self, facts: &Facts, boot: WallClock) -> Process {
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
