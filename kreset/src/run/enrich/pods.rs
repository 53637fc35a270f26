//! The names of pods and containers, from the directories in which kubelet keeps their logs.
//!
//! No request to the API server: `/var/log/pods/NAMESPACE_POD_UID/CONTAINER` has the pod's names by
//! its uid (`BuildPodLogsDirectory` in kubelet's `pkg/kubelet/kuberuntime/helpers.go`), and
//! `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log` the container's by its id
//! (`LogSymlink` in `legacy.go` beside it). Names of Kubernetes contain no underscore.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use smol_str::SmolStr;

/// The directories are read at most this often for unknown pods.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Entries that are read of a directory, at most: kubelet allows some hundred pods a node.
const AT_MOST: usize = 10_000;

/// What Kubernetes calls a process's pod and container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodNames {
    /// The pod.
    pub pod: Option<SmolStr>,
    /// The pod's namespace.
    pub namespace: Option<SmolStr>,
    /// The container in the pod.
    pub container: Option<SmolStr>,
}

/// The pods of this node.
#[derive(Debug)]
pub struct Pods {
    logs: PathBuf,
    by_uid: HashMap<String, Pod>,
    containers: HashMap<String, SmolStr>,
    read: Option<Instant>,
}

#[derive(Debug)]
struct Pod {
    namespace: SmolStr,
    name: SmolStr,
    directory: PathBuf,
}

impl Pods {
    /// Of the node whose logs are below `logs`, which is `/var/log` but in tests.
    #[must_use]
    pub fn new(logs: PathBuf) -> Self {
        Self {
            logs,
            by_uid: HashMap::new(),
            containers: HashMap::new(),
            read: None,
        }
    }

    /// The names of the pod with this uid, and of its container with this id.
    pub fn names(&mut self, uid: &str, container: Option<&str>) -> PodNames {
        let is_new = !self.by_uid.contains_key(uid)
            || container.is_some_and(|id| !self.containers.contains_key(id));
        if is_new && self.may_read() {
            self.by_uid = pods(&self.logs.join("pods"));
            self.containers = containers(&self.logs.join("containers"));
        }
        let Some(pod) = self.by_uid.get(uid) else {
            return PodNames::default();
        };
        let by_id = container.and_then(|id| self.containers.get(id).cloned());
        PodNames {
            pod: Some(pod.name.clone()),
            namespace: Some(pod.namespace.clone()),
            container: by_id.or_else(|| only_directory(&pod.directory)),
        }
    }

    fn may_read(&mut self) -> bool {
        let due = self.read.is_none_or(|read| read.elapsed() >= READ_EVERY);
        if due {
            self.read = Some(Instant::now());
        }
        due
    }
}

/// `NAMESPACE_POD_UID`, each with what its name says.
fn pods(directory: &Path) -> HashMap<String, Pod> {
    entries(directory)
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let [namespace, pod, uid] = parts(name)?;
            let pod = Pod {
                namespace: namespace.into(),
                name: pod.into(),
                directory: path.clone(),
            };
            Some((uid.to_owned(), pod))
        })
        .collect()
}

/// `POD_NAMESPACE_CONTAINER-ID.log`: id to the container's name.
fn containers(directory: &Path) -> HashMap<String, SmolStr> {
    entries(directory)
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".log")?;
            let [_, _, container] = parts(name)?;
            let (name, id) = container.rsplit_once('-')?;
            Some((id.to_owned(), name.into()))
        })
        .collect()
}

fn parts(name: &str) -> Option<[&str; 3]> {
    let mut parts = name.split('_');
    let three = [parts.next()?, parts.next()?, parts.next()?];
    (parts.next().is_none() && three.iter().all(|it| !it.is_empty())).then_some(three)
}

/// The container of a pod that has one alone.
fn only_directory(pod: &Path) -> Option<SmolStr> {
    let mut directories = entries(pod).filter(|path| path.is_dir());
    let only = directories.next()?;
    if directories.next().is_some() {
        return None;
    }
    Some(only.file_name()?.to_str()?.into())
}

/// The entries of a directory; none where it cannot be read, as on a host without kubelet.
fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.flatten().take(AT_MOST).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "8f3c2b1a-0000-4000-8000-0123456789ab";
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn names(pod: &str, namespace: &str, container: Option<&str>) -> PodNames {
        PodNames {
            pod: Some(pod.into()),
            namespace: Some(namespace.into()),
            container: container.map(SmolStr::from),
        }
    }

    #[test]
    fn the_directories_of_kubelet_name_pod_and_container() {
        let logs = tempfile::tempdir().unwrap();
        let pod = logs.path().join(format!("pods/shop_orders-7d9f_{UID}"));
        fs::create_dir_all(pod.join("orders")).unwrap();
        let mut pods = Pods::new(logs.path().to_owned());
        // One container alone needs no id.
        assert_eq!(
            pods.names(UID, None),
            names("orders-7d9f", "shop", Some("orders"))
        );
        // Of two, the one with the id; without it either may be meant.
        fs::create_dir_all(pod.join("istio-proxy")).unwrap();
        let containers = logs.path().join("containers");
        fs::create_dir(&containers).unwrap();
        let link = containers.join(format!("orders-7d9f_shop_istio-proxy-{ID}.log"));
        fs::write(link, []).unwrap();
        pods.read = None;
        assert_eq!(
            pods.names(UID, Some(ID)),
            names("orders-7d9f", "shop", Some("istio-proxy"))
        );
        assert_eq!(pods.names(UID, None), names("orders-7d9f", "shop", None));
        // Another container's id is not this one's.
        assert_eq!(
            pods.names(UID, Some("f00")),
            names("orders-7d9f", "shop", None)
        );
    }

    #[test]
    fn a_host_without_kubelet_and_an_unknown_pod_have_no_names() {
        let logs = tempfile::tempdir().unwrap();
        let mut pods = Pods::new(logs.path().join("none"));
        assert_eq!(pods.names(UID, Some(ID)), PodNames::default());
        for wrong in ["no-parts", "a_b", "a_b_c_d", "_b_c"] {
            fs::create_dir_all(logs.path().join("pods").join(wrong)).unwrap();
        }
        let mut pods = Pods::new(logs.path().to_owned());
        assert_eq!(pods.names("c", None), PodNames::default());
    }

    #[test]
    fn unknown_pods_do_not_read_the_directories_each_time() {
        let logs = tempfile::tempdir().unwrap();
        let mut pods = Pods::new(logs.path().to_owned());
        assert_eq!(pods.names(UID, None), PodNames::default());
        let read = pods.read;
        assert_eq!(pods.names(UID, None), PodNames::default());
        assert_eq!(pods.read, read);
    }
}
