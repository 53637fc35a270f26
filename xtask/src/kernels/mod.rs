//! `cargo xtask kernels`

mod cost;
mod debian;
mod guest;
mod image;
mod initramfs;
mod page;
mod programs;
mod report;
pub(crate) mod types;

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};

use self::{guest::Guest, report::Report};
use crate::{arch::Architecture, exec, setup};

const EXAMPLES: &str = "\
Examples:
  cargo xtask kernels                       5.10, 6.1, 6.12, 6.18 and 7.3
  cargo xtask kernels 6.1 --packets fentry  one kernel, one source of packet evidence
  cargo xtask kernels 6.1 --quick           the same kernel as `cargo xtask test`, in the same way
  cargo xtask kernels --arch aarch64        5.10, 6.1, 6.12 and 7.3 on arm64, 7.3 with pages of
                                            16 KiB as well
  cargo xtask kernels --arch arm64 7.3-16k  only that one
  cargo xtask kernels --bless               record what was measured

Installs qemu, the musl target and a cross compiler if they are missing. Kernels come from Debian's
mirrors, through an apt with its own lists and cache, into the target directory.";

/// The kernels of a run that names none.
const VERSIONS: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "7.3"];
/// The same of arm64, whose emulation is slower: without 6.18, and with a kernel whose pages are
/// larger.
const ARM_VERSIONS: [&str; 5] = ["5.10", "6.1", "6.12", "7.3", "7.3-16k"];
/// The oldest of them on which programs on function entries load.
const OLDEST_WITH_ENTRIES: &str = "6.1";
/// The sources of packet evidence of a run that names none.
const PACKETS: [&str; 4] = ["auto", "cgroup_skb", "fentry", "off"];

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Versions as `uname -r` begins with them; with -16k, of arm64 with pages of 16 KiB
    versions: Vec<String>,
    /// Sources of packet evidence, as kreset-trace takes them
    #[arg(long, value_delimiter = ',', default_values = PACKETS)]
    packets: Vec<String>,
    /// The architecture of kernels and programs [default: this machine's]
    #[arg(long, value_name = "ARCH")]
    arch: Option<Architecture>,
    /// Run the programs of the development build, which `cargo xtask test` tests as well, instead of
    /// static ones of a release build
    #[arg(long, conflicts_with = "arch")]
    quick: bool,
    /// Leave out the cases where privileges, types or control groups are missing
    #[arg(long)]
    no_limits: bool,
    /// More for the kernel's command line, such as lockdown=confidentiality
    #[arg(long, value_name = "WORDS")]
    append: Option<String>,
    /// Record the verifier's costs as measured instead of comparing with those on record, and,
    /// after a run of all kernels, write docs/kernels.md
    #[arg(long)]
    bless: bool,
}

impl Arguments {
    /// Whether this run is what docs/kernels.md describes.
    fn is_whole(&self) -> bool {
        self.versions.is_empty()
            && self.packets == PACKETS
            && !self.quick
            && !self.no_limits
            && self.append.is_none()
    }

    /// What the guest's kernel and its runner are told.
    fn command_line(&self) -> String {
        let limits = if self.no_limits {
            ""
        } else {
            "kreset.limits=1"
        };
        let more = self.append.as_deref().unwrap_or_default();
        format!("kreset.packets={} {limits} {more}", self.packets.join(","))
    }
}

/// Where kernels are downloaded to.
fn directory(architecture: Architecture) -> Result<PathBuf> {
    let target = exec::target_directory()?;
    Ok(target.join("kernels").join(architecture.debian()))
}

/// Runs the oldest kernel on which programs on function entries load, as `cargo xtask kernels` does.
pub(crate) fn oldest_with_entries() -> Command {
    let mut command = exec::cargo();
    command.args(["xtask", "kernels", OLDEST_WITH_ENTRIES, "--quick"]);
    command
}

/// Boots each kernel, shows what came of it, and fails if anything is wrong.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let architecture = match arguments.arch {
        Some(architecture) => architecture,
        None => Architecture::native()?,
    };
    setup::run_with(setup::Purpose::Build, &[architecture.emulator()])?;
    debian::install_keyring()?;
    let directory = directory(architecture)?;
    let initramfs = directory.join("initramfs.cpio");
    let files = if arguments.quick {
        programs::tested(&directory)?
    } else {
        programs::shipped(architecture)?
    };
    initramfs::write(&initramfs, &files)?;

    let versions: Vec<&str> = match arguments.versions.as_slice() {
        [] if architecture == Architecture::Arm => ARM_VERSIONS.to_vec(),
        [] => VERSIONS.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    };
    let mut reports = Vec::new();
    for kernel in debian::fetch(&directory, architecture, &versions)? {
        println!("\n{} from {}", kernel.version, kernel.package);
        let guest = Guest {
            architecture,
            kernel: &kernel.image,
            initramfs: &initramfs,
        };
        let said = guest.run(&arguments.command_line())?;
        let report = Report::parse(&kernel.version, &said);
        report.print();
        reports.push(report);
    }
    println!();
    report::print_table(&reports);
    cost::settle(architecture, &reports, arguments.bless)?;
    let wrong: usize = reports.iter().map(Report::wrong).sum();
    if wrong > 0 {
        bail!("{wrong} results of the guests are wrong");
    }
    if arguments.bless && arguments.is_whole() {
        page::write(architecture, &reports)?;
    }
    Ok(())
}
