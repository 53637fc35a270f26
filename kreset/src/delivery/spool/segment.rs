//! One file of a spool: a header, then whole checksummed records.
//!
//! ```text
//! "KRSPOOL1"  number of the first record (u64)
//! length (u32)  CRC-32 of number and payload (u32)  payload
//! ...
//! ```
//!
//! All numbers are little-endian. A record whose length or checksum is wrong
//! ends the file: it was being written when the agent or the host crashed.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// What a segment begins with.
const MAGIC: &[u8; 8] = b"KRSPOOL1";
/// Bytes before the first record.
pub(super) const HEADER: u64 = 16;
/// Bytes before a record's payload.
pub(super) const PREFIX: usize = 8;
/// The longest payload: a greater length is damage.
pub(super) const LONGEST: usize = 4 * 1024 * 1024;
/// The highest number: at a million records per second it takes 290,000 years. A
/// higher one is damage, and counting on from it could overflow.
pub(super) const HIGHEST: u64 = u64::MAX / 2;
/// The suffix of segment files.
const SUFFIX: &str = ".spool";

/// A segment, without its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Number of its first record.
    pub(super) first: u64,
    /// Number after its last record.
    pub(super) end: u64,
    /// Its length.
    pub(super) bytes: u64,
}

/// The path of the segment that begins with record `first`; names sort as
/// their numbers do.
pub(super) fn path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:016x}{SUFFIX}"))
}

/// The number in the name of a segment; `None` for other files.
pub(super) fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    let number = u64::from_str_radix(name, 16).ok()?;
    (number <= HIGHEST).then_some(number)
}

/// What a segment that begins with record `first` begins with.
pub(super) fn header(first: u64) -> [u8; HEADER as usize] {
    let mut header = [0; HEADER as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..].copy_from_slice(&first.to_le_bytes());
    header
}

/// Whether `file` begins as the segment of record `first` does.
pub(super) fn has_header(file: &File, first: u64) -> bool {
    let mut found = [0; HEADER as usize];
    file.read_exact_at(&mut found, 0).is_ok() && found == header(first)
}

/// Appends one record to `out`.
pub(super) fn write(number: u64, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(number, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

fn checksum(number: u64, payload: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&number.to_le_bytes());
    hash.update(payload);
    hash.finalize()
}

/// What bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// The whole record.
    Record(&'a [u8]),
    /// A partial record: this many bytes are needed.
    Part(usize),
    /// Not a record.
    Damage,
}

/// Looks for record `number` at the begin of `bytes`.
pub(super) fn parse(number: u64, bytes: &[u8]) -> Found<'_> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Found::Part(PREFIX);
    };
    let [a, b, c, d, checks @ ..] = *prefix;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > LONGEST {
        return Found::Damage;
    }
    match rest.get(..length) {
        None => Found::Part(PREFIX + length),
        Some(payload) if checksum(number, payload) == u32::from_le_bytes(checks) => {
            Found::Record(payload)
        }
        Some(_) => Found::Damage,
    }
}

/// Reads the records of a segment in order.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    file: &'a File,
    /// Number of the next record.
    pub(super) number: u64,
    /// Where it begins.
    pub(super) offset: u64,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were returned already.
    used: usize,
}

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;

impl<'a> Walk<'a> {
    /// From record `number`, which begins at `offset`.
    pub(super) const fn new(file: &'a File, number: u64, offset: u64) -> Self {
        Self {
            file,
            number,
            offset,
            buffer: Vec::new(),
            used: 0,
        }
    }

    /// The next record; `None` at the end of what is whole.
    pub(super) fn next_record(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let needed = match parse(self.number, &self.buffer[self.used..]) {
                Found::Record(payload) => {
                    let payload = payload.to_vec();
                    let length = PREFIX + payload.len();
                    self.used += length;
                    self.offset += length as u64;
                    self.number += 1;
                    return Ok(Some(payload));
                }
                Found::Part(needed) => needed,
                Found::Damage => return Ok(None),
            };
            self.buffer.drain(..self.used);
            self.used = 0;
            if !self.fill(needed)? {
                return Ok(None);
            }
        }
    }

    /// Reads on until the buffer holds `needed` bytes; whether it does.
    fn fill(&mut self, needed: usize) -> io::Result<bool> {
        // No larger than the file's rest: most reads are far shorter than a chunk.
        let there = self.file.metadata()?.len().saturating_sub(self.offset);
        let there = usize::try_from(there).unwrap_or(usize::MAX);
        if there < needed {
            return Ok(false);
        }
        while self.buffer.len() < needed {
            let had = self.buffer.len();
            self.buffer.resize(needed.max(CHUNK).min(there), 0);
            let read = self
                .file
                .read_at(&mut self.buffer[had..], self.offset + had as u64);
            self.buffer
                .truncate(had + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_sort_as_their_numbers() {
        let directory = Path::new("/spool");
        assert!(path(directory, 9) < path(directory, 10));
        assert!(path(directory, 255) < path(directory, 256));
        assert_eq!(number(&path(directory, 0xfe)), Some(0xfe));
        assert_eq!(number(Path::new("/spool/done")), None);
        assert_eq!(number(&path(directory, HIGHEST)), Some(HIGHEST));
        assert_eq!(number(&path(directory, HIGHEST + 1)), None);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(number: u64, payload: Vec<u8>) {
            let mut bytes = Vec::new();
            write(number, &payload, &mut bytes);
            prop_assert_eq!(parse(number, &bytes), Found::Record(&payload));
            bytes.extend_from_slice(b"next");
            prop_assert_eq!(parse(number, &bytes), Found::Record(&payload));
        }

        #[test]
        fn no_part_and_no_damage_is_taken_for_a_record(
            number: u64,
            payload: Vec<u8>,
            at: prop::sample::Index,
            flip in 1..=u8::MAX,
        ) {
            let mut bytes = Vec::new();
            write(number, &payload, &mut bytes);
            let at = at.index(bytes.len());
            prop_assert!(matches!(parse(number, &bytes[..at]), Found::Part(_)));
            prop_assert_eq!(parse(number.wrapping_add(1), &bytes), Found::Damage);
            bytes[at] ^= flip;
            prop_assert!(!matches!(parse(number, &bytes), Found::Record(_)));
        }

        #[test]
        fn no_bytes_panic(number: u64, bytes: Vec<u8>) {
            prop_assert!(!matches!(parse(number, &bytes), Found::Part(needed) if needed <= bytes.len()));
        }
    }
}
