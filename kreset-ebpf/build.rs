//! Links the kernel side anew when the linker changes, which cargo does not watch.

fn main() {
    if let Some(linker) = kreset_toolchain::linker() {
        println!("cargo::rerun-if-changed={}", linker.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
}
