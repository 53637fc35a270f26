//! `cargo xtask dist`: all files of a release, in `target/dist`.
//!
//! [`tree`] lays out one file tree; [`package`] and [`image`] wrap it, [`trial`] tests the result.
//! Packages of one commit are the same byte for byte.

mod check;
mod image;
mod licences;
mod package;
mod tools;
mod tree;
mod trial;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

pub(crate) use self::check::{CHECKERS, check};
use self::{tools::Tools, tree::Tree};
use crate::{build, exec, setup};

const EXAMPLES: &str = "\
Examples:
  cargo xtask dist          packages, image, manifest and checksums in target/dist
  cargo xtask dist --test   and install, run, upgrade and purge them, as root

Installs the packager and the image tool into the target directory, at pinned versions,
and Python and Go, which they need, if these are missing. --test needs systemd 252 or
newer; it changes nothing outside the namespaces that it makes.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Install, run, upgrade and purge the packages
    #[arg(long)]
    test: bool,
    /// Check only what needs no build, as `cargo xtask test` does
    #[arg(long, conflicts_with = "test")]
    check: bool,
}

/// The version of the packages.
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.check {
        return check();
    }
    setup::run(setup::Purpose::Build)?;
    let tools = Tools::install()?;
    let (binary, libc) = binary()?;
    let out = exec::target_directory()?.join("dist");
    fresh(&out)?;
    let epoch = commit_time()?;
    let work = work_directory()?;
    let tree = Tree::lay(&work.join("tree"), &binary, &epoch)?;
    tree.tarball(&out, &epoch)?;
    let deb = package::make(&tools, &tree, VERSION, package::Kind::Deb, &out, &epoch)?;
    let rpm = package::make(&tools, &tree, VERSION, package::Kind::Rpm, &out, &epoch)?;
    let image = image::make(&tools, &tree, &out, &epoch)?;
    let manifest = out.join("kreset-daemonset.yaml");
    let text = read("packaging/kreset-daemonset.yaml")?;
    write(&manifest, text.replace(":VERSION", &format!(":{VERSION}")))?;
    fs::copy(tree.third_party(), out.join("THIRD-PARTY.txt"))
        .context("cannot copy the licences")?;
    checksums(&out)?;

    println!("kreset-trace is linked with {libc}");
    print_sizes(&binary, &out)?;
    if arguments.test {
        trial::run(&trial::Subject {
            tools: &tools,
            tree: &tree,
            epoch: &epoch,
            work: &work,
            deb: &deb,
            rpm: &rpm,
            image: &image,
            manifest: &manifest,
        })?;
    }
    Ok(())
}

/// Builds the tracer so that it runs on any distribution, and names its C library.
fn binary() -> Result<(PathBuf, &'static str)> {
    if build::add_static_target().is_ok() {
        let program = build::static_program("kreset", "kreset-trace", &[])?;
        return Ok((program, "musl, statically: it needs no library of the host"));
    }
    let program = build::tracer()?;
    Ok((
        program,
        "this machine's glibc, since rustup could not install the musl target: hosts need the \
         same version or a newer one",
    ))
}

/// The directory of intermediate files.
fn work_directory() -> Result<PathBuf> {
    let work = exec::target_directory()?.join("dist-work");
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    Ok(work)
}

/// Makes an empty directory.
fn fresh(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}

/// Reads a file of the repository.
fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = exec::root()?.join(path);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
}

/// The time of the commit, in seconds: the time of all files that are made from it.
fn commit_time() -> Result<String> {
    let said = exec::output(Command::new("git").current_dir(exec::root()?).args([
        "log",
        "-1",
        "--format=%ct",
    ]))?;
    Ok(said.trim().to_owned())
}

/// The names of the files in `out`, in order.
fn made(out: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(out).with_context(|| format!("cannot list {}", out.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

fn checksums(out: &Path) -> Result<()> {
    let sums = exec::output(Command::new("sha256sum").current_dir(out).args(made(out)?))?;
    write(&out.join("SHA256SUMS"), sums)?;
    // The command that users will type.
    exec::run(Command::new("sha256sum").current_dir(out).args([
        "--check",
        "--quiet",
        "--strict",
        "SHA256SUMS",
    ]))
}

fn print_sizes(binary: &Path, out: &Path) -> Result<()> {
    let size = |path: &Path| -> Result<u64> {
        Ok(fs::metadata(path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .len())
    };
    println!("{:>10}  kreset-trace", size(binary)?);
    for name in made(out)? {
        println!("{:>10}  {name}", size(&out.join(&name))?);
    }
    println!("{}", out.display());
    Ok(())
}

/// The architecture by the names of Debian, rpm and OCI.
struct Architecture {
    debian: &'static str,
    rpm: &'static str,
    oci: &'static str,
}

/// This machine's architecture, for which packages are made.
fn architecture() -> Result<Architecture> {
    Ok(match std::env::consts::ARCH {
        "x86_64" => Architecture {
            debian: "amd64",
            rpm: "x86_64",
            oci: "amd64",
        },
        "aarch64" => Architecture {
            debian: "arm64",
            rpm: "aarch64",
            oci: "arm64",
        },
        other => bail!("no packages for {other}: expected x86_64 or aarch64"),
    })
}
