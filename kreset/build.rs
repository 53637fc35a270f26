//! Builds the kernel side, which `kreset` carries inside its binary.

use std::{env, error::Error, fs, io::ErrorKind, os::unix::fs::symlink, path::Path};

use aya_build::{Package, Toolchain};
use kreset_toolchain::{TOOLCHAIN_VARIABLE, Tools, belongs_to_host};

/// Aya's switch for tools that look at the source and run nothing: the kernel side is left empty.
const SKIP_VARIABLE: &str = "AYA_BUILD_SKIP";

fn main() {
    if let Err(error) = run() {
        // Cargo prints this as one line; a failing exit status would print all output with it.
        println!("cargo::error={error}");
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let out_dir = env::var("OUT_DIR")?;
    let out_dir = Path::new(&out_dir);
    println!("cargo::rerun-if-env-changed={SKIP_VARIABLE}");
    if env::var_os(SKIP_VARIABLE).is_some_and(|value| value == "1" || value == "true") {
        return Ok(fs::write(out_dir.join("kreset"), [])?);
    }

    let kreset = env::var("CARGO_MANIFEST_DIR")?;
    let workspace = Path::new(&kreset)
        .parent()
        .ok_or("kreset is built from its workspace only")?;

    println!("cargo::rerun-if-env-changed={TOOLCHAIN_VARIABLE}");
    // Aya names the directory of the kernel side itself.
    for input in ["kreset-common", "Cargo.toml", "Cargo.lock"] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(input).display()
        );
    }

    let Tools { toolchain, linker } = Tools::find()?;
    println!("cargo::rerun-if-changed={}", linker.display());

    share_target_directory(out_dir)?;
    prepare_environment();
    let root_dir = workspace.join("kreset-ebpf");
    let root_dir = root_dir
        .to_str()
        .ok_or("the path of the workspace is not UTF-8")?;
    aya_build::build_ebpf(
        [Package {
            name: "kreset-ebpf",
            root_dir,
            features: &["programs"],
            ..Package::default()
        }],
        Toolchain::Custom(&toolchain.name),
    )
    .map_err(|error| {
        let name = &toolchain.name;
        format!("the kernel side did not build with the Rust toolchain `{name}`: {error:#}").into()
    })
}

/// Lets all profiles share one build of the kernel side, which is the same in each.
///
/// Aya gives every `OUT_DIR` its own, and building `core` takes longer than the rest of a debug
/// build.
fn share_target_directory(out_dir: &Path) -> Result<(), Box<dyn Error>> {
    // OUT_DIR is `PROFILE/build/kreset-HASH/out` in the target directory.
    let target = out_dir.ancestors().nth(4).ok_or("OUT_DIR is too short")?;
    let own = out_dir.join("aya-build/target");
    fs::create_dir_all(target.join("kernel-side"))?;
    fs::create_dir_all(&own)?;
    // Relative, so that a copy of the target directory does not write into the original.
    match symlink("../../../../../../kernel-side", own.join("kreset-ebpf")) {
        // From the last time.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        result => Ok(result?),
    }
}

/// Sets the environment that the build of the kernel side will have.
fn prepare_environment() {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(belongs_to_host) {
            // SAFETY: this process has no other thread that could read the environment.
            unsafe {
                env::remove_var(name);
            }
        }
    }

    let set = [
        // Lets a compiler that is no nightly build `core`; to a nightly it says nothing new.
        ("RUSTC_BOOTSTRAP", "1"),
        // Cargo repeats what a build script prints at every build. Compiler messages still come.
        ("CARGO_TERM_QUIET", "true"),
    ];
    for (name, value) in set {
        // SAFETY: as above.
        unsafe {
            env::set_var(name, value);
        }
    }
}
