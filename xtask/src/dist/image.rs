//! The container image, made without a daemon.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{VERSION, architecture, fresh, tools::Tools, tree::Tree, work_directory};
use crate::exec;

/// How long the registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the image in `out` as an archive of the OCI layout, and returns its path.
///
/// crane changes images in a registry only. This is its own one, on a port of loopback, and ends
/// with this function.
pub(super) fn make(tools: &Tools, tree: &Tree, out: &Path, epoch: &str) -> Result<PathBuf> {
    let architecture = architecture()?.oci;
    let work = work_directory()?.join("image");
    fresh(&work)?;
    let layer = work.join("layer.tar");
    tree.layer(&layer, epoch)?;

    let registry = Registry::start(tools)?;
    let image = format!("{}/kreset:{VERSION}", registry.address);
    let crane = || Command::new(&tools.crane);
    let platform = format!("linux/{architecture}");
    exec::run(
        crane()
            .args(["append", "--oci-empty-base", "--platform", &platform])
            .arg("--new_layer")
            .arg(&layer)
            .args(["--new_tag", &image])
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    let mut mutate = crane();
    mutate
        .args(["mutate", &image, "--tag", &image])
        .args(["--set-platform", &platform])
        .args(["--entrypoint", "/usr/bin/kreset-trace"]);
    for (name, value) in [
        ("title", "kreset-trace"),
        ("description", "Shows who reset a Kafka connection, and why"),
        ("version", VERSION),
        ("licenses", "MIT OR Apache-2.0"),
        ("source", env!("CARGO_PKG_REPOSITORY")),
        (
            "documentation",
            concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/fleet.md"),
        ),
    ] {
        mutate
            .arg("--label")
            .arg(format!("org.opencontainers.image.{name}={value}"));
    }
    exec::run(mutate.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let layout = work.join("layout");
    exec::run(
        crane()
            .args(["pull", "--format", "oci", &image])
            .arg(&layout),
    )?;
    drop(registry);

    let file = out.join(format!("kreset-{VERSION}-linux-{architecture}.oci.tar"));
    exec::run(
        Command::new("tar")
            .arg("--directory")
            .arg(&layout)
            .args(["--format=gnu", "--sort=name", "--numeric-owner"])
            .args(["--owner=0", "--group=0", "--mode=u=rwX,go=rX"])
            .arg(format!("--mtime=@{epoch}"))
            .arg("--create")
            .arg("--file")
            .arg(&file)
            .args(["oci-layout", "index.json", "blobs"]),
    )?;
    Ok(file)
}

/// crane's own registry, which keeps everything in memory.
struct Registry {
    process: Child,
    address: String,
}

impl Registry {
    fn start(tools: &Tools) -> Result<Self> {
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .context("no port on loopback")?
            .to_string();
        let process = Command::new(&tools.crane)
            .args(["registry", "serve", "--address", &address])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("crane does not start")?;
        let registry = Self { process, address };
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(&registry.address).is_err() {
            if Instant::now() > deadline {
                bail!("crane's registry does not answer on {}", registry.address);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}
