//! Limits of this process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::{Context as _, Result};

/// Raises this process's limit of open files, where it is lower.
pub(crate) fn allow_open_files(files: u64) -> Result<()> {
    let raise = || {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        if soft >= files {
            return Ok(());
        }
        setrlimit(Resource::RLIMIT_NOFILE, files, hard.max(files))
    };
    raise().context(|| format!("open {files} files at once"))
}
