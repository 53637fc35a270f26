//! Takes steps, and keeps their output in a log.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::step::{Step, apt_get};
use crate::exec;

/// One run of setup.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The output of all commands so far.
    log: Option<PathBuf>,
    /// Whether the package lists were refreshed.
    lists_are_fresh: bool,
}

impl Session {
    /// Prints `step` and takes it.
    pub(super) fn take(&mut self, step: &Step) -> Result<()> {
        if matches!(step, Step::InstallPackages(_)) && !self.lists_are_fresh {
            self.lists_are_fresh = true;
            if let Err(error) = self.run("refreshing the package lists", apt_get()?.arg("update")) {
                eprintln!("setup: {error:#}; going on with the present lists");
            }
        }
        self.run(&step.to_string(), &mut step.command()?)
    }

    /// The log of the commands' output, if there were any.
    pub(super) const fn log(&self) -> Option<&PathBuf> {
        self.log.as_ref()
    }

    /// Prints what `command` does and runs it.
    pub(super) fn run(&mut self, what: &str, command: &mut Command) -> Result<()> {
        let line = exec::show(command);
        eprintln!("setup: {what}: {line}");

        let path = exec::target_directory()?.join("setup.log");
        let log = if self.log.is_some() {
            File::options().append(true).open(&path)
        } else {
            File::create(&path)
        }
        .with_context(|| format!("cannot write {}", path.display()))?;
        let start = log.metadata()?.len();
        self.log = Some(path.clone());

        let status = command
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()
            .with_context(|| format!("`{line}` did not start"))?;
        if !status.success() {
            let output = fs::read(&path)?;
            let output = output.get(start as usize..).unwrap_or_default();
            bail!("{}", reason_in(&String::from_utf8_lossy(output)));
        }
        Ok(())
    }
}

/// The line of a failed command's output that most likely has the reason.
fn reason_in(output: &str) -> &str {
    let lines = || {
        output
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    lines()
        .find(|line| line.starts_with("error") || line.starts_with("E: "))
        .or_else(|| lines().next_back())
        .unwrap_or("its command failed without output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_the_reason_in() {
        let output = "Reading package lists...\nE: Unable to locate package nosuch\n                      E: Couldn't find any package by regex 'nosuch'\n";
        assert_eq!(reason_in(output), "E: Unable to locate package nosuch");
        let output = "info: syncing\nerror: no release found for 'nosuch'\n\n";
        assert_eq!(reason_in(output), "error: no release found for 'nosuch'");
    }

    #[test]
    fn without_an_error_the_last_line_is_the_reason() {
        assert_eq!(
            reason_in("\nsudo: a password is required\n\n"),
            "sudo: a password is required"
        );
        assert_eq!(reason_in(""), "its command failed without output");
    }
}
