//! Finds `bpf-linker`.

use std::{env, path::PathBuf};

/// Returns the path of `bpf-linker`, the one that the compiler will find.
#[must_use]
pub fn linker() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    find(env::split_paths(&path).collect(), cargo_bin())
}

/// Searches `path` as `rustup run` hands it to the compiler: with the place where cargo installs
/// binaries put before all else, unless it is in there already.
fn find(path: Vec<PathBuf>, cargo_bin: Option<PathBuf>) -> Option<PathBuf> {
    cargo_bin
        .filter(|directory| !path.contains(directory))
        .into_iter()
        .chain(path)
        .map(|directory| directory.join("bpf-linker"))
        .find(|file| file.is_file())
}

fn cargo_bin() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .map(|home| home.join("bin"))
}
