//! Writes man pages and shell completions of kreset-trace into the directory
//! that its argument names, laid out as under `/usr/share`.

mod page;

use std::{
    env, fs,
    io::{Error, ErrorKind, Result},
    path::{Path, PathBuf},
};

use clap_complete::Shell;
use kreset::cli;

fn main() -> Result<()> {
    let share = env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "usage: manual DIRECTORY"))?;
    let pages = directory(&share, "man/man1")?;
    for (name, text) in page::all(cli::command()) {
        fs::write(pages.join(name), text)?;
    }
    for (shell, path, file) in [
        // Found there by the command's name alone.
        (Shell::Bash, "bash-completion/completions", "kreset-trace"),
        (Shell::Zsh, "zsh/site-functions", "_kreset-trace"),
        (
            Shell::Fish,
            "fish/vendor_completions.d",
            "kreset-trace.fish",
        ),
    ] {
        let script = cli::completions::script(shell);
        fs::write(directory(&share, path)?.join(file), script)?;
    }
    Ok(())
}

fn directory(share: &Path, name: &str) -> Result<PathBuf> {
    let directory = share.join(name);
    fs::create_dir_all(&directory)?;
    Ok(directory)
}
