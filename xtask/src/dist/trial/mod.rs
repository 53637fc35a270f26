//! Tests the packages as their users will install them: with a real dpkg, rpm and systemd, in a
//! [`Machine`] that leaves nothing behind.

mod chart;
mod deb;
mod image;
mod machine;
pub(super) mod roots;
mod rpm;
mod siem;

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use self::machine::Machine;
use super::{tools::Tools, tree::Tree};
use crate::{files, setup};

/// The agent's configuration.
const CONFIG: &str = "/etc/kreset/kreset.toml";

/// What is tested.
pub(super) struct Subject<'a> {
    pub(super) tools: &'a Tools,
    pub(super) tree: &'a Tree,
    pub(super) epoch: &'a str,
    pub(super) work: &'a Path,
    pub(super) deb: &'a Path,
    pub(super) rpm: &'a Path,
    pub(super) image: &'a Path,
    pub(super) manifest: &'a Path,
}

pub(super) fn run(subject: &Subject<'_>) -> Result<()> {
    setup::programs(&[
        ("systemctl", "systemd"),
        ("dpkg", "dpkg"),
        ("rpm", "rpm"),
        ("logrotate", "logrotate"),
        ("rsyslogd", "rsyslog"),
    ])?;
    manifest(subject)?;
    chart::run(subject)?;
    let machine = Machine::boot(&subject.work.join("machine"))?;
    for file in [subject.deb, subject.rpm, subject.image] {
        bring(&machine, file)?;
    }
    deb::run(&machine, subject)?;
    rpm::run(&machine, subject)?;
    image::run(&machine, subject)?;
    siem::run(&machine, subject)?;
    roots::run(subject.deb)
}

/// Copies a file to where the machine sees it.
fn bring(machine: &Machine, file: &Path) -> Result<()> {
    let name = file.file_name().unwrap_or_default();
    files::copy(file, &machine.share().join(name))
}

/// The path of that file in the machine.
fn inside(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    format!("/run/trial/{}", name.display())
}

/// Prints a passed check.
fn seen(what: &str) {
    println!("ok  {what}");
}

/// Changes the configuration as an administrator does.
fn change_configuration(machine: &Machine) -> Result<()> {
    let edit = "s/^#broker-max-idle.*/broker-max-idle = \"9m\"/";
    machine.run(&["sed", "--in-place", edit, CONFIG])?;
    Ok(())
}

/// Fails unless that change is there.
fn keeps_configuration(machine: &Machine) -> Result<()> {
    ensure(machine.has(CONFIG, "\nbroker-max-idle = \"9m\""), || {
        "the changed configuration is gone".to_owned()
    })
}

/// Fails unless the condition holds.
fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { bail!(what()) }
}

/// Whether a version of Kubernetes knows every key of a file.
fn accepts(subject: &Subject<'_>, version: &str, file: &Path) -> Result<bool> {
    let output = Command::new(&subject.tools.kubernetes_validate)
        .args(["--strict", "--quiet", "--kubernetes-version", version])
        .arg(file)
        .output()
        .context("kubernetes-validate does not start")?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.status.success())
}

/// The manifest against the schemas of Kubernetes, which know every key.
fn manifest(subject: &Subject<'_>) -> Result<()> {
    for version in chart::KUBERNETES {
        ensure(accepts(subject, version, subject.manifest)?, || {
            let name = subject.manifest.display();
            format!("{name} is not a valid manifest in Kubernetes {version}")
        })?;
    }
    // Refuses a manifest with a misspelt key.
    let text = fs::read_to_string(subject.manifest).context("cannot read the manifest")?;
    let wrong = subject.work.join("wrong.yaml");
    files::write(&wrong, text.replace("hostNetwork:", "hostNetwrk:"))?;
    ensure(!accepts(subject, chart::KUBERNETES[0], &wrong)?, || {
        "a misspelt manifest passes for a valid one".to_owned()
    })?;
    seen(
        "manifest: valid by the schemas of Kubernetes, every key known; a misspelt one is refused",
    );
    Ok(())
}
