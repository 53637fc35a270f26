//! `cargo xtask build-ebpf`, and the check of the object that it ships.

use std::{
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

use crate::{exec, files, setup};

/// Builds the object of the kernel side and puts it beside the source, with its stamp.
pub(crate) fn run() -> Result<()> {
    setup::run(setup::Purpose::KernelSide)?;
    let tools = Tools::find()?;
    let workspace = exec::root()?;
    let kreset = workspace.join("kreset");
    let built = build(&tools)?;
    let bytes = files::read(&built)?;
    let stamp = Stamp {
        sources: source::hash(&workspace)?,
        object: source::hash_bytes(&bytes),
        versions: Versions::of(&tools)?,
    };
    files::write(&kreset.join(OBJECT), &bytes)?;
    files::write(&kreset.join(STAMP), stamp.to_string().as_bytes())?;
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
    let objcopy = Objcopy::find(&tools)?;
    let parts = |object: &Path| objcopy.parts(object, &built.with_extension("parts"));
    if parts(&built)? != parts(&shipped)? {
        bail!(
            "kreset/{OBJECT} differs from {}, which the same tools built from the same sources: \
             run `cargo xtask build-ebpf` and commit kreset/bpf",
            built.display()
        );
    }
    Ok(())
}

/// What must be the same in two builds of the same sources.
#[derive(PartialEq, Eq)]
struct Parts {
    /// All sections but `.BTF`, as they stand in the file.
    code: Vec<u8>,
    /// The names in `.BTF`, sorted. LLVM numbers forward declarations by their addresses in its
    /// memory (`BTFDebug::FixupDerivedTypes`), so their order changes with, for one, the length of
    /// the path of the checkout.
    names: Vec<Vec<u8>>,
    /// The length of `.BTF`, bytes.
    btf_length: usize,
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
    let mut strip = Objcopy::find(tools)?.command();
    exec::run(strip.arg("--strip-debug").args([&built, &stripped]))?;
    Ok(stripped)
}

/// `objcopy` for BPF objects.
struct Objcopy {
    program: PathBuf,
    libraries: PathBuf,
}

impl Objcopy {
    fn find(tools: &Tools) -> Result<Self> {
        Ok(Self {
            program: objcopy(tools)?,
            libraries: tools.toolchain.directory.join("lib"),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // rustup does not install it to be started by hand: it does not find its libraries.
        command.env("LD_LIBRARY_PATH", &self.libraries);
        command
    }

    /// Takes an object apart, by way of the file `scratch`.
    fn parts(&self, object: &Path, scratch: &Path) -> Result<Parts> {
        let dumped = scratch.with_extension("btf");
        exec::run(
            self.command()
                .args(["--remove-section", ".BTF", "--dump-section"])
                .arg(format!(".BTF={}", dumped.display()))
                .args([object, scratch]),
        )?;
        let btf = files::read(&dumped)?;
        let mut names: Vec<_> = names(&btf)
            .with_context(|| format!("{}: its .BTF has no strings", object.display()))?
            .split(|byte| *byte == 0)
            .map(<[u8]>::to_vec)
            .collect();
        names.sort_unstable();
        Ok(Parts {
            code: files::read(scratch)?,
            names,
            btf_length: btf.len(),
        })
    }
}

/// The strings of `.BTF`; `struct btf_header` in the kernel's include/uapi/linux/btf.h says where.
fn names(btf: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        let bytes = btf.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let [header, offset, length] = [word(4)?, word(16)?, word(20)?];
    btf.get(header + offset..)?.get(..length)
}

/// The toolchain's own `objcopy`: its version is the compiler's.
fn objcopy(tools: &Tools) -> Result<PathBuf> {
    let rustlib = tools.toolchain.directory.join("lib/rustlib");
    files::list(&rustlib)?
        .into_iter()
        .map(|path| path.join("bin/rust-objcopy"))
        .find(|path| path.is_file())
        .or_else(|| exec::find("llvm-objcopy"))
        .with_context(|| {
            format!(
                "the Rust toolchain `{}` has no rust-objcopy, and llvm-objcopy is not installed",
                tools.toolchain.name
            )
        })
}
