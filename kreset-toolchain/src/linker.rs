//! Finds `bpf-linker`.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Returns the path of `bpf-linker`, as the compiler will find it.
///
/// That is the `PATH`, and after it the place where cargo installs binaries: rustup appends that
/// to the `PATH` of every compiler it starts.
#[must_use]
pub fn linker() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    find(env::split_paths(&path).chain(cargo_bin()))
}

fn find(directories: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    directories
        .into_iter()
        .map(|directory| directory.join("bpf-linker"))
        .find(|file| file.is_file())
}

fn cargo_bin() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .map(|home| home.join(Path::new("bin")))
}
