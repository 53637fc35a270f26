//! The image: unpacked, and run with the rights of the manifest and no others.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Subject, ensure, machine::Machine, seen};
use crate::{arch::Architecture, dist::fresh, exec, files, wait::await_that};

pub(super) fn run(machine: &Machine, subject: &Subject<'_>) -> Result<()> {
    let layout = subject.work.join("unpacked");
    fresh(&layout)?;
    exec::run(
        Command::new("tar")
            .arg("--directory")
            .arg(&layout)
            .arg("--extract")
            .arg("--file")
            .arg(subject.image),
    )?;
    let manifest = manifest_of(&layout, subject.tree.architecture())?;
    let config = blob(&layout, &manifest["config"]["digest"])?;
    let entrypoint = &config["config"]["Entrypoint"];
    ensure(
        *entrypoint == serde_json::json!(["/usr/bin/kreset-trace"]),
        || format!("its entrypoint is {entrypoint}"),
    )?;
    let licences = &config["config"]["Labels"]["org.opencontainers.image.licenses"];
    ensure(licences == "MIT OR Apache-2.0", || {
        format!("its licences are {licences}")
    })?;
    let root = machine.share().join("image");
    fs::create_dir(&root).context("no directory for the image")?;
    let layers = manifest["layers"]
        .as_array()
        .context("an image without layers")?;
    for layer in layers {
        exec::run(
            Command::new("tar")
                .arg("--directory")
                .arg(&root)
                .arg("--extract")
                .arg("--file")
                .arg(file_of(&layout, &layer["digest"])?),
        )?;
    }
    for licence in [
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "LICENSE-GPL2",
        "THIRD-PARTY.txt",
    ] {
        let file = root.join("usr/share/doc/kreset").join(licence);
        ensure(file.exists(), || format!("{licence} is not in the image"))?;
    }

    let capabilities = capabilities(subject.manifest)?;
    let events = run_confined(machine, &capabilities)?;
    let start = events.lines().next().unwrap_or_default();
    let start: Value = serde_json::from_str(start)
        .with_context(|| format!("the image's first event is {start:?}"))?;
    let evidence = &start["packet_evidence"];
    ensure(
        start["type"] == "start" && *evidence != "none" && !evidence.is_null(),
        || format!("not all is attached: {start}"),
    )?;
    ensure(events.contains("\"cause\":\"refused\""), || {
        format!("no event of a refused connection:\n{events}")
    })?;
    seen(&format!(
        "image: in its own read-only root as root with {capabilities} it attaches {evidence} and reports a reset"
    ));
    Ok(())
}

/// The manifest for an architecture: that of the image, or of its variant.
fn manifest_of(layout: &Path, architecture: Architecture) -> Result<Value> {
    let index = json(&layout.join("index.json"))?;
    let first = blob(layout, &index["manifests"][0]["digest"])?;
    let Some(variants) = first["manifests"].as_array() else {
        return Ok(first);
    };
    let variant = variants
        .iter()
        .find(|it| it["platform"]["architecture"] == architecture.debian())
        .with_context(|| format!("the image has no variant for {}", architecture.debian()))?;
    blob(layout, &variant["digest"])
}

/// Runs the unpacked image as the manifest's container is, by systemd: its root directory, no
/// privilege but these. Returns what it wrote until its first event.
fn run_confined(machine: &Machine, capabilities: &str) -> Result<String> {
    let bounding = format!("CapabilityBoundingSet={capabilities}");
    let mut command = machine.command(&[
        "systemd-run",
        "--quiet",
        "--wait",
        "--pipe",
        "--collect",
        "-p",
        "RootDirectory=/run/trial/image",
        "-p",
        "MountAPIVFS=yes",
        "-p",
        "BindReadOnlyPaths=/sys/fs/cgroup",
        "-p",
        "ReadOnlyPaths=/",
        "-p",
        "NoNewPrivileges=yes",
        "-p",
        &bounding,
        "/usr/bin/kreset-trace",
        "--format",
        "json",
        "--count",
        "1",
        "--duration",
        "90s",
    ])?;
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("systemd-run does not start")?;
    await_that("the image's first event", || {
        machine.refused_connection();
        child.try_wait().is_ok_and(|ended| ended.is_some())
    })?;
    let output = child.wait_with_output().context("systemd-run has no end")?;
    if !output.status.success() {
        bail!("the image's program ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the manifest adds, as systemd writes it.
fn capabilities(manifest: &Path) -> Result<String> {
    let text = fs::read_to_string(manifest).context("cannot read the manifest")?;
    let added = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("add: [")?.strip_suffix(']'))
        .context("the manifest adds no capabilities")?;
    let names: Vec<_> = added
        .split(", ")
        .map(|name| format!("CAP_{name}"))
        .collect();
    Ok(names.join(" "))
}

fn json(file: &Path) -> Result<Value> {
    let text = files::read(file)?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", file.display()))
}

fn blob(layout: &Path, digest: &Value) -> Result<Value> {
    json(&file_of(layout, digest)?)
}

fn file_of(layout: &Path, digest: &Value) -> Result<std::path::PathBuf> {
    let digest = digest.as_str().and_then(|it| it.strip_prefix("sha256:"));
    let digest = digest.context("a digest that is not SHA-256")?;
    Ok(layout.join("blobs/sha256").join(digest))
}
