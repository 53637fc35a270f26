//! A part that its own package manager installs, once, from a list in this repository.

use std::{fs, path::Path};

use anyhow::Result;

use super::session::Session;
use crate::files;

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
            wanted += &files::read_text(&path)?;
        }
        let stamp = home.join(format!("{}.installed", self.name));
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(false);
        }
        let directory = home.join(self.name);
        if directory.exists() {
            files::remove_directory(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        (self.install)(session, sources, &directory)?;
        files::write(&stamp, wanted)?;
        Ok(true)
    }
}
