//! `cargo xtask btf-extract`

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{VERSIONS, debian, image};
use crate::{arch::Architecture, exec, workspace};

const EXAMPLES: &str = "\
Examples:
  cargo xtask btf-extract                      5.10, 6.1, 6.12, 6.18 and 7.3
  cargo xtask btf-extract 6.1 --arch aarch64   one kernel of arm64
  cargo xtask btf-extract --running            the kernel of this machine

Writes the types that kreset reads, of each kernel, to kreset/src/kernel/btf/fixtures, for the unit
tests. Kernels come from Debian's mirrors, as for `cargo xtask kernels`; none is booted.";

/// Where the unit tests find the extracts.
const FIXTURES: &str = "kreset/src/kernel/btf/fixtures";
const RUNNING: &str = "/sys/kernel/btf/vmlinux";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Versions as `uname -r` begins with them
    versions: Vec<String>,
    /// The architecture of the kernels [default: this machine's]
    #[arg(long, value_name = "ARCH")]
    arch: Option<Architecture>,
    /// The kernel that runs here, and no other
    #[arg(long, conflicts_with_all = ["versions", "arch"])]
    running: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let architecture = match arguments.arch {
        Some(architecture) => architecture,
        None => Architecture::native()?,
    };
    let tool = tool()?;
    if arguments.running {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        return extract(&tool, Path::new(RUNNING), architecture, release.trim());
    }
    debian::install_keyring()?;
    let versions: Vec<&str> = match arguments.versions.as_slice() {
        [] => VERSIONS.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    };
    let directory = super::directory(architecture)?;
    for kernel in debian::fetch(&directory, architecture, &versions)? {
        let unpacked = directory.join("vmlinux");
        image::unpack(&kernel.image, &unpacked)?;
        extract(&tool, &unpacked, architecture, &kernel.version)?;
        fs::remove_file(unpacked)?;
    }
    Ok(())
}

/// Builds what cuts BTF, with kreset's own reader.
fn tool() -> Result<PathBuf> {
    exec::run(workspace::cargo("build").args(["--quiet", "--example", "btf-extract"]))?;
    Ok(exec::target_directory()?.join("debug/examples/btf-extract"))
}

fn extract(tool: &Path, from: &Path, architecture: Architecture, release: &str) -> Result<()> {
    let to = exec::root()?
        .join(FIXTURES)
        .join(file_name(architecture, release));
    exec::run(Command::new(tool).arg(from).arg(&to))
        .with_context(|| format!("no types of Linux {release}"))?;
    println!("{}", to.display());
    Ok(())
}

/// `amd64-6.12.117.btf` of `6.12.117+deb12-cloud-amd64`: each release of a kernel stays.
fn file_name(architecture: Architecture, release: &str) -> String {
    let end = release
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(release.len());
    // Debian names packages of 5.10 and 6.1 by a count of its own.
    let mut version = release[..end].to_owned();
    if version.ends_with(".0") {
        let count: String = release[end..]
            .trim_start_matches('-')
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        if !count.is_empty() {
            version = format!("{version}-{count}");
        }
    }
    format!("{}-{version}.btf", architecture.debian())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_architecture_and_release() {
        for (release, name) in [
            ("6.12.117+deb12-cloud-amd64", "amd64-6.12.117.btf"),
            ("5.10.0-46-cloud-amd64", "amd64-5.10.0-46.btf"),
            ("7.3.4", "amd64-7.3.4.btf"),
        ] {
            assert_eq!(file_name(Architecture::X86, release), name);
        }
    }
}
