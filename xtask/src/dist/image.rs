//! The container image, made without a daemon.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{fresh, tools::Tools, tree::Tree, work_directory};
use crate::exec;

/// How long the registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the image of a version in `out` as an archive of the OCI layout, and returns its path. Of several
/// trees, one image with a variant for each architecture.
///
/// crane changes images in a registry only. This is its own one, on a port of loopback, and ends
/// with this function.
pub(super) fn make(
    tools: &Tools,
    trees: &[&Tree],
    version: &str,
    out: &Path,
    epoch: &str,
) -> Result<PathBuf> {
    let work = work_directory()?.join("image");
    fresh(&work)?;
    let registry = Registry::start(tools)?;
    let variants = trees
        .iter()
        .map(|tree| variant(&registry, tree, version, &work, epoch))
        .collect::<Result<Vec<_>>>()?;
    let (image, name) = if let ([only], [tree]) = (variants.as_slice(), trees) {
        let architecture = tree.architecture().debian();
        (
            only.clone(),
            format!("kreset-{version}-linux-{architecture}"),
        )
    } else {
        let all = format!("{}/kreset:{version}", registry.address);
        let mut append = registry.crane();
        append.args(["index", "append", "--tag", &all]);
        for variant in &variants {
            append.args(["--manifest", variant]);
        }
        exec::run(append.stdout(Stdio::null()).stderr(Stdio::null()))?;
        (all, format!("kreset-{version}-linux"))
    };
    let layout = work.join("layout");
    exec::run(
        registry
            .crane()
            .args(["pull", "--format", "oci", &image])
            .arg(&layout),
    )?;
    drop(registry);

    let file = out.join(format!("{name}.oci.tar"));
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

/// Pushes the image for one architecture, and returns its name in the registry.
fn variant(
    registry: &Registry,
    tree: &Tree,
    version: &str,
    work: &Path,
    epoch: &str,
) -> Result<String> {
    let architecture = tree.architecture().debian();
    let layer = work.join(format!("layer-{architecture}.tar"));
    tree.layer(&layer, epoch)?;
    let image = format!("{}/kreset:{version}-{architecture}", registry.address);
    let platform = format!("linux/{architecture}");
    exec::run(
        registry
            .crane()
            .args(["append", "--oci-empty-base", "--platform", &platform])
            .arg("--new_layer")
            .arg(&layer)
            .args(["--new_tag", &image])
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    let mut mutate = registry.crane();
    mutate
        .args(["mutate", &image, "--tag", &image])
        .args(["--set-platform", &platform])
        .args(["--entrypoint", "/usr/bin/kreset-trace"]);
    for (name, value) in [
        ("title", "kreset-trace"),
        ("description", "Shows who reset a Kafka connection, and why"),
        ("version", version),
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
    Ok(image)
}

/// crane's own registry, which keeps everything in memory.
struct Registry {
    program: PathBuf,
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
        let registry = Self {
            program: tools.crane.clone(),
            process,
            address,
        };
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(&registry.address).is_err() {
            if Instant::now() > deadline {
                bail!("crane's registry does not answer on {}", registry.address);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(registry)
    }

    fn crane(&self) -> Command {
        Command::new(&self.program)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}
