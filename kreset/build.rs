//! Builds the kernel side, which `kreset` carries inside its binary.

use std::{env, error::Error, path::Path};

use aya_build::{Package, Toolchain};
use kreset_toolchain::{TOOLCHAIN_VARIABLE, Tools, belongs_to_host};

fn main() {
    if let Err(error) = run() {
        // Cargo prints this as one line; a failing exit status would print all output with it.
        println!("cargo::error={error}");
    }
}

fn run() -> Result<(), Box<dyn Error>> {
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

    prepare_environment();
    let root_dir = workspace.join("kreset-ebpf");
    let root_dir = root_dir
        .to_str()
        .ok_or("the path of the workspace is not UTF-8")?;
    aya_build::build_ebpf(
        [Package {
            name: "kreset-ebpf",
            root_dir,
            ..Package::default()
        }],
        Toolchain::Custom(&toolchain.name),
    )
    .map_err(|error| {
        let name = &toolchain.name;
        format!("the kernel side did not build with the Rust toolchain `{name}`: {error:#}").into()
    })
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
