//! Provides the object of the kernel side, which `kreset` carries inside its binary: the shipped
//! one if it fits the sources, or else one built here.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use kreset_toolchain::{
    TOOLCHAIN_VARIABLE, Tools,
    compile::object,
    shipped::{OBJECT, STAMP, Unfit, shipped, workspace},
    source::CRATES,
};

/// Aya's switch for tools that read the source and run nothing: the object is left empty.
const SKIP_VARIABLE: &str = "AYA_BUILD_SKIP";

fn main() {
    if let Err(error) = run() {
        // Cargo prints this as one line; a failing exit status would print all output with it.
        println!("cargo::error={error}");
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let kreset = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let embedded = out_dir.join("kreset");
    println!("cargo::rerun-if-env-changed={SKIP_VARIABLE}");
    if env::var_os(SKIP_VARIABLE).is_some_and(|value| value == "1" || value == "true") {
        return Ok(fs::write(embedded, [])?);
    }

    rerun_if_changed(&kreset);
    // Whoever names a toolchain wants the object that it builds.
    let asked = env::var_os(TOOLCHAIN_VARIABLE).is_some();
    let object = match shipped(&kreset) {
        Ok(object) if !asked => object,
        outcome => build(&kreset, &out_dir, outcome.err())?,
    };
    fs::copy(object, embedded)?;
    Ok(())
}

fn rerun_if_changed(kreset: &Path) {
    println!("cargo::rerun-if-env-changed={TOOLCHAIN_VARIABLE}");
    println!("cargo::rerun-if-changed=build.rs");
    for file in [OBJECT, STAMP] {
        println!("cargo::rerun-if-changed={file}");
    }
    if let Some(workspace) = workspace(kreset) {
        for input in CRATES.into_iter().chain(["Cargo.toml", "Cargo.lock"]) {
            println!(
                "cargo::rerun-if-changed={}",
                workspace.join(input).display()
            );
        }
    }
}

/// Builds the object from source, because the shipped one is `unfit` or the user asked for it.
fn build(kreset: &Path, out_dir: &Path, unfit: Option<Unfit>) -> Result<PathBuf, Box<dyn Error>> {
    let because = unfit.map_or_else(String::new, |unfit| format!("{unfit}, and "));
    let Some(workspace) = workspace(kreset) else {
        return Err(format!("{because}its sources are not here").into());
    };
    let tools = Tools::find().map_err(|missing| format!("{because}{missing}"))?;
    println!("cargo::rerun-if-changed={}", tools.linker.display());

    // OUT_DIR is `PROFILE/build/kreset-HASH/out` in the target directory. All profiles share one
    // build of the kernel side, which is the same in each.
    let target = out_dir.ancestors().nth(4).ok_or("OUT_DIR is too short")?;
    let target = target.join("kernel-side");
    let output = tools.build(workspace, &target).arg("--quiet").output()?;
    let messages = String::from_utf8_lossy(&output.stderr);
    let level = if output.status.success() {
        "warning"
    } else {
        "error"
    };
    for line in messages.lines() {
        println!("cargo::{level}={line}");
    }
    if !output.status.success() {
        let name = &tools.toolchain.name;
        return Err(
            format!("the kernel side did not build with the Rust toolchain `{name}`").into(),
        );
    }
    Ok(object(&target))
}
