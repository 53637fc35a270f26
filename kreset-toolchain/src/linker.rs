//! Finds `bpf-linker`.

use std::{env, path::PathBuf};

/// The path of the `bpf-linker` that the compiler will use.
#[must_use]
pub fn linker() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    find(env::split_paths(&path).collect(), cargo_bin())
}

/// Searches `path` as `rustup run` passes it to the compiler: preceded by the directory where cargo
/// installs binaries, unless `path` contains it already.
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
