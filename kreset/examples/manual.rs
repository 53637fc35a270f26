//! Writes man pages and shell completions of kreset-trace into the directory
//! that its argument names, laid out as under `/usr/share`.

use std::{
    env, fs,
    io::{Error, ErrorKind, Result},
    path::{Path, PathBuf},
};

use clap_complete::{Shell, generate_to};
use kreset::cli;

fn main() -> Result<()> {
    let share = env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "usage: manual DIRECTORY"))?;
    clap_mangen::generate_to(cli::command(), directory(&share, "man/man1")?)?;
    for (shell, path) in [
        (Shell::Bash, "bash-completion/completions"),
        (Shell::Zsh, "zsh/site-functions"),
        (Shell::Fish, "fish/vendor_completions.d"),
    ] {
        let written = generate_to(
            shell,
            &mut cli::command(),
            "kreset-trace",
            directory(&share, path)?,
        )?;
        if shell == Shell::Bash {
            // clap_complete 4.6 writes a subcommand's name in two ways where the
            // program's has a hyphen, and then completes nothing after it.
            let text = fs::read_to_string(&written)?
                .replace("kreset__subcmd__trace__subcmd__", "kreset__trace__subcmd__");
            // Found there by the command's name alone.
            fs::write(written.with_extension(""), text)?;
            fs::remove_file(&written)?;
        }
    }
    Ok(())
}

fn directory(share: &Path, name: &str) -> Result<PathBuf> {
    let directory = share.join(name);
    fs::create_dir_all(&directory)?;
    Ok(directory)
}
