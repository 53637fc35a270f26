//! deb and rpm.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use super::{tools::Tools, tree::Tree};
use crate::exec;

/// A format of packages.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Deb,
    Rpm,
}

/// Wraps `tree` into a package of `version` in `out`, and returns its path.
pub(super) fn make(
    tools: &Tools,
    tree: &Tree,
    version: &str,
    kind: Kind,
    out: &Path,
    epoch: &str,
) -> Result<PathBuf> {
    let architecture = tree.architecture();
    let (packager, name) = match kind {
        Kind::Deb => (
            "deb",
            format!("kreset_{version}-1_{}.deb", architecture.debian()),
        ),
        Kind::Rpm => (
            "rpm",
            format!("kreset-{version}-1.{}.rpm", architecture.name()),
        ),
    };
    let file = out.join(name);
    exec::run(
        Command::new(&tools.nfpm)
            // Scripts and configuration are named from there.
            .current_dir(exec::root()?)
            .env("KRESET_TREE", tree.path())
            .env("KRESET_VERSION", version)
            .env("KRESET_ARCH", architecture.debian())
            // The time of everything in it.
            .env("SOURCE_DATE_EPOCH", epoch)
            .args(["package", "--config", "packaging/nfpm.yaml"])
            .args(["--packager", packager, "--target"])
            .arg(&file),
    )?;
    if !file.exists() {
        bail!("{} was not written", file.display());
    }
    Ok(file)
}
