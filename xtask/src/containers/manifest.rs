//! The manifest, and what kubelet asks of a container runtime for it.
//!
//! Kubelet turns a pod into a `PodSandboxConfig` and a `ContainerConfig` of the CRI
//! (`pkg/kubelet/kuberuntime/kuberuntime_sandbox.go` and `kuberuntime_container_linux.go`). The same
//! is done here for what the manifest uses; a key that is not known here is an error, so that no
//! line of the manifest goes untested.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// Paths in `/proc` and `/sys` that kubelet has hidden and protected (`procMount: Default`).
const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The documents of the manifest that say what runs.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    /// `spec.template.spec` of the `DaemonSet`, which has one container.
    pub(super) pod: Value,
    /// `ConfigMap`s: name to files.
    pub(super) config: BTreeMap<String, BTreeMap<String, String>>,
}

/// Who a pod is.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) namespace: &'static str,
    pub(super) name: String,
    pub(super) uid: String,
}

impl Identity {
    pub(super) fn log_directory(&self) -> String {
        format!(
            "/var/log/pods/{}_{}_{}",
            self.namespace, self.name, self.uid
        )
    }

    /// The sandbox in whose cgroup and directories the pod is.
    pub(super) fn sandbox(&self, group: &str, host_network: bool, host_pid: bool) -> Value {
        json!({
            "metadata": { "name": self.name, "namespace": self.namespace, "uid": self.uid, "attempt": 0 },
            // Kubelet gives none to a pod in the node's network.
            "hostname": if host_network { "" } else { &self.name },
            "log_directory": self.log_directory(),
            "linux": {
                "cgroup_parent": format!("{group}/kubepods/burstable/pod{}", self.uid),
                "security_context": { "namespace_options": options(host_network, host_pid) },
            },
        })
    }
}

/// POD, CONTAINER and NODE of the CRI's `NamespaceMode`.
fn options(host_network: bool, host_pid: bool) -> Value {
    json!({
        "network": if host_network { 2 } else { 0 },
        "pid": if host_pid { 2 } else { 1 },
        "ipc": 0,
    })
}

impl Manifest {
    /// Of the manifest's documents.
    pub(super) fn read(documents: &[Value]) -> Result<Self> {
        let of_kind = |kind: &'static str| documents.iter().filter(move |it| it["kind"] == kind);
        let set = of_kind("DaemonSet")
            .next()
            .context("the manifest has no DaemonSet")?;
        let mut config = BTreeMap::new();
        for map in of_kind("ConfigMap") {
            let name = text(&map["metadata"]["name"])?;
            let files: BTreeMap<String, String> =
                serde_json::from_value(map["data"].clone()).context("a ConfigMap without data")?;
            config.insert(name.to_owned(), files);
        }
        Ok(Self {
            pod: set["spec"]["template"]["spec"].clone(),
            config,
        })
    }

    pub(super) fn container(&mut self) -> &mut Value {
        &mut self.pod["containers"][0]
    }

    /// Without a capability.
    pub(super) fn without_capability(mut self, name: &str) -> Self {
        let added = &mut self.container()["securityContext"]["capabilities"]["add"];
        if let Some(list) = added.as_array_mut() {
            list.retain(|it| it != name);
        }
        self
    }

    /// Without a mount.
    pub(super) fn without_mount(mut self, name: &str) -> Self {
        if let Some(list) = self.container()["volumeMounts"].as_array_mut() {
            list.retain(|it| it["name"] != name);
        }
        self
    }

    /// The capabilities that it adds, and the names of its mounts.
    pub(super) fn asks_for(&self) -> (Vec<String>, Vec<String>) {
        let container = &self.pod["containers"][0];
        let list = |value: &Value, of: fn(&Value) -> &Value| -> Vec<String> {
            value.as_array().map_or_else(Vec::new, |list| {
                list.iter()
                    .filter_map(|it| of(it).as_str().map(str::to_owned))
                    .collect()
            })
        };
        (
            list(&container["securityContext"]["capabilities"]["add"], |it| {
                it
            }),
            list(&container["volumeMounts"], |it| &it["name"]),
        )
    }

    pub(super) fn image(&self) -> Result<&str> {
        text(&self.pod["containers"][0]["image"])
    }

    /// How long kubelet waits between SIGTERM and SIGKILL, in seconds.
    pub(super) fn grace(&self) -> i64 {
        self.pod["terminationGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(30)
    }

    fn flag(&self, name: &str) -> bool {
        self.pod[name].as_bool().unwrap_or(false)
    }

    pub(super) fn sandbox(&self, who: &Identity, group: &str) -> Value {
        who.sandbox(group, self.flag("hostNetwork"), self.flag("hostPID"))
    }

    /// The request for its container. Files of `ConfigMap`s are written below `volumes`.
    /// `limits`: whether the node can limit memory and processor time.
    pub(super) fn request(&self, attempt: u32, volumes: &Path, limits: bool) -> Result<Value> {
        for key in object(&self.pod)?.keys() {
            let known = [
                "hostPID",
                "hostNetwork",
                "containers",
                "volumes",
                // What kubelet and the API server use themselves.
                "dnsPolicy",
                "automountServiceAccountToken",
                "enableServiceLinks",
                "terminationGracePeriodSeconds",
                "tolerations",
            ];
            if !known.contains(&key.as_str()) {
                bail!("`cargo xtask containers` does not know the key {key:?} of a pod");
            }
        }
        let container = &self.pod["containers"][0];
        let security = &container["securityContext"];
        for key in object(security)?.keys() {
            let known = [
                "runAsUser",
                "runAsGroup",
                "privileged",
                "allowPrivilegeEscalation",
                "readOnlyRootFilesystem",
                "seccompProfile",
                "capabilities",
            ];
            if !known.contains(&key.as_str()) {
                bail!("`cargo xtask containers` does not know {key:?} of a securityContext");
            }
        }
        let mut mounts = Vec::new();
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let name = text(&mount["name"])?;
            mounts.push(json!({
                "container_path": mount["mountPath"],
                "host_path": self.volume(name, volumes)?,
                "readonly": mount["readOnly"].as_bool().unwrap_or(false),
            }));
        }
        let seccomp = match text(&security["seccompProfile"]["type"])? {
            "RuntimeDefault" => 0,
            "Unconfined" => 1,
            other => bail!("unknown seccompProfile {other:?}"),
        };
        let resources = &container["resources"];
        let resources = if limits {
            json!({
                "memory_limit_in_bytes": mebibytes(text(&resources["limits"]["memory"])?)?,
                "cpu_shares": milli(text(&resources["requests"]["cpu"])?)? * 1_024 / 1_000,
            })
        } else {
            json!({})
        };
        Ok(json!({
            "metadata": { "name": container["name"], "attempt": attempt },
            "image": { "image": self.image()? },
            "args": container["args"],
            "mounts": mounts,
            "log_path": format!("{}/{attempt}.log", text(&container["name"])?),
            "linux": {
                "resources": resources,
                "security_context": {
                    "capabilities": {
                        "add_capabilities": security["capabilities"]["add"],
                        "drop_capabilities": security["capabilities"]["drop"],
                    },
                    "privileged": security["privileged"],
                    "namespace_options": options(self.flag("hostNetwork"), self.flag("hostPID")),
                    "run_as_user": { "value": security["runAsUser"] },
                    "run_as_group": { "value": security["runAsGroup"] },
                    "readonly_rootfs": security["readOnlyRootFilesystem"],
                    "no_new_privs": !security["allowPrivilegeEscalation"].as_bool().unwrap_or(true),
                    "masked_paths": MASKED,
                    "readonly_paths": READ_ONLY,
                    "seccomp": { "profile_type": seccomp },
                },
            },
        }))
    }

    /// The directory of a volume on the node.
    fn volume(&self, name: &str, volumes: &Path) -> Result<String> {
        let volume = self.pod["volumes"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|it| it["name"] == name)
            .with_context(|| format!("no volume {name}"))?;
        if let Some(path) = volume["hostPath"]["path"].as_str() {
            return Ok(path.to_owned());
        }
        let map = text(&volume["configMap"]["name"])?;
        let files = self
            .config
            .get(map)
            .with_context(|| format!("no ConfigMap {map}"))?;
        let directory = volumes.join(map);
        fs::create_dir_all(&directory)?;
        for (file, contents) in files {
            fs::write(directory.join(file), contents)?;
        }
        Ok(directory.display().to_string())
    }

    /// The directories that kubelet makes on the node (`DirectoryOrCreate`).
    pub(super) fn made(&self) -> Vec<&str> {
        let volumes = self.pod["volumes"].as_array().into_iter().flatten();
        volumes
            .filter(|it| it["hostPath"]["type"] == "DirectoryOrCreate")
            .filter_map(|it| it["hostPath"]["path"].as_str())
            .collect()
    }
}

fn text(value: &Value) -> Result<&str> {
    value
        .as_str()
        .with_context(|| format!("expected a string in the manifest, got {value}"))
}

fn object(value: &Value) -> Result<&serde_json::Map<String, Value>> {
    value
        .as_object()
        .with_context(|| format!("expected an object in the manifest, got {value}"))
}

fn mebibytes(quantity: &str) -> Result<u64> {
    let number = quantity
        .strip_suffix("Mi")
        .and_then(|number| number.parse::<u64>().ok());
    let number = number.with_context(|| format!("expected a quantity in Mi, got {quantity:?}"))?;
    Ok(number << 20)
}

fn milli(quantity: &str) -> Result<u64> {
    let number = quantity
        .strip_suffix('m')
        .and_then(|number| number.parse().ok());
    number.with_context(|| format!("expected a quantity in m, got {quantity:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let documents = [
            json!({ "kind": "ConfigMap", "metadata": { "name": "kreset" },
                    "data": { "kreset.toml": "port = \"9092\"\n" } }),
            json!({ "kind": "DaemonSet", "spec": { "template": { "spec": {
                "hostPID": true, "hostNetwork": true, "terminationGracePeriodSeconds": 30,
                "containers": [{
                    "name": "kreset-trace", "image": "registry.example/kreset:0.1.0",
                    "args": ["--config", "/etc/kreset/kreset.toml"],
                    "securityContext": {
                        "runAsUser": 0, "runAsGroup": 0, "privileged": false,
                        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                        "seccompProfile": { "type": "RuntimeDefault" },
                        "capabilities": { "drop": ["ALL"], "add": ["BPF", "PERFMON"] },
                    },
                    "resources": { "limits": { "memory": "256Mi" }, "requests": { "cpu": "10m" } },
                    "volumeMounts": [
                        { "name": "config", "mountPath": "/etc/kreset", "readOnly": true },
                        { "name": "state", "mountPath": "/var/lib/kreset" },
                    ],
                }],
                "volumes": [
                    { "name": "config", "configMap": { "name": "kreset" } },
                    { "name": "state", "hostPath":
                        { "path": "/var/lib/kreset", "type": "DirectoryOrCreate" } },
                ],
            } } } }),
        ];
        Manifest::read(&documents).unwrap()
    }

    #[test]
    fn the_request_has_what_the_manifest_states_and_nothing_more() {
        let volumes = std::env::temp_dir().join(format!("kreset-{}", std::process::id()));
        let request = manifest().request(1, &volumes, true).unwrap();
        let security = &request["linux"]["security_context"];
        assert_eq!(
            security["capabilities"],
            json!({ "add_capabilities": ["BPF", "PERFMON"], "drop_capabilities": ["ALL"] })
        );
        assert_eq!(security["no_new_privs"], true);
        assert_eq!(security["readonly_rootfs"], true);
        assert_eq!(security["namespace_options"]["pid"], 2);
        assert_eq!(
            request["linux"]["resources"],
            json!({ "memory_limit_in_bytes": 268_435_456_u64, "cpu_shares": 10 })
        );
        assert_eq!(request["mounts"][1]["readonly"], false);
        assert_eq!(request["mounts"][1]["host_path"], "/var/lib/kreset");
        let written = fs::read_to_string(volumes.join("kreset/kreset.toml")).unwrap();
        assert_eq!(written, "port = \"9092\"\n");
        fs::remove_dir_all(&volumes).unwrap();
        assert_eq!(manifest().made(), ["/var/lib/kreset"]);
    }

    #[test]
    fn what_is_taken_away_is_taken_from_the_manifest() {
        let less = manifest().without_capability("BPF").without_mount("config");
        let (capabilities, mounts) = less.asks_for();
        assert_eq!(
            (capabilities, mounts),
            (vec!["PERFMON".into()], vec!["state".into()])
        );
    }

    #[test]
    fn a_key_that_would_go_untested_is_an_error() {
        let mut manifest = manifest();
        manifest.pod["hostIPC"] = true.into();
        let error = manifest
            .request(0, Path::new("/nonexistent"), true)
            .unwrap_err();
        assert!(error.to_string().contains("hostIPC"), "{error}");
    }
}
