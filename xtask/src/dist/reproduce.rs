//! Makes everything again, from another copy of the source in another target directory, and
//! compares every byte.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, bail};

use super::{fresh, work_directory};
use crate::{arch::Architecture, exec, files};

/// Fails unless a second build of the same commit gives the files of `out`.
pub(super) fn check(out: &Path, architectures: &[Architecture]) -> Result<()> {
    let root = exec::root()?;
    let changed = exec::output(
        Command::new("git")
            .current_dir(&root)
            .args(["status", "--porcelain"]),
    )?;
    if !changed.is_empty() {
        bail!("--reproduce needs a source without changes, which a clone has not:\n{changed}");
    }
    let work = work_directory()?.join("reproduce");
    fresh(&work)?;
    let (source, target) = (work.join("source"), work.join("target"));
    exec::run(
        Command::new("git")
            .args(["clone", "--quiet"])
            .arg(&root)
            .arg(&source),
    )?;
    // Tools are not what is compared.
    fs::create_dir_all(target.join("dist-work"))?;
    exec::run(
        Command::new("cp")
            .arg("-R")
            .arg(work_directory()?.join("tools"))
            .arg(target.join("dist-work/tools")),
    )?;
    let names: Vec<_> = architectures.iter().map(|it| it.name()).collect();
    exec::run(
        exec::cargo()
            .current_dir(&source)
            .env("CARGO_TARGET_DIR", &target)
            .args(["xtask", "dist", "--arch", &names.join(",")]),
    )?;
    let sums = |directory: &Path| -> Result<String> {
        let file = directory.join("SHA256SUMS");
        files::read_text(&file)
    };
    let differ = differences(&sums(out)?, &sums(&target.join("dist"))?);
    if !differ.is_empty() {
        bail!("a second build differs in {}", differ.join(", "));
    }
    println!("a second build, from another directory into another one, is the same");
    files::remove_directory(&work)
}

/// The files whose checksums differ, or that only one has.
fn differences(first: &str, second: &str) -> Vec<String> {
    let lacks = |other: &str, line: &str| !other.lines().any(|it| it == line);
    let names = first
        .lines()
        .filter(|line| lacks(second, line))
        .chain(second.lines().filter(|line| lacks(first, line)))
        .filter_map(|line| line.split_whitespace().nth(1));
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_that_differs_is_named_once() {
        let first = "aa  a.deb\nbb  b.rpm\ncc  c.tar\n";
        assert_eq!(differences(first, first), Vec::<String>::new());
        let second = "aa  a.deb\nb0  b.rpm\ndd  d.tar\n";
        assert_eq!(differences(first, second), ["b.rpm", "c.tar", "d.tar"]);
    }
}
