//! The checks of the packages that need no build; `cargo xtask test` makes them too.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{fresh, tree, work_directory};
use crate::{
    exec, files,
    setup::{self, Program},
};

/// The highest exposure that `systemd-analyze security` may report for the unit, in tenths.
///
/// What remains is what an agent needs: BPF, sinks on the network, and `/proc` of other processes.
const EXPOSURE: &str = "18";

/// The programs that check them.
pub(crate) const CHECKERS: [Program; 3] = [
    ("systemd-analyze", "systemd"),
    ("man", "man-db"),
    ("groff", "groff-base"),
];

/// Checks man pages, completions, scripts and the unit.
pub(crate) fn check() -> Result<()> {
    setup::programs(&CHECKERS)?;
    pages_and_completions()?;
    scripts()?;
    unit()
}

fn pages_and_completions() -> Result<()> {
    let share = work_directory()?.join("check");
    fresh(&share)?;
    tree::manual(&share)?;
    let pages = tree::pages(&share)?;
    for (name, words) in [
        (
            "kreset-trace.1",
            &[
                "\\-\\-broker\\-max\\-idle",
                "VERDICTS",
                "middlebox_idle_reset/reset_on_send",
                "SIGNALS",
                "SIGHUP",
                "FILES",
                "/etc/kreset/kreset.toml",
                "\"EXIT STATUS\"",
                "EXAMPLES",
                "kreset\\-trace probe broker\\-3:9092",
                // What an option takes stands in the synopsis.
                "\\fBtext|",
            ][..],
        ),
        ("kreset-trace-check.1", &["\\-\\-config"]),
        ("kreset-trace-sample.1", &["\\-\\-rate"]),
    ] {
        let Some(page) = pages.iter().find(|page| page.ends_with(name)) else {
            bail!("missing man page {name}");
        };
        let text = files::read_text(page)?;
        if let Some(word) = words.iter().find(|word| !text.contains(**word)) {
            bail!("{name} does not contain {word:?}");
        }
    }
    for page in &pages {
        silent(
            Command::new("man")
                .env("MANROFFSEQ", "")
                .env("MANWIDTH", "80")
                .env("LC_ALL", "C.UTF-8")
                .args(["--warnings", "--local-file", "--encoding", "UTF-8"])
                .arg("--troff-device=utf8")
                .arg("--ditroff")
                .arg(page),
        )?;
    }
    let completions = share.join("bash-completion/completions/kreset-trace");
    // What bash does on TAB, without the terminal.
    let script = format!(
        ". '{}'\nCOMP_WORDS=(kreset-trace check --packet-e); COMP_CWORD=2\n\
         $(complete -p kreset-trace | sed 's/.* -F \\([^ ]*\\) .*/\\1/') \
         kreset-trace --packet-e check; echo \"${{COMPREPLY[*]}}\"",
        completions.display()
    );
    let completed = exec::output(Command::new("bash").args(["--norc", "-c", &script]))?;
    if completed.trim() != "--packet-evidence" {
        bail!(
            "bash completes `check --packet-e` to {:?}",
            completed.trim()
        );
    }
    Ok(())
}

/// Checks the syntax of the maintainers' scripts: they run as root on every host.
fn scripts() -> Result<()> {
    for kind in ["deb", "rpm"] {
        for name in [
            "postinst", "prerm", "postrm", "pre", "post", "preun", "postun",
        ] {
            let script = exec::root()?.join("packaging").join(kind).join(name);
            if script.exists() {
                silent(Command::new("sh").arg("-n").arg(script))?;
            }
        }
    }
    Ok(())
}

/// Checks that the unit has no unknown key, and is as confined as docs/security.md says.
fn unit() -> Result<()> {
    silent(
        Command::new("systemd-analyze")
            .args(["security", "--offline=yes", "--no-pager"])
            .arg(format!("--threshold={EXPOSURE}"))
            .arg(exec::root()?.join("packaging/kreset.service")),
    )
}

/// Runs a command that prints nothing to standard error if it succeeds.
fn silent(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("`{}` did not start", exec::show(command)))?;
    if !output.status.success() || !output.stderr.is_empty() {
        bail!(
            "`{}`: {}\n{}{}",
            exec::show(command),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
