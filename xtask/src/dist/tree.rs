//! The file tree that all packages wrap.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{VERSION, fresh, licences};
use crate::{arch::Architecture, exec, files, workspace};

/// Where zsh looks, on Debian and elsewhere.
const ZSH: [&str; 2] = ["zsh/vendor-completions", "zsh/site-functions"];

/// Files as they will lie under `/`; owners are the wrappers' business.
pub(super) struct Tree {
    architecture: Architecture,
    root: PathBuf,
}

impl Tree {
    /// Lays it out, below `root` and with the program at `binary`.
    pub(super) fn lay(
        root: &Path,
        architecture: Architecture,
        binary: &Path,
        epoch: &str,
    ) -> Result<Self> {
        fresh(root)?;
        let tree = Self {
            architecture,
            root: root.to_owned(),
        };
        tree.add("usr/bin/kreset-trace", binary, 0o755)?;
        let share = root.join("usr/share");
        manual(&share)?;
        for page in pages(&share)? {
            exec::run(Command::new("gzip").args(["-9", "-n"]).arg(page))?;
        }
        let repository = exec::root()?;
        for (path, source) in [
            ("etc/kreset/kreset.toml", "packaging/kreset.toml"),
            ("etc/logrotate.d/kreset", "packaging/kreset.logrotate"),
            (
                "usr/lib/systemd/system/kreset.service",
                "packaging/kreset.service",
            ),
            ("usr/share/doc/kreset/LICENSE-APACHE", "LICENSE-APACHE"),
            ("usr/share/doc/kreset/LICENSE-MIT", "LICENSE-MIT"),
            ("usr/share/doc/kreset/LICENSE-GPL2", "LICENSE-GPL2"),
            ("usr/share/doc/kreset/CHANGELOG.md", "CHANGELOG.md"),
            ("usr/share/doc/kreset/copyright", "packaging/deb/copyright"),
            (
                "usr/share/doc/kreset/kreset-1.schema.json",
                "docs/schema/kreset-1.schema.json",
            ),
        ] {
            tree.add(path, &repository.join(source), 0o644)?;
        }
        // Configurations of receivers.
        exec::run(
            Command::new("cp")
                .arg("-R")
                .arg(repository.join("contrib"))
                .arg(root.join("usr/share/doc/kreset")),
        )?;
        files::write(
            &root.join("usr/share/doc/kreset/THIRD-PARTY.txt"),
            licences::third_party()?,
        )?;
        // Whatever the umask and the time: the same files, which all can read.
        exec::run(Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(root))?;
        let time = format!("--date=@{epoch}");
        exec::run(
            Command::new("find")
                .arg(root)
                .args(["-exec", "touch", &time, "{}", "+"]),
        )?;
        Ok(tree)
    }

    fn add(&self, path: &str, source: &Path, mode: u32) -> Result<()> {
        let file = self.root.join(path);
        let contents = files::read(source)?;
        files::write(&file, contents)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the mode of {}", file.display()))
    }

    /// What its program runs on.
    pub(super) const fn architecture(&self) -> Architecture {
        self.architecture
    }

    pub(super) fn path(&self) -> &Path {
        &self.root
    }

    /// For hosts without a package manager.
    pub(super) fn tarball(&self, out: &Path, epoch: &str) -> Result<()> {
        let name = format!("kreset-{VERSION}-linux-{}", self.architecture.debian());
        exec::run(
            tar(&self.root, epoch)
                .args(["--create", "--use-compress-program", "gzip -9 -n"])
                .arg("--transform")
                .arg(format!("s,^,{name}/,"))
                .arg("--file")
                .arg(out.join(format!("{name}.tar.gz")))
                .args(["etc", "usr"]),
        )
    }

    /// What a container needs of it.
    pub(super) fn layer(&self, file: &Path, epoch: &str) -> Result<()> {
        exec::run(
            tar(&self.root, epoch)
                .arg("--create")
                .arg("--file")
                .arg(file)
                .args(["usr/bin", "usr/share/doc"]),
        )
    }
}

/// Writes man pages and completions below `share`. An example of the crate makes them, so that they
/// cost the program nothing.
pub(super) fn manual(share: &Path) -> Result<()> {
    exec::run(workspace::cargo("build").args(["--quiet", "--example", "manual"]))?;
    let manual = exec::target_directory()?.join("debug/examples/manual");
    exec::run(Command::new(manual).arg(share))?;
    let completions = share.join(ZSH[1]).join("_kreset-trace");
    let debian = share.join(ZSH[0]).join("_kreset-trace");
    let text = fs::read(&completions).context("cannot read the completions of zsh")?;
    files::write(&debian, text)
}

/// The man pages below `share`.
pub(super) fn pages(share: &Path) -> Result<Vec<PathBuf>> {
    let directory = share.join("man/man1");
    let mut pages = Vec::new();
    pages.extend(files::list(&directory)?);
    Ok(pages)
}

/// tar that writes the same for the same files.
fn tar(directory: &Path, epoch: &str) -> Command {
    let mut command = Command::new("tar");
    command
        .arg("--directory")
        .arg(directory)
        .args(["--format=gnu", "--sort=name", "--numeric-owner"])
        .args(["--owner=0", "--group=0"])
        .arg(format!("--mtime=@{epoch}"));
    command
}
