//! A machine of namespaces: this system, booted once more by its own systemd, on files of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::super::fresh;
use crate::{exec, files, wait::await_that};

const BOOT: &str = include_str!("boot.sh");

/// Ends, with everything in it, when dropped.
pub(super) struct Machine {
    outer: Child,
    directory: PathBuf,
    init: String,
}

impl Machine {
    /// Boots it. What lies in `share` of `directory` is seen inside as `/run/trial`.
    pub(super) fn boot(directory: &Path) -> Result<Self> {
        fresh(directory)?;
        fs::create_dir(directory.join("memory")).context("no directory for the machine")?;
        fs::create_dir(directory.join("share")).context("no directory for the machine")?;
        let script = directory.join("boot.sh");
        files::write(&script, BOOT)?;
        let outer = exec::as_root(&[])?
            .arg("sh")
            .arg(&script)
            .arg(directory)
            .stdin(Stdio::null())
            // unshare complains when the machine is killed, which is how it ends.
            .stderr(Stdio::null())
            .spawn()
            .context("the machine does not start")?;
        let mut machine = Self {
            outer,
            directory: directory.to_owned(),
            init: String::new(),
        };
        let pid = directory.join("pid");
        await_that("the machine's first process starts", || {
            let outer = fs::read_to_string(&pid).unwrap_or_default();
            let outer = outer.trim();
            if outer.is_empty() {
                return false;
            }
            let children = format!("/proc/{outer}/task/{outer}/children");
            fs::read_to_string(children)
                .unwrap_or_default()
                .trim()
                .clone_into(&mut machine.init);
            !machine.init.is_empty()
        })?;
        await_that("the machine boots", || {
            machine.says(&["systemctl", "is-active", "basic.target"]) == "active"
        })?;
        Ok(machine)
    }

    /// What the outside puts there is seen inside as `/run/trial`.
    pub(super) fn share(&self) -> PathBuf {
        self.directory.join("share")
    }

    /// A command that will run inside, as root.
    pub(super) fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = exec::as_root(&[])?;
        command
            .args(["nsenter", "--target", &self.init, "--mount", "--pid"])
            .args(["--net", "--ipc", "--uts", "--cgroup"])
            .args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"])
            .args(["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"])
            .args(words)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a command inside and returns its output; fails if it does.
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
        exec::captured(&mut self.command(words)?)
    }

    /// What a command inside says, whether it fails or not.
    pub(super) fn says(&self, words: &[&str]) -> String {
        let output = self.command(words).ok().and_then(|mut it| it.output().ok());
        output.map_or_else(String::new, |output| {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        })
    }

    /// What the agent and systemd said of it.
    pub(super) fn journal(&self) -> String {
        self.says(&["journalctl", "--no-pager", "--unit", "kreset.service"])
    }

    /// A property of the agent's unit.
    pub(super) fn property(&self, name: &str) -> String {
        self.says(&[
            "systemctl",
            "show",
            "--value",
            "--property",
            name,
            "kreset.service",
        ])
    }

    /// Waits until the agent's unit is in this state.
    pub(super) fn await_state(&self, state: &str) -> Result<()> {
        await_that(&format!("kreset.service becomes {state}"), || {
            self.property("ActiveState") == state
        })
        .with_context(|| self.journal())
    }

    /// A connection to where no broker listens, which the kernel resets.
    pub(super) fn refused_connection(&self) {
        let _refused = self.says(&["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9092"]);
    }

    /// Whether a file inside has `text`.
    pub(super) fn has(&self, file: &str, text: &str) -> bool {
        self.says(&["cat", file]).contains(text)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !self.init.is_empty() {
            exec::try_as_root(&["kill", "-KILL", &self.init]);
        }
        let _status = self.outer.wait();
        if let Ok(group) = fs::read_to_string(self.directory.join("group")) {
            // Empty once the last process is gone.
            exec::remove_groups(group.trim(), &[]);
        }
    }
}
