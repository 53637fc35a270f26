//! `cargo xtask build-ebpf`, and the check of the object that it ships.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use kreset_toolchain::{
    Tools,
    compile::object,
    shipped::{OBJECT, STAMP, Stamp, Unfit, Versions, shipped},
    source,
};

use crate::{exec, setup};

/// Builds the object of the kernel side and puts it beside the source, with its stamp.
pub(crate) fn run() -> Result<()> {
    setup::run(setup::Purpose::KernelSide)?;
    let tools = Tools::find()?;
    let workspace = exec::root()?;
    let kreset = workspace.join("kreset");
    let built = build(&tools)?;
    let bytes = read(&built)?;
    let stamp = Stamp {
        sources: source::hash(&workspace)?,
        object: source::hash_bytes(&bytes),
        versions: Versions::of(&tools)?,
    };
    write(&kreset.join(OBJECT), &bytes)?;
    write(&kreset.join(STAMP), stamp.to_string().as_bytes())?;
    println!(
        "kreset/{OBJECT}: {} bytes, built by {}",
        bytes.len(),
        stamp.versions
    );
    Ok(())
}

/// Compares the shipped object with its sources, and where this machine has the tools that built
/// it, with what they build now.
///
/// Other versions of the compiler or the linker make other instructions of the same sources. With
/// those the object is built, so that its sources are known to compile, and not compared.
pub(crate) fn check() -> Result<()> {
    let kreset = exec::root()?.join("kreset");
    let shipped = match shipped(&kreset) {
        Ok(path) => path,
        Err(unfit @ Unfit::Unreadable(_)) => return Err(unfit.into()),
        Err(unfit) => bail!("{unfit}: run `cargo xtask build-ebpf` and commit kreset/bpf"),
    };
    let tools = match Tools::find() {
        Ok(tools) => tools,
        Err(missing) => {
            println!("the shipped BPF object fits its sources; it is not rebuilt here: {missing}");
            return Ok(());
        }
    };
    let built = build(&tools)?;
    let here = Versions::of(&tools)?;
    let there = Stamp::read(&kreset)?.versions;
    if here != there {
        println!(
            "the shipped BPF object fits its sources; its bytes are not compared: \
             it was built by {there}, and here are {here}"
        );
        return Ok(());
    }
    if read(&built)? != read(&shipped)? {
        bail!(
            "kreset/{OBJECT} differs from {}, which the same tools built from the same sources: \
             run `cargo xtask build-ebpf` and commit kreset/bpf",
            built.display()
        );
    }
    Ok(())
}

/// Builds the object and returns the path of a copy without DWARF, which only the linker needs:
/// it makes BTF of it.
fn build(tools: &Tools) -> Result<PathBuf> {
    let target = exec::target_directory()?.join("kernel-side");
    exec::run(
        tools
            .build(&exec::root()?, &target)
            .args(["--quiet", "--locked"]),
    )?;
    let built = object(&target);
    let stripped = built.with_extension("o");
    exec::run(
        Command::new(objcopy(tools)?)
            // rustup does not install it to be started by hand: it does not find its libraries.
            .env("LD_LIBRARY_PATH", tools.toolchain.directory.join("lib"))
            .arg("--strip-debug")
            .args([&built, &stripped]),
    )?;
    Ok(stripped)
}

/// The toolchain's own `objcopy`: its version is the compiler's.
fn objcopy(tools: &Tools) -> Result<PathBuf> {
    let rustlib = tools.toolchain.directory.join("lib/rustlib");
    let entries = fs::read_dir(&rustlib)
        .with_context(|| format!("{} cannot be listed", rustlib.display()))?;
    entries
        .flatten()
        .map(|entry| entry.path().join("bin/rust-objcopy"))
        .find(|path| path.is_file())
        .or_else(|| exec::find("llvm-objcopy"))
        .with_context(|| {
            format!(
                "the Rust toolchain `{}` has no rust-objcopy, and llvm-objcopy is not installed",
                tools.toolchain.name
            )
        })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
