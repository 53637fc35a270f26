//! The node: containerd with its CRI plugin, and `crictl` to speak to it as kubelet does.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{exec, wait::await_that};

const SCRIPT: &str = include_str!("node.sh");
const RUNC: &str = include_str!("runc.sh");
/// Where the pods' network is.
const SUBNET: &str = "10.213.0.0/24";
/// The node's own address in it, which the bridge gets.
pub(super) const ADDRESS: &str = "10.213.0.1";
/// As `node.sh` calls it.
pub(super) const NAME: &str = "kreset-node";

/// The control groups that a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cgroups {
    /// Those of this machine: version 1 with version 2 beside it, or version 2.
    Machine,
    /// Version 2 alone, at `/sys/fs/cgroup`. Its controllers stay where this machine uses them.
    Unified,
}

impl Cgroups {
    const fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Unified => "unified",
        }
    }
}

/// Ends, with all containers, when dropped.
pub(super) struct Node {
    containerd: Child,
    directory: PathBuf,
    crictl: PathBuf,
    cgroups: Cgroups,
    pid: String,
    files: u32,
}

impl Node {
    pub(super) fn start(directory: &Path, crictl: &Path, cgroups: Cgroups) -> Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
        fs::create_dir_all(directory.join("cni"))?;
        fs::write(directory.join("node.sh"), SCRIPT)?;
        let runc = directory.join("runc.sh");
        fs::write(&runc, RUNC)?;
        fs::set_permissions(&runc, fs::Permissions::from_mode(0o755))?;
        let program = match cgroups {
            Cgroups::Machine => exec::find("runc").context("runc is not installed")?,
            Cgroups::Unified => runc,
        };
        fs::write(
            directory.join("containerd.toml"),
            configuration(directory, &program),
        )?;
        fs::write(
            directory.join("crictl.yaml"),
            "runtime-endpoint: unix:///run/containerd/containerd.sock\ntimeout: 60\n",
        )?;
        let network = json!({
            "cniVersion": "0.4.0",
            "name": "kreset",
            "plugins": [{
                "type": "bridge", "bridge": "pods0", "isGateway": true,
                "ipam": { "type": "host-local", "ranges": [[{ "subnet": SUBNET }]] },
            }],
        });
        fs::write(
            directory.join("cni/10-kreset.conflist"),
            network.to_string(),
        )?;
        let log = File::create(directory.join("containerd.log"))?;
        let containerd = exec::as_root(&[])?
            .args(["unshare", "--mount", "--net", "--uts", "sh"])
            .arg(directory.join("node.sh"))
            .arg(directory)
            .arg(cgroups.name())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("unshare does not start")?;
        let mut node = Self {
            containerd,
            directory: directory.to_owned(),
            crictl: crictl.to_owned(),
            cgroups,
            pid: String::new(),
            files: 0,
        };
        let pid = directory.join("pid");
        await_that("containerd starts", || {
            fs::read_to_string(&pid)
                .unwrap_or_default()
                .trim()
                .clone_into(&mut node.pid);
            !node.pid.is_empty() && node.crictl(&["version"]).is_ok()
        })
        .with_context(|| {
            fs::read_to_string(directory.join("containerd.log")).unwrap_or_default()
        })?;
        Ok(node)
    }

    pub(super) const fn cgroups(&self) -> Cgroups {
        self.cgroups
    }

    /// What it is, as the page says it.
    pub(super) fn title(&self) -> &'static str {
        if self.has_v1() {
            "control groups of version 1, with version 2 beside them"
        } else {
            "control groups of version 2 alone"
        }
    }

    /// Whether it has control groups of version 1.
    pub(super) fn has_v1(&self) -> bool {
        // What version 2 has at its root.
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        self.cgroups == Cgroups::Machine && !unified
    }

    /// Where files are that pods mount.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The group below which all pods are.
    pub(super) fn group(&self) -> String {
        format!("/kreset-containers-{}", self.pid)
    }

    /// A command on the node, as root.
    pub(super) fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = exec::as_root(&[])?;
        command
            .args([
                "nsenter", "--target", &self.pid, "--mount", "--net", "--uts",
            ])
            .args(words)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a command on the node and returns its output; fails if it does.
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
        exec::captured(&mut self.command(words)?)
    }

    /// `crictl`, kubelet's requests on the command line.
    pub(super) fn crictl_command(&self, words: &[&str]) -> Result<Command> {
        let program = self.crictl.display().to_string();
        let mut command = self.command(&[&program])?;
        command
            .arg("--config")
            .arg(self.directory.join("crictl.yaml"))
            .args(words);
        Ok(command)
    }

    /// Runs it and returns its output; fails if it does.
    pub(super) fn crictl(&self, words: &[&str]) -> Result<String> {
        exec::captured(&mut self.crictl_command(words)?)
    }

    /// Imports an image, under a name if the archive has none.
    pub(super) fn import(&self, archive: &Path, name: Option<&str>) -> Result<()> {
        let archive = archive.display().to_string();
        let mut words = vec!["ctr", "--namespace", "k8s.io", "images", "import"];
        words.extend(name.iter().flat_map(|name| ["--index-name", name]));
        words.push(&archive);
        self.run(&words)?;
        Ok(())
    }

    /// Writes a file that a request or a pod needs, and returns its path.
    pub(super) fn file(&mut self, contents: &Value) -> Result<String> {
        self.files += 1;
        let path = self.directory.join(format!("request-{}.json", self.files));
        fs::write(&path, contents.to_string())?;
        Ok(path.display().to_string())
    }

    /// What a container wrote to standard output and error, from the log that the runtime keeps
    /// for kubelet: `TIME STREAM TAG TEXT`, where the tag `P` means that the line goes on.
    pub(super) fn log(&self, path: &str) -> Vec<(String, String)> {
        let text = self.run(&["cat", path]).unwrap_or_default();
        lines(&text)
    }
}

fn lines(log: &str) -> Vec<(String, String)> {
    let (mut lines, mut begun) = (Vec::new(), String::new());
    for line in log.lines() {
        let mut parts = line.splitn(4, ' ');
        let (Some(_), Some(stream), Some(tag)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        begun.push_str(parts.next().unwrap_or_default());
        if tag != "P" {
            lines.push((stream.to_owned(), std::mem::take(&mut begun)));
        }
    }
    lines
}

fn configuration(directory: &Path, runc: &Path) -> String {
    format!(
        "version = 2\n\
         [plugins.\"io.containerd.grpc.v1.cri\"]\n\
         sandbox_image = \"localhost/lab:1\"\n\
         # This machine may not lower it.\n\
         restrict_oom_score_adj = true\n\
         [plugins.\"io.containerd.grpc.v1.cri\".cni]\n\
         bin_dir = \"/usr/lib/cni\"\n\
         conf_dir = \"{}\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n\
         runtime_type = \"io.containerd.runc.v2\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n\
         BinaryName = \"{}\"\n",
        directory.join("cni").display(),
        runc.display()
    )
}

impl Drop for Node {
    fn drop(&mut self) {
        let _none = self.crictl(&["rmp", "--force", "--all"]);
        if !self.pid.is_empty() {
            exec::try_as_root(&["kill", "-TERM", &self.pid]);
        }
        let _status = self.containerd.wait();
        let group = format!("*{}*", self.group());
        // Empty once the last process is gone.
        exec::remove_groups("/sys/fs/cgroup", &["-path", &group]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_the_runtime_cut_is_one_line() {
        let log = "2026-11-30T06:00:00.1Z stdout P {\"a\":\n\
                   2026-11-30T06:00:00.1Z stdout F 1}\n\
                   2026-11-30T06:00:00.2Z stderr F attached\nodd\n";
        let pair = |stream: &str, text: &str| (stream.to_owned(), text.to_owned());
        assert_eq!(
            lines(log),
            [pair("stdout", "{\"a\":1}"), pair("stderr", "attached")]
        );
    }
}
