//! `cargo xtask containers`: the image in a real container runtime, as the manifest states it.
//!
//! [`node`] is a node of Kubernetes without kubelet, [`manifest`] what kubelet asks of it, [`pods`]
//! what runs there, [`trial`] what has to hold, [`page`] where it is written down.

mod manifest;
mod node;
mod page;
mod pods;
mod trial;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use self::{
    manifest::Manifest,
    node::{Cgroups, Node},
    trial::Stage,
};
use crate::{
    dist, exec,
    setup::{self, Program},
};

const EXAMPLES: &str = "\
Examples:
  cargo xtask containers            run the image as the manifest states, and with less
  cargo xtask containers --bless    and write what was found into docs/kubernetes.md

Installs containerd, runc, CNI's plugins, busybox, Go (for crictl) and the lab's Kafka if they are
missing. containerd runs in namespaces of its own; nothing is written outside of memory and the
target directory.";

/// What the node consists of.
const PROGRAMS: [Program; 5] = [
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("busybox", "busybox-static"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
];

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Run this image, which `cargo xtask dist` has made, instead of building one
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Write the results into docs/kubernetes.md
    #[arg(long)]
    bless: bool,
}

/// A part of the manifest that is taken away, and what is lost with it.
struct Row {
    /// As the page names it.
    part: String,
    manifest: Manifest,
    /// Whether sinks with a spool are tried too.
    spool: bool,
    /// As [`trial::lost`] says it.
    lost: &'static [&'static str],
}

/// What a kind of node showed.
struct Found {
    title: &'static str,
    /// What holds with the manifest as it is.
    holds: Vec<String>,
    /// What is lost, by part.
    lost: Vec<(String, Vec<String>)>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::run_with(setup::Purpose::Kafka, &PROGRAMS)?;
    if !Path::new("/usr/lib/cni/bridge").exists() {
        setup::packages(&["containernetworking-plugins"])?;
    }
    let crictl = dist::crictl()?;
    let images = match &arguments.image {
        // Under another name it is another image to the runtime.
        Some(image) => {
            let image = std::path::absolute(image)?;
            [image.clone(), image]
        }
        None => dist::images()?,
    };
    let work = exec::target_directory()?.join("containers");
    std::fs::create_dir_all(&work)?;
    let lab = pods::image(&work)?;
    let manifest = pods::manifest()?;

    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for cgroups in [Cgroups::Machine, Cgroups::Unified] {
        let node = Node::start(&work.join("node"), &crictl, cgroups)?;
        node.import(&lab, None)?;
        let later = format!("{}-later", manifest.image()?);
        for (image, name) in images.iter().zip([manifest.image()?, &later]) {
            node.import(image, Some(name))?;
        }
        let (title, has_v1) = (node.title(), node.has_v1());
        println!("{title}");
        let mut stage = Stage::set(node)?;
        let holds = trial::as_stated(&mut stage, &manifest, &later)?;
        for line in &holds {
            println!("ok  {line}");
        }
        let mut lost = Vec::new();
        for row in rows(&manifest, has_v1) {
            let mut seen = trial::lost(&mut stage, &row.manifest)?;
            if row.spool {
                seen.extend(trial::lost_by_sinks(&mut stage, &row.manifest)?);
            }
            println!("{}: {}", row.part, page::cell(&seen));
            if seen != row.lost {
                wrong.push(format!(
                    "{title}, {}: expected {:?}, lost {seen:?}",
                    row.part, row.lost
                ));
            }
            lost.push((row.part, seen));
        }
        found.push(Found { title, holds, lost });
    }
    if !wrong.is_empty() {
        bail!("other things are lost than expected:\n{}", wrong.join("\n"));
    }
    let page = page::markdown(&found);
    println!("\n{page}");
    if arguments.bless {
        page::write(&page)?;
    }
    Ok(())
}

/// As [`trial::lost`] says that the agent does not start.
const REFUSED: &str = "does not start, exit code 3: `kreset-trace: CAP_BPF and CAP_PERFMON are \
    missing: run it as root, or give the program or its container these and CAP_NET_ADMIN`";
const NO_CONFIGURATION: &str = "does not start, exit code 2: `kreset-trace: cannot read the \
    configuration /etc/kreset/kreset.toml: No such file or directory (os error 2)`";
const NO_PACKETS: [&str; 4] = [
    "packet evidence is `off`",
    "`first-bytes`",
    "`survived-silences`",
    "the verdict of a client's abort",
];
const NO_GROUPS: [&str; 8] = [
    "packet evidence is `off`",
    "`cgroup`",
    "`first-bytes`",
    "`survived-silences`",
    "the verdict of a client's abort",
    "the containers' ids",
    "the pods' names",
    "the containers' names in pods of several",
];

/// The manifest as it is, and without each of its parts.
fn rows(manifest: &Manifest, has_v1: bool) -> Vec<Row> {
    let row = |part: &str, manifest: Manifest, lost| Row {
        part: part.to_owned(),
        manifest,
        spool: false,
        lost,
    };
    let edited = |edit: fn(&mut Manifest)| {
        let mut manifest = manifest.clone();
        edit(&mut manifest);
        manifest
    };
    let (capabilities, mounts) = manifest.asks_for();
    let mut rows = vec![Row {
        spool: true,
        ..row("nothing", manifest.clone(), &[])
    }];
    for name in capabilities {
        let less = manifest.clone().without_capability(&name);
        let lost: &[&str] = match name.as_str() {
            "BPF" | "PERFMON" => &[REFUSED],
            "NET_ADMIN" => &NO_PACKETS,
            _ => &[],
        };
        rows.push(row(&format!("capability `{name}`"), less, lost));
    }
    for name in mounts {
        let less = manifest.clone().without_mount(&name);
        let lost: &[&str] = match name.as_str() {
            "config" => &[NO_CONFIGURATION],
            // With version 2 alone a container has its own part of the tree where the node's would
            // be mounted. Programs attach to it, and see the packets of nobody else; the agent says so.
            "cgroup" => NO_GROUPS.get(usize::from(!has_v1)..).unwrap_or_default(),
            "pods" => &[
                "the pods' names",
                "the containers' names in pods of several",
            ],
            "containers" => &["the containers' names in pods of several"],
            "state" => &["delivery by sinks that send over the network"],
            // A part of the manifest that this does not know has to be of use for something.
            _ => &["?"],
        };
        rows.push(Row {
            spool: name == "state",
            ..row(&format!("mount `{name}`"), less, lost)
        });
    }
    rows.extend([
        row(
            "`hostPID`",
            edited(|it| it.pod["hostPID"] = false.into()),
            &["the processes", "the executables"],
        ),
        row(
            "`hostNetwork`",
            edited(|it| it.pod["hostNetwork"] = false.into()),
            &[
                "the node's name",
                "health and metrics on the node's address",
                "the node's addresses in `coverage`",
            ],
        ),
        row(
            "`runAsUser: 0` (65532 instead)",
            edited(|it| it.container()["securityContext"]["runAsUser"] = 65_532.into()),
            &[REFUSED],
        ),
    ]);
    rows
}
