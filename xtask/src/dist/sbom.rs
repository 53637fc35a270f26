//! The bills of materials: what is compiled into the program and into its BPF object.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{VERSION, tools::Tools};
use crate::{arch::Architecture, exec, files};

/// The tool writes one file into every directory of the workspace.
const NAME: &str = "bill-of-materials";

/// Writes them into `out`.
pub(super) fn make(tools: &Tools, out: &Path, epoch: &str) -> Result<()> {
    let program = tools.cyclonedx()?;
    for (package, options) in [
        ("kreset", &["--features", "default"][..]),
        ("kreset-ebpf", &["--features", "programs"]),
    ] {
        let text = bill(&program, package, options, epoch)?;
        files::write(&out.join(format!("{package}-{VERSION}.cdx.json")), text)?;
    }
    Ok(())
}

/// The components of one package, for any architecture.
fn bill(program: &Path, package: &str, options: &[&str], epoch: &str) -> Result<String> {
    let root = exec::root()?;
    let made = exec::run(
        Command::new(program)
            .args(["cyclonedx", "--quiet", "--format", "json"])
            .args(["--spec-version", "1.5", "--no-build-deps"])
            .args(["--override-filename", NAME])
            .args(["--target", Architecture::native()?.static_target()])
            .args(options)
            .arg("--manifest-path")
            .arg(root.join(package).join("Cargo.toml"))
            .env("SOURCE_DATE_EPOCH", epoch),
    );
    let file = format!("{NAME}.json");
    let text = made.and_then(|()| super::read(Path::new(package).join(&file)));
    for entry in fs::read_dir(&root).context("cannot list the workspace")? {
        let written = entry?.path().join(&file);
        if written.exists() {
            fs::remove_file(&written)
                .with_context(|| format!("cannot remove {}", written.display()))?;
        }
    }
    // The same wherever it was made.
    Ok(text?.replace(&root.display().to_string(), ""))
}
