//! `cargo xtask dist`: all files of a release, in `target/dist`.
//!
//! [`tree`] lays out one file tree; [`package`] and [`image`] wrap it, [`trial`] tests the result.
//! Packages of one commit are the same byte for byte.

mod check;
mod image;
mod licences;
mod package;
mod reproduce;
mod sbom;
mod sign;
mod tools;
mod tree;
mod trial;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

pub(crate) use self::check::{CHECKERS, check};
use self::{tools::Tools, tree::Tree};
use crate::{arch::Architecture, build, exec, files, setup};

const EXAMPLES: &str = "\
Examples:
  cargo xtask dist                        packages, image and checksums in target/dist
  cargo xtask dist --arch x86_64,aarch64  for both architectures, and one image for both
  cargo xtask dist --sign release_key     and SHA256SUMS.sig
  cargo xtask dist --reproduce            and build twice, and compare every byte
  cargo xtask dist --test                 and install, run, upgrade and purge them, as root

Installs the packager and the image tool into the target directory, at pinned versions,
and Python, Go and a cross compiler, if these are needed and missing. --test needs systemd 252 or
newer; it changes nothing outside the namespaces that it makes.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The architectures to make packages for [default: this machine's]
    #[arg(long, value_delimiter = ',', value_name = "ARCH")]
    arch: Vec<Architecture>,
    /// Sign the checksums with this private OpenSSH key
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// Install, run, upgrade and purge the packages
    #[arg(long)]
    test: bool,
    /// Install only the deb that is in target/dist, on root file systems of Debian 12 and 13
    #[arg(long, conflicts_with_all = ["test", "arch", "sign", "reproduce"])]
    roots: bool,
    /// Build everything a second time, from a clone in another directory, and compare every byte
    #[arg(long)]
    reproduce: bool,
    /// Check only what needs no build, as `cargo xtask test` does
    #[arg(long, conflicts_with_all = ["test", "arch", "sign", "reproduce"])]
    check: bool,
}

/// The version of the packages.
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.check {
        return check();
    }
    let out = exec::target_directory()?.join("dist");
    if arguments.roots {
        let architecture = Architecture::native()?.debian();
        return trial::roots::run(&out.join(format!("kreset_{VERSION}-1_{architecture}.deb")));
    }
    setup::run(setup::Purpose::Build)?;
    let tools = Tools::install()?;
    fresh(&out)?;
    let epoch = commit_time()?;
    let work = work_directory()?;
    let manifest = out.join("kreset-daemonset.yaml");
    files::write(&manifest, read("packaging/kreset-daemonset.yaml")?)?;

    let mut made = Vec::new();
    let architectures = Architecture::or_native(&arguments.arch)?;
    for &architecture in &architectures {
        architecture.set_up()?;
        let binary = build::static_program(architecture, "kreset", "kreset-trace", &[])?;
        let tree = work.join(format!("tree-{}", architecture.name()));
        let tree = Tree::lay(&tree, architecture, &binary, &epoch)?;
        tree.tarball(&out, &epoch)?;
        let package = |kind| package::make(&tools, &tree, VERSION, kind, &out, &epoch);
        let (deb, rpm) = (package(package::Kind::Deb)?, package(package::Kind::Rpm)?);
        made.push(Made {
            binary,
            tree,
            deb,
            rpm,
        });
    }
    let trees: Vec<&Tree> = made.iter().map(|it| &it.tree).collect();
    let image = image::make(&tools, &trees, VERSION, &out, &epoch)?;
    let licences = out.join("THIRD-PARTY.txt");
    files::write(&licences, licences::third_party()?)?;
    sbom::make(&tools, &out, &epoch)?;
    checksums(&out)?;
    if let Some(key) = &arguments.sign {
        sign::sign(&out, key)?;
    }

    print_sizes(&made, &out)?;
    if arguments.reproduce {
        reproduce::check(&out, &architectures)?;
    }
    if arguments.test {
        let native = Architecture::native()?;
        let subject = made
            .iter()
            .find(|it| it.tree.architecture() == native)
            .with_context(|| format!("--test needs packages for {}", native.name()))?;
        trial::run(&trial::Subject {
            tools: &tools,
            tree: &subject.tree,
            epoch: &epoch,
            work: &work,
            deb: &subject.deb,
            rpm: &subject.rpm,
            image: &image,
            manifest: &manifest,
        })?;
    }
    Ok(())
}

/// Images for this machine alone: of this version, and the same as another version.
pub(crate) fn images() -> Result<[PathBuf; 2]> {
    let tools = Tools::install()?;
    let work = work_directory()?;
    let epoch = commit_time()?;
    let architecture = Architecture::native()?;
    architecture.set_up()?;
    let binary = build::static_program(architecture, "kreset", "kreset-trace", &[])?;
    let tree = work.join(format!("tree-{}", architecture.name()));
    let tree = Tree::lay(&tree, architecture, &binary, &epoch)?;
    let image = |version| image::make(&tools, &[&tree], version, &work, &epoch);
    Ok([image(VERSION)?, image("999.1")?])
}

/// The documents of a YAML file.
pub(crate) fn documents(yaml: &Path) -> Result<Vec<serde_json::Value>> {
    let tools = Tools::install()?;
    let program = "import json, sys, yaml\n\
        json.dump([it for it in yaml.safe_load_all(open(sys.argv[1])) if it], sys.stdout)";
    let json = exec::output(Command::new(&tools.python).args(["-c", program]).arg(yaml))?;
    serde_json::from_str(&json).with_context(|| format!("cannot read {}", yaml.display()))
}

/// `crictl`.
pub(crate) fn crictl() -> Result<PathBuf> {
    Tools::install()?.crictl()
}

/// What was made for one architecture.
struct Made {
    binary: PathBuf,
    tree: Tree,
    deb: PathBuf,
    rpm: PathBuf,
}

/// The directory of intermediate files.
fn work_directory() -> Result<PathBuf> {
    let work = exec::target_directory()?.join("dist-work");
    files::make_directory(&work)?;
    Ok(work)
}

/// Makes an empty directory.
fn fresh(directory: &Path) -> Result<()> {
    if directory.exists() {
        files::remove_directory(directory)?;
    }
    files::make_directory(directory)
}

/// Reads a file of the repository.
fn read(path: impl AsRef<Path>) -> Result<String> {
    files::read_text(&exec::root()?.join(path))
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
    let paths = files::list(out)?;
    let names = paths.iter().filter_map(|path| path.file_name());
    let mut names: Vec<_> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    Ok(names)
}

fn checksums(out: &Path) -> Result<()> {
    let sums = exec::output(Command::new("sha256sum").current_dir(out).args(made(out)?))?;
    files::write(&out.join("SHA256SUMS"), sums)?;
    // The command that users will type.
    exec::run(Command::new("sha256sum").current_dir(out).args([
        "--check",
        "--quiet",
        "--strict",
        "SHA256SUMS",
    ]))
}

fn print_sizes(packages: &[Made], out: &Path) -> Result<()> {
    let size = |path: &Path| -> Result<u64> {
        Ok(fs::metadata(path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .len())
    };
    for it in packages {
        let architecture = it.tree.architecture().name();
        println!("{:>10}  kreset-trace for {architecture}", size(&it.binary)?);
    }
    for name in made(out)? {
        println!("{:>10}  {name}", size(&out.join(&name))?);
    }
    println!("{}", out.display());
    Ok(())
}
