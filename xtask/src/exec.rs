//! Starts other programs.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs, iter,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// The cargo that runs this task.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs `command` to its end with its output where this program's goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("`{}` did not start", show(command)))?;
    if !status.success() {
        bail!("`{}` failed", show(command));
    }
    Ok(())
}

/// Runs `command` to its end and returns its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("`{}` did not start", show(command)))?;
    if !output.status.success() {
        bail!("`{}` failed", show(command));
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("the output of `{}` is not UTF-8", show(command)))
}

/// Runs `command` to its end and returns its standard output without the white space around it;
/// fails with all that it said if it does.
pub(crate) fn captured(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("`{}` did not start", show(command)))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        bail!(
            "`{}`: {}\n{said}\n{}",
            show(command),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(said)
}

/// Runs a command as root that may fail, and need not be heard.
pub(crate) fn try_as_root(words: &[&str]) {
    if let Ok(mut command) = as_root(&[]) {
        let command = command.args(words).stdout(Stdio::null());
        let _status = command.stderr(Stdio::null()).status();
    }
}

/// Removes a control group and those below it, of which `find` takes those with `tests`, as root
/// and from the inside out; they have to be empty.
pub(crate) fn remove_groups(group: &str, tests: &[&str]) {
    let found = ["find", group, "-depth", "-type", "d"];
    try_as_root(&[&found, tests, &["-exec", "rmdir", "{}", ";"]].concat());
}

/// A command that runs, as root, the program that is added to it as an argument.
///
/// `variables` reach that program: sudo would drop them.
pub(crate) fn as_root(variables: &[(&str, &OsStr)]) -> Result<Command> {
    let mut command = if is_root() {
        Command::new("env")
    } else if find("sudo").is_some() {
        let mut command = Command::new("sudo");
        command.arg("env");
        command
    } else {
        bail!("this needs root, and sudo is not installed: run it as root");
    };
    for (name, value) in variables {
        let mut variable = OsString::from(name);
        variable.push("=");
        variable.push(value);
        command.arg(variable);
    }
    Ok(command)
}

/// The configuration with which cargo hands what it compiled to `runner`.
pub(crate) fn runner(runner: &Command) -> Result<String> {
    let words: Vec<_> = iter::once(runner.get_program())
        .chain(runner.get_args())
        .map(|word| {
            word.to_str()
                .with_context(|| format!("not UTF-8: {}", word.display()))
        })
        .collect::<Result<_>>()?;
    // True for every target: the triple of the host need not be known.
    Ok(format!("target.'cfg(all())'.runner = {words:?}"))
}

/// Whether this process runs as root.
fn is_root() -> bool {
    // The kernel gives a process's directory to its effective user.
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Finds a program, also where a plain user's `PATH` does not go.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// Cargo's target directory, wherever this machine's configuration has put it.
pub(crate) fn target_directory() -> Result<PathBuf> {
    // This program is `debug/xtask` in there.
    let program = env::current_exe().context("the path of this program is unknown")?;
    program
        .ancestors()
        .nth(2)
        .map(Path::to_owned)
        .with_context(|| format!("{} is not in a target directory", program.display()))
}

/// The root of this repository.
pub(crate) fn root() -> Result<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.parent().context("xtask has no parent directory")?;
    Ok(root.to_owned())
}

/// Shows `command` as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let mut line = String::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            let _infallible = write!(line, "{}={} ", name.display(), quote(value));
        }
    }
    let program = Path::new(command.get_program());
    line.push_str(&quote(program.file_name().unwrap_or_default()));
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&quote(argument));
    }
    line
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("/usr/bin/cargo");
        command
            .args(["test", "--test", "*"])
            .env("LLVM_PREFIX", "/usr/lib/llvm-22")
            .env_remove("RUSTC");
        assert_eq!(
            show(&command),
            "LLVM_PREFIX=/usr/lib/llvm-22 cargo test --test '*'"
        );
    }

    #[test]
    fn a_quote_inside_a_word_survives_quoting() {
        assert_eq!(quote(OsStr::new("it's")), r"'it'\''s'");
        assert_eq!(quote(OsStr::new("")), "''");
    }
}
