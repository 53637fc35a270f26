//! Builds the kernel side's object.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Tools, belongs_to_host};

/// The BPF target: kreset runs on little-endian machines only.
pub const TARGET: &str = "bpfel-unknown-none";

/// What the compiler is asked for, on every machine.
///
/// `bpf_target_arch` chooses how programs read `pt_regs`, which no program of the kernel side does:
/// built for x86-64 and for arm64, all code and data are the same. So one value serves both.
pub const FLAGS: [&str; 3] = [
    "--cfg=bpf_target_arch=\"x86_64\"",
    // The linker makes BTF of the debug information.
    "-Cdebuginfo=2",
    "-Clink-arg=--btf",
];

/// Names the linker's path to the kernel side's build script.
const LINKER_VARIABLE: &str = "KRESET_BPF_LINKER";

impl Tools {
    /// The command `cargo SUBCOMMAND` for the kernel side's programs, with cargo's output below
    /// `target`.
    #[must_use]
    pub fn cargo(&self, subcommand: &str, workspace: &Path, target: &Path) -> Command {
        let mut command = Command::new("rustup");
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(belongs_to_host) {
                command.env_remove(name);
            }
        }
        command
            .current_dir(workspace)
            // Lets a compiler that is not a nightly build `core`; a nightly ignores it.
            .env("RUSTC_BOOTSTRAP", "1")
            .env(LINKER_VARIABLE, &self.linker)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(workspace))
            .args(["run", &self.toolchain.name, "cargo", subcommand])
            .args(["--package", "kreset-ebpf", "--features", "programs"])
            .args(["--release", "--target", TARGET, "-Zbuild-std=core"])
            .arg("--target-dir")
            .arg(target);
        command
    }

    /// The command that builds the object, which it leaves at [`object`].
    #[must_use]
    pub fn build(&self, workspace: &Path, target: &Path) -> Command {
        let mut command = self.cargo("build", workspace, target);
        command.args(["--bin", "kreset"]);
        command
    }

    /// [`FLAGS`], and what keeps this machine's paths out of the object.
    fn flags(&self, workspace: &Path) -> OsString {
        let mut paths = vec![
            (workspace.to_owned(), "/kreset"),
            (self.toolchain.directory.clone(), "/rust"),
        ];
        paths.extend(registries().into_iter().map(|path| (path, "/registry")));
        let mut flags: OsString = FLAGS.join(SEPARATOR).into();
        for (path, name) in paths {
            flags.push(SEPARATOR);
            flags.push("--remap-path-prefix=");
            flags.push(path);
            flags.push("=");
            flags.push(name);
        }
        flags
    }
}

/// Where cargo keeps the sources of dependencies: a directory for each registry, named after the
/// address that this machine reaches it at.
fn registries() -> Vec<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let sources = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let mut paths: Vec<_> = sources
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    // The flags are part of what cargo compares: their order must not change.
    paths.sort();
    paths
}

/// Between the flags in `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: &str = "\x1f";

/// Where [`Tools::build`] leaves the object.
#[must_use]
pub fn object(target: &Path) -> PathBuf {
    target.join(TARGET).join("release/kreset")
}
