//! Cgroup ids to paths, and paths to container, pod and unit.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::DirEntryExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use smol_str::{SmolStr, format_smolstr};

/// The tree is walked at most this often for unknown ids.
const WALK_EVERY: Duration = Duration::from_secs(1);
/// Cgroups that are read in one walk, at most.
const WALK_AT_MOST: usize = 50_000;
/// Length of a container id: SHA-256 in hexadecimal.
const CONTAINER_ID: usize = 64;

/// Paths of the cgroups of one hierarchy. The id of a cgroup is the inode
/// number of its directory (kernel: `kernfs_node.id`, since 5.5).
#[derive(Debug)]
pub struct Cgroups {
    mount: PathBuf,
    paths: HashMap<u64, SmolStr>,
    walked: Option<Instant>,
}

impl Cgroups {
    /// Of the hierarchy mounted at `mount`.
    #[must_use]
    pub fn new(mount: PathBuf) -> Self {
        Self {
            mount,
            paths: HashMap::new(),
            walked: None,
        }
    }

    /// The path of a cgroup below the mount point, such as `/system.slice`.
    pub fn path(&mut self, id: u64) -> Option<SmolStr> {
        if !self.paths.contains_key(&id) && self.may_walk() {
            self.walk();
        }
        self.paths.get(&id).cloned()
    }

    fn may_walk(&mut self) -> bool {
        let due = self
            .walked
            .is_none_or(|walked| walked.elapsed() >= WALK_EVERY);
        if due {
            self.walked = Some(Instant::now());
        }
        due
    }

    fn walk(&mut self) {
        self.paths.clear();
        if let Ok(root) = fs::metadata(&self.mount) {
            use std::os::unix::fs::MetadataExt as _;
            self.paths.insert(root.ino(), "/".into());
        }
        let mut pending = vec![self.mount.clone()];
        while let Some(directory) = pending.pop() {
            // A cgroup may vanish while its parent is read.
            let Ok(entries) = fs::read_dir(&directory) else {
                continue;
            };
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                if self.paths.len() >= WALK_AT_MOST {
                    return;
                }
                let path = entry.path();
                self.paths.insert(entry.ino(), below(&self.mount, &path));
                pending.push(path);
            }
        }
    }
}

fn below(mount: &Path, path: &Path) -> SmolStr {
    let relative = path.strip_prefix(mount).unwrap_or(path);
    format_smolstr!("/{}", relative.to_string_lossy())
}

/// What people call a control group.
pub(super) fn label(path: &str) -> SmolStr {
    let last = path.rsplit('/').next().unwrap_or(path);
    if let Some(id) = container_id(last) {
        return format_smolstr!("container {}", id.get(..12).unwrap_or(id));
    }
    if let Some(uid) = pod_uid(last) {
        return format_smolstr!("pod {uid}");
    }
    let is_unit = [".service", ".scope", ".slice"];
    if is_unit.iter().any(|suffix| last.ends_with(suffix)) {
        return last.into();
    }
    format_smolstr!("the control group {path}")
}

/// The container id in a cgroup path: the last component with 64 hexadecimal
/// digits, as Docker, containerd, CRI-O and Podman name theirs.
#[must_use]
pub fn container_id(path: &str) -> Option<&str> {
    path.rsplit('/').find_map(|component| {
        let stem = component.strip_suffix(".scope").unwrap_or(component);
        let start = stem.len().checked_sub(CONTAINER_ID)?;
        let id = stem.get(start..)?;
        let is_id = id.bytes().all(|byte| byte.is_ascii_hexdigit())
            && (start == 0 || stem.as_bytes().get(start - 1) == Some(&b'-'));
        is_id.then_some(id)
    })
}

/// The uid of the Kubernetes pod in a cgroup path: `pod` and a UUID, whose
/// dashes are underscores where systemd names the cgroup, or 32 digits for
/// the static pods of a node.
#[must_use]
pub fn pod_uid(path: &str) -> Option<String> {
    path.split('/').find_map(|component| {
        let stem = component.strip_suffix(".slice").unwrap_or(component);
        // `kubepods-burstable-pod...` of systemd, `pod...` of cgroupfs.
        let uid = stem
            .rsplit_once("-pod")
            .map_or_else(|| stem.strip_prefix("pod"), |it| Some(it.1));
        let uid = uid?.replace('_', "-");
        let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
        let is_uuid = digits == 32 && uid.len() == 36 && uid.matches('-').count() == 4;
        let is_hash = digits == 32 && uid.len() == 32;
        (is_uuid || is_hash).then_some(uid)
    })
}

/// The innermost systemd service or scope in a cgroup path, as `systemctl`
/// names it. That of a container only names the container once more.
#[must_use]
pub fn systemd_unit(path: &str) -> Option<&str> {
    path.rsplit('/').find(|component| {
        [".service", ".scope"]
            .iter()
            .any(|suffix| component.ends_with(suffix))
            && container_id(component).is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn container_ids_of_the_common_runtimes() {
        for path in [
            format!("/system.slice/docker-{ID}.scope"),
            format!("/docker/{ID}"),
            format!("/kubepods.slice/kubepods-besteffort.slice/cri-containerd-{ID}.scope"),
            format!("/kubepods/burstable/pod12345678-1234-1234-1234-123456789012/{ID}"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
        ] {
            assert_eq!(container_id(&path), Some(ID), "{path}");
        }
    }

    #[test]
    fn other_paths_have_none() {
        for path in [
            "/",
            "",
            "/user.slice/user-0.slice/session-1.scope",
            "/x/0123456789abcdef",
        ] {
            assert_eq!(container_id(path), None, "{path}");
        }
    }

    #[test]
    fn pods_and_units_are_named_as_people_know_them() {
        const UID: &str = "12345678-1234-1234-1234-123456789012";
        let underscores = UID.replace('-', "_");
        for (path, pod, unit) in [
            (
                format!("/kubepods/burstable/pod{UID}/{ID}"),
                Some(UID),
                None,
            ),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/\
                     kubepods-burstable-pod{underscores}.slice/cri-containerd-{ID}.scope"
                ),
                Some(UID),
                None,
            ),
            (
                format!("/kubepods.slice/kubepods-pod{underscores}.slice/crio-{ID}.scope"),
                Some(UID),
                None,
            ),
            (
                "/kubepods/besteffort/pod0123456789abcdef0123456789abcdef/x".to_owned(),
                Some("0123456789abcdef0123456789abcdef"),
                None,
            ),
            (
                "/system.slice/kafka.service".to_owned(),
                None,
                Some("kafka.service"),
            ),
            (
                "/system.slice/system-kafka.slice/kafka@1.service/sub".to_owned(),
                None,
                Some("kafka@1.service"),
            ),
            (
                "/user.slice/user-0.slice/session-1.scope".to_owned(),
                None,
                Some("session-1.scope"),
            ),
            (format!("/system.slice/docker-{ID}.scope"), None, None),
            ("/podman.slice/pods/pod-x".to_owned(), None, None),
            ("/".to_owned(), None, None),
        ] {
            assert_eq!(pod_uid(&path).as_deref(), pod, "{path}");
            assert_eq!(systemd_unit(&path), unit, "{path}");
        }
    }

    #[test]
    fn a_cgroup_is_found_by_the_inode_of_its_directory() {
        use std::os::unix::fs::MetadataExt as _;
        let mount = tempfile::tempdir().unwrap();
        let inner = mount.path().join("system.slice/kafka.service");
        fs::create_dir_all(&inner).unwrap();
        let mut cgroups = Cgroups::new(mount.path().to_owned());
        let id = fs::metadata(&inner).unwrap().ino();
        assert_eq!(
            cgroups.path(id).as_deref(),
            Some("/system.slice/kafka.service")
        );
        assert_eq!(cgroups.path(1), None);
    }
}
