//! A spool that is opened once that works.

use std::path::{Path, PathBuf};

use super::spool::{Spool, SpoolError};

/// A sink's spool, or the place for it: a full disk at the start must not keep the
/// others from working.
#[derive(Debug)]
pub struct SpoolSlot {
    directory: PathBuf,
    limit: u64,
    spool: Option<Spool>,
    /// Why it was not opened at the start.
    failure: Option<SpoolError>,
}

impl SpoolSlot {
    /// Opens the spool in `directory`; see [`Spool::open`]. One that cannot be opened
    /// now is tried again later.
    ///
    /// # Errors
    ///
    /// When another process uses it.
    pub fn open(directory: &Path, limit: u64) -> Result<Self, SpoolError> {
        let (spool, failure) = match Spool::open(directory, limit) {
            Ok(spool) => (Some(spool), None),
            Err(error @ SpoolError::Locked { .. }) => return Err(error),
            Err(error) => (None, Some(error)),
        };
        Ok(Self {
            directory: directory.to_owned(),
            limit,
            spool,
            failure,
        })
    }

    /// Why it was not opened at the start.
    #[must_use]
    pub const fn failure(&self) -> Option<&SpoolError> {
        self.failure.as_ref()
    }

    /// The spool, if it is open.
    pub(super) const fn get(&mut self) -> Option<&mut Spool> {
        self.spool.as_mut()
    }

    /// The spool; opens it if need be.
    pub(super) fn get_or_open(&mut self) -> Result<&mut Spool, SpoolError> {
        let spool = match self.spool.take() {
            Some(spool) => spool,
            None => Spool::open(&self.directory, self.limit)?,
        };
        Ok(self.spool.insert(spool))
    }

    /// Whether there is something to read.
    pub(super) fn is_readable(&self) -> bool {
        self.spool.as_ref().is_some_and(Spool::is_readable)
    }
}
