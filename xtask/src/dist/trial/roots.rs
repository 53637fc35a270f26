//! The deb on root file systems of distributions, made from their own mirrors.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::seen;
use crate::{
    dist::{fresh, work_directory},
    exec, files, setup,
};

const SCRIPT: &str = include_str!("roots.sh");
/// Debian 12 and 13.
const SUITES: [&str; 2] = ["bookworm", "trixie"];
const MIRROR: &str = "http://deb.debian.org/debian";

/// Installs it on each, gets a verdict, and purges it.
pub(in crate::dist) fn run(deb: &Path) -> Result<()> {
    setup::programs(&[("mmdebstrap", "mmdebstrap"), ("ip", "iproute2")])?;
    let work = work_directory()?.join("roots");
    exec::run(exec::as_root(&[])?.args(["rm", "-rf"]).arg(&work))?;
    fresh(&work)?;
    let script = work.join("roots.sh");
    files::write(&script, SCRIPT)?;
    for suite in SUITES {
        let root = work.join(suite);
        exec::run(
            exec::as_root(&[])?
                .args(["mmdebstrap", "--quiet", "--variant=minbase"])
                .args(["--include=init-system-helpers,passwd"])
                // Its own user may not reach the target directory.
                .args(["--aptopt=APT::Sandbox::User \"root\"", suite])
                .arg(&root)
                .arg(MIRROR),
        )
        .with_context(|| format!("cannot make a root file system of {suite}"))?;
        let said = exec::output(
            exec::as_root(&[])?
                .args(["unshare", "--mount", "--net", "sh"])
                .arg(&script)
                .arg(&root)
                .arg(deb),
        )
        .with_context(|| format!("on {suite}"))?;
        let value = |key: &str| {
            let mut lines = said.lines().filter_map(|line| line.split_once(' '));
            lines.find_map(|(of, value)| (of == key).then(|| value.to_owned()))
        };
        let value = |key| value(key).with_context(|| format!("no {key} in {said:?}"));
        seen(&format!(
            "{}: dpkg --install in {} s, the first verdict after {} s, and purged",
            value("distribution")?,
            value("installed")?,
            value("verdict")?
        ));
    }
    exec::run(exec::as_root(&[])?.args(["rm", "-rf"]).arg(&work))
}
