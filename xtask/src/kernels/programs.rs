//! The two programs that a guest runs, and what they need there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{arch::Architecture, build, exec, setup, workspace};

/// Where the dynamic loader looks up libraries, where a distribution has them in other places than
/// its loader's own.
const LOADER_CACHE: &str = "/etc/ld.so.cache";

/// A file of the guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GuestFile {
    /// Where it is in the guest.
    pub(super) path: PathBuf,
    /// What is in it: a file of this machine.
    pub(super) source: PathBuf,
}

impl GuestFile {
    fn new(path: &str, source: PathBuf) -> Self {
        Self {
            path: path.into(),
            source,
        }
    }
}

/// Names in the guest, packages and names in cargo's target directory: the guest's only process,
/// and the tracer that it starts.
const INIT: (&str, &str) = ("/init", "kreset-guest");
const TRACER: (&str, &str) = ("/kreset-trace", "kreset-trace");

/// Builds them as they are shipped: optimized, and without need of another file.
pub(super) fn shipped(architecture: Architecture) -> Result<Vec<GuestFile>> {
    architecture.set_up()?;
    // Without sinks, and so without TLS: no guest has a network.
    let program = |package, (path, name): (&str, &str), options: &[&str]| -> Result<_> {
        let built = build::static_program(architecture, package, name, options)?;
        Ok(GuestFile::new(path, built))
    };
    let files = vec![
        program("kreset", TRACER, &["--no-default-features"])?,
        program("kreset-guest", INIT, &[])?,
    ];
    println!("static programs for {}", architecture.static_target());
    Ok(files)
}

/// Builds them in cargo's development profile, as they are built for the tests. With them goes what
/// they are linked to, from this machine.
pub(super) fn tested(directory: &Path) -> Result<Vec<GuestFile>> {
    setup::programs(&[("strip", "binutils"), ("ldd", "libc-bin")])?;
    exec::run(workspace::build().arg("--quiet"))?;
    let built = exec::target_directory()?.join("debug");
    fs::create_dir_all(directory)?;
    let mut files = BTreeSet::new();
    for (path, name) in [INIT, TRACER] {
        let program = built.join(name);
        for library in libraries(&program)? {
            files.insert(GuestFile::new(&library, library.clone().into()));
        }
        // Symbols and lines of code are most of it, and it has to fit into the guest's memory.
        let stripped = directory.join(name);
        exec::run(Command::new("strip").arg("-o").args([&stripped, &program]))?;
        files.insert(GuestFile::new(path, stripped));
    }
    if Path::new(LOADER_CACHE).is_file() {
        files.insert(GuestFile::new(LOADER_CACHE, LOADER_CACHE.into()));
    }
    Ok(files.into_iter().collect())
}

/// The shared libraries of a program, and the loader.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let said = exec::output(Command::new("ldd").arg(program))?;
    libraries_in(&said).with_context(|| format!("the libraries of {}", program.display()))
}

/// What `ldd` printed: `NAME => PATH (ADDRESS)`, only `PATH (ADDRESS)` of the loader, and only
/// `NAME (ADDRESS)` of what the kernel brings (vdso(7)).
fn libraries_in(said: &str) -> Result<Vec<String>> {
    if let Some(line) = said.lines().find(|line| line.contains("not found")) {
        bail!("missing: {}", line.trim());
    }
    let paths = said.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.find(|word| word.starts_with('/'))
    });
    Ok(paths.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found() {
        let said = "\tlinux-vdso.so.1 (0x00007f26f0731000)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f26ee41e000)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f26f0733000)\n";
        assert_eq!(
            libraries_in(said).expect("nothing is missing"),
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
        let error = libraries_in("\tlibz.so.1 => not found\n").expect_err("missing");
        assert_eq!(error.to_string(), "missing: libz.so.1 => not found");
    }
}
