//! Finds what an earlier run left in a spool.

use std::{collections::VecDeque, fs::File, io, os::unix::fs::FileExt as _};

use super::{
    DAMAGED, SpoolError, is_passing,
    segment::{self, HEADER, Header, PREFIX, Segment, Walk},
};
use crate::util::private::PrivateDirectory;

/// The segments of a spool.
pub(super) struct Recovered {
    /// Never empty.
    pub(super) segments: VecDeque<Segment>,
    /// The last of them.
    pub(super) writer: File,
    /// What to log.
    pub(super) notes: Vec<String>,
}

/// Finds the segments and opens the last one for appending: a new one, if records
/// of the last one are missing. Numbers below `used` are not used again.
pub(super) fn recover(directory: &PrivateDirectory, used: u64) -> Result<Recovered, SpoolError> {
    let failed = |source| SpoolError::Io {
        path: directory.path().to_owned(),
        source,
    };
    let mut notes = Vec::new();
    let mut segments = VecDeque::new();
    let names = directory.names().map_err(failed)?;
    let mut firsts: Vec<_> = names
        .iter()
        .filter_map(|name| segment::number(name))
        .collect();
    firsts.sort_unstable();
    for first in firsts {
        let name = segment::name(first);
        let header = directory
            .read(&name)
            .and_then(|file| segment::look_at_header(&file, first));
        let damaged = match header {
            Ok(Header::Whole) => false,
            Ok(Header::Damaged) => true,
            Ok(Header::Newer(version)) => {
                return Err(SpoolError::Newer {
                    path: directory.path().to_owned(),
                    version,
                });
            }
            // A crash of the host may leave a file that was never written.
            Ok(Header::Missing) => {
                directory.remove(&name).map_err(failed)?;
                continue;
            }
            Err(error) if is_passing(&error) => return Err(failed(error)),
            Err(error) => {
                let path = directory.path().join(&name);
                notes.push(format!("cannot read {}: {error}", path.display()));
                true
            }
        };
        segments.push_back(Segment {
            first,
            end: first,
            bytes: directory.length(&name).unwrap_or(HEADER),
            damaged,
        });
    }
    // A segment ends where the next begins; only the last has to be read.
    for at in 1..segments.len() {
        segments[at - 1].end = segments[at].first;
    }
    let appendable = match segments.back_mut() {
        Some(last) => find_end(directory, last, used).map_err(failed)?,
        None => None,
    };
    let writer = if let Some(file) = appendable {
        file
    } else {
        // The spool is empty, or the host crashed and records that were written are
        // gone: numbers must not be used again.
        let first = segments.back().map_or(0, |last| last.end).max(used);
        // One without a record would have the same name.
        if segments.pop_back_if(|last| last.first == first).is_some() {
            let name = segment::name(first);
            let aside = format!("{name}{DAMAGED}");
            directory.rename(&name, &aside).map_err(failed)?;
        }
        segments.push_back(Segment::empty(first));
        create(directory, first).map_err(failed)?
    };
    Ok(Recovered {
        segments,
        writer,
        notes,
    })
}

/// Finds the end of the last segment; returns its file if it can be appended to.
fn find_end(
    directory: &PrivateDirectory,
    last: &mut Segment,
    used: u64,
) -> io::Result<Option<File>> {
    let file = match directory.write(&segment::name(last.first)) {
        Ok(file) => file,
        Err(error) if is_passing(&error) => return Err(error),
        Err(_) => {
            // What it should have is missing when it is read.
            last.end = last.end.max(used);
            return Ok(None);
        }
    };
    let records = last.bytes / PREFIX as u64;
    let mut walk = Walk::new(
        &file,
        last.first,
        HEADER,
        last.first.saturating_add(records),
    );
    let mut expected = last.first;
    loop {
        match walk.next_record() {
            Ok(Some((number, _))) => {
                last.damaged |= number > expected;
                expected = number + 1;
            }
            Ok(None) => break,
            Err(error) if is_passing(&error) => return Err(error),
            Err(_) => {
                last.damaged = true;
                break;
            }
        }
    }
    last.end = walk.number;
    if last.end < used {
        last.damaged |= last.bytes > walk.offset;
        return Ok(None);
    }
    if last.damaged {
        return Ok(None);
    }
    // A record was being written when the agent ended, and is not counted yet.
    last.bytes = walk.offset;
    file.set_len(walk.offset)?;
    Ok(Some(file))
}

/// The files with damage and their sizes, the oldest first.
pub(super) fn damaged(directory: &PrivateDirectory) -> io::Result<VecDeque<(String, u64)>> {
    let mut names = directory.names()?;
    names.retain(|name| name.ends_with(DAMAGED));
    names.sort_unstable();
    let sizes = names.into_iter().map(|name| {
        let bytes = directory.length(&name).unwrap_or(0);
        (name, bytes)
    });
    Ok(sizes.collect())
}

/// Makes the segment that begins with record `first`.
pub(super) fn create(directory: &PrivateDirectory, first: u64) -> io::Result<File> {
    let file = directory.create(&segment::name(first))?;
    file.write_all_at(&segment::header(first), 0)?;
    Ok(file)
}
