//! Names that the host knows: of process, container and unit. Optional and
//! bounded: the verdict does not depend on them.

pub mod addresses;
mod cgroup;
mod process;

use std::path::PathBuf;

pub use cgroup::{Cgroups, container_id, pod_uid, systemd_unit};
pub use process::start_time;
use smol_str::SmolStr;

use crate::{event::Process, facts::Facts, util::clock::WallClock};

/// Looks names up.
#[derive(Debug, Default)]
pub struct Enricher {
    cgroups: Option<Cgroups>,
}

impl Enricher {
    /// With the mount point of cgroup v2, where there is one.
    #[must_use]
    pub fn new(cgroup_mount: Option<PathBuf>) -> Self {
        Self {
            cgroups: cgroup_mount.map(Cgroups::new),
        }
    }

    /// The owner of an event's socket. `boot` maps time since boot to wall time.
    pub fn process(&mut self, facts: &Facts, boot: WallClock) -> Process {
        let owner = &facts.owner;
        let cgroup = owner.cgroup_id.and_then(|id| {
            let cgroups = self.cgroups.as_mut()?;
            cgroups.path(id)
        });
        Process {
            pid: owner.pid,
            name: owner.name.clone(),
            start_time: start_time(owner, boot),
            pod_uid: cgroup.as_deref().and_then(pod_uid).map(SmolStr::from),
            systemd_unit: cgroup.as_deref().and_then(systemd_unit).map(SmolStr::from),
            container_id: cgroup.as_deref().and_then(container_id).map(SmolStr::from),
            cgroup,
            netns: facts.netns,
        }
    }
}
