//! Debian's kernels, through an apt with its own lists, cache and record of
//! installed packages in the target directory, so that nothing of the host
//! changes.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{arch::Architecture, exec, files, setup};

/// Where the host's apt gets Debian from; the same mirror serves all suites.
const MIRROR: &str = "http://deb.debian.org";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Ends a version whose kernel is to have pages of 16 KiB, as it ends those of Debian's packages:
/// for arm64, and since 6.12.
pub(super) const LARGE_PAGES: &str = "-16k";
/// Archive and suite: 5.10, 5.10 of the last point release, 6.1 and 6.12, newer. The mirror keeps
/// 5.10 for arm64 in the point release alone, though the security archive's lists have newer ones.
const SUITES: [(&str, &str); 4] = [
    ("debian-security", "bullseye-security"),
    ("debian", "bullseye"),
    ("debian-security", "bookworm-security"),
    ("debian", "trixie-backports"),
];

/// A kernel that can be booted.
pub(crate) struct Kernel {
    /// As `uname -r` says it.
    pub(crate) version: String,
    pub(crate) package: String,
    pub(crate) image: PathBuf,
}

/// Installs Debian's keys: other distributions with apt have only their own.
pub(crate) fn install_keyring() -> Result<()> {
    if Path::new(KEYRING).is_file() {
        return Ok(());
    }
    setup::packages(&["debian-archive-keyring"])
}

/// Downloads the newest kernel of each version, unless it was downloaded before.
pub(crate) fn fetch(
    directory: &Path,
    architecture: Architecture,
    versions: &[&str],
) -> Result<Vec<Kernel>> {
    let apt = Apt::set_up(directory, architecture)?;
    let names = apt.names()?;
    versions
        .iter()
        .map(|version| {
            let packages = newest_first(&names, architecture, version);
            let mut failure = anyhow!("Debian has no kernel {version} in the suites looked at");
            for package in packages {
                match apt.kernel(directory, package) {
                    Ok(kernel) => return Ok(kernel),
                    Err(error) => {
                        eprintln!("{error:#}; trying an older one");
                        failure = error;
                    }
                }
            }
            Err(failure)
        })
        .collect()
}

struct Apt {
    configuration: PathBuf,
}

impl Apt {
    fn set_up(directory: &Path, architecture: Architecture) -> Result<Self> {
        let architecture = architecture.debian();
        let home = directory.join("apt");
        fs::create_dir_all(home.join("lists/partial"))?;
        fs::create_dir_all(home.join("cache/archives/partial"))?;
        fs::write(home.join("status"), [])?;
        let mut sources = String::new();
        for (archive, suite) in SUITES {
            // Writing to a string does not fail.
            let _written = writeln!(
                sources,
                "deb [signed-by={KEYRING}] {MIRROR}/{archive} {suite} main"
            );
        }
        fs::write(home.join("sources.list"), sources)?;
        let home_shown = home.display();
        let configuration = home.join("apt.conf");
        fs::write(
            &configuration,
            format!(
                "Dir::State \"{home_shown}\";\nDir::State::lists \"{home_shown}/lists\";\n\
             Dir::State::status \"{home_shown}/status\";\nDir::Cache \"{home_shown}/cache\";\n\
             Dir::Etc::sourcelist \"{home_shown}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             APT::Architecture \"{architecture}\";\nAPT::Architectures \"{architecture}\";\nAcquire::Languages \"none\";\n"
            ),
        )?;
        let apt = Self { configuration };
        exec::run(apt.command("apt-get").args(["-qq", "update"]))
            .context("cannot fetch Debian's lists of packages")?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.configuration);
        command
    }

    fn names(&self) -> Result<Vec<String>> {
        let mut command = self.command("apt-cache");
        let output = command.args(["pkgnames", "linux-"]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect())
    }

    fn kernel(&self, directory: &Path, package: &str) -> Result<Kernel> {
        let version = version_of(package)
            .with_context(|| format!("{package} has no version in its name"))?
            .to_owned();
        let image = directory.join(format!("vmlinuz-{version}"));
        if !image.is_file() {
            let work = directory.join("unpacked");
            if work.exists() {
                // Of a package that could not be used.
                fs::remove_dir_all(&work)?;
            }
            fs::create_dir_all(&work)?;
            exec::run(
                self.command("apt-get")
                    .args(["-q", "download", package])
                    .current_dir(&work),
            )?;
            let archive = files::list(&work)?
                .into_iter()
                .find(|path| path.extension().is_some_and(|kind| kind == "deb"))
                .context("apt-get downloaded no package")?;
            exec::run(
                Command::new("dpkg-deb")
                    .arg("-x")
                    .arg(&archive)
                    .arg(work.join("root")),
            )?;
            let found = [
                work.join(format!("root/boot/vmlinuz-{version}")),
                // Where linux-binary packages have it.
                work.join(format!("root/usr/lib/modules/{version}/vmlinuz")),
            ];
            let Some(found) = found.iter().find(|path| path.is_file()) else {
                bail!("{package} has no vmlinuz in /boot or /usr/lib/modules");
            };
            fs::rename(found, &image)?;
            fs::remove_dir_all(&work)?;
        }
        Ok(Kernel {
            version,
            package: package.to_owned(),
            image,
        })
    }
}

/// `5.10.0-46-cloud-amd64` of `linux-image-5.10.0-46-cloud-amd64`.
fn version_of(package: &str) -> Option<&str> {
    ["linux-binary-", "linux-image-"]
        .iter()
        .find_map(|kind| package.strip_prefix(kind))
}

/// The packages of `version`, which may end in [`LARGE_PAGES`], the highest release first. Where
/// there is a linux-binary, linux-image is an empty package that depends on it.
fn newest_first<'a>(
    names: &'a [String],
    architecture: Architecture,
    version: &str,
) -> Vec<&'a str> {
    let (version, ending) = match version.strip_suffix(LARGE_PAGES) {
        Some(version) => (version, format!("-{}{LARGE_PAGES}", architecture.debian())),
        None => (version, format!("-cloud-{}", architecture.debian())),
    };
    let mut found: Vec<_> = names
        .iter()
        .filter(|name| {
            version_of(name).is_some_and(|found| {
                found.ends_with(&ending)
                    && found.strip_prefix(version).is_some_and(|rest| rest.starts_with('.'))
                    // Kernels of other suites, built for this one.
                    && !found.contains(".deb11.")
            })
        })
        .map(String::as_str)
        .collect();
    found.sort_by_key(|name| {
        std::cmp::Reverse((
            numbers(version_of(name).unwrap_or_default()),
            name.starts_with("linux-binary-"),
        ))
    });
    found
}

/// The numbers in a version, to compare by.
fn numbers(version: &str) -> Vec<u32> {
    version
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Architecture, newest_first};

    #[test]
    fn the_newest_release_of_a_version_is_tried_first() {
        let names: Vec<String> = [
            "linux-image-5.10.0-9-cloud-amd64",
            "linux-image-5.10.0-46-cloud-amd64",
            "linux-image-5.10.0-46-cloud-amd64-dbg",
            "linux-image-6.1.0-0.deb11.52-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-image-6.1.0-57-cloud-arm64",
            "linux-image-7.3.4+deb13-arm64-16k",
            "linux-binary-7.3.4+deb13-cloud-arm64",
        ]
        .map(str::to_owned)
        .to_vec();
        for (architecture, version, found) in [
            (
                Architecture::X86,
                "5.10",
                &[
                    "linux-image-5.10.0-46-cloud-amd64",
                    "linux-image-5.10.0-9-cloud-amd64",
                ][..],
            ),
            (
                Architecture::X86,
                "6.1",
                &["linux-image-6.1.0-56-cloud-amd64"],
            ),
            (
                Architecture::X86,
                "7.3",
                &[
                    "linux-binary-7.3.4+deb13-cloud-amd64",
                    "linux-image-7.3.4+deb13-cloud-amd64",
                ],
            ),
            (Architecture::X86, "4.19", &[]),
            (
                Architecture::Arm,
                "6.1",
                &["linux-image-6.1.0-57-cloud-arm64"],
            ),
            (
                Architecture::Arm,
                "7.3",
                &["linux-binary-7.3.4+deb13-cloud-arm64"],
            ),
            (
                Architecture::Arm,
                "7.3-16k",
                &["linux-image-7.3.4+deb13-arm64-16k"],
            ),
            (Architecture::X86, "7.3-16k", &[]),
        ] {
            assert_eq!(newest_first(&names, architecture, version), found);
        }
    }
}
