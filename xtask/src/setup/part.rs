//! A part that its own package manager installs, once, from a list in this repository.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::session::Session;

/// The plugin that copies jars, pinned like what it copies.
pub(super) const COPY_JARS: &str =
    "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// One part, in a directory of its own.
pub(super) struct Part {
    pub(super) name: &'static str,
    /// What it is installed from.
    pub(super) lists: &'static [&'static str],
    pub(super) install: fn(&mut Session, &Path, &Path) -> Result<()>,
}

impl Part {
    /// Installs it unless it is installed. Whether it had to.
    pub(super) fn install_once(
        &self,
        session: &mut Session,
        sources: &Path,
        home: &Path,
    ) -> Result<bool> {
        let mut wanted = String::new();
        for list in self.lists {
            let path = sources.join(list);
            wanted += &fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
        }
        let stamp = home.join(format!("{}.installed", self.name));
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(false);
        }
        let directory = home.join(self.name);
        if directory.exists() {
            fs::remove_dir_all(&directory)
                .with_context(|| format!("cannot remove {}", directory.display()))?;
        }
        fs::create_dir_all(&directory)?;
        (self.install)(session, sources, &directory)?;
        fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(true)
    }
}
