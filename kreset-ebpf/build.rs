//! Links the programs again when the linker changes, which cargo does not watch.

/// Set by `kreset-toolchain`, which starts the build for the BPF target.
const LINKER_VARIABLE: &str = "KRESET_BPF_LINKER";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={LINKER_VARIABLE}");
    if let Ok(linker) = std::env::var(LINKER_VARIABLE) {
        println!("cargo::rerun-if-changed={linker}");
    }
}
