//! One file of a spool: a header, then checksummed records.
//!
//! ```text
//! "KRSPOOL"  version (1 byte)  number of the first record (u64)  CRC-32 of these
//! mark (4 bytes)  length (u32)  number (u64)  CRC-32 of both and the payload  payload
//! ...
//! ```
//!
//! All numbers are little-endian. Where a record is damaged, the next whole one is
//! found by its mark, and its number shows how many are missing. A header that is
//! whole and has a higher version is of a later kreset; later versions keep the layout
//! of the header.

use std::{fs::File, io, os::unix::fs::FileExt as _};

/// What a segment begins with, before its version.
const MAGIC: &[u8; 7] = b"KRSPOOL";
/// The version that is written.
const VERSION: u8 = b'2';
/// Bytes before the first record.
pub(super) const HEADER: u64 = 20;
/// What a record begins with: not UTF-8, and rare in protobuf.
const MARK: [u8; 4] = [0xf5, 0xc0, 0xfe, 0xc1];
/// Bytes before a record's payload.
pub(super) const PREFIX: usize = 20;
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
    /// Records of it were skipped: the file is kept when it is done with.
    pub(super) damaged: bool,
}

impl Segment {
    /// A segment without records.
    pub(super) const fn empty(first: u64) -> Self {
        Self {
            first,
            end: first,
            bytes: HEADER,
            damaged: false,
        }
    }
}

/// The name of the segment that begins with record `first`; names sort as their
/// numbers do.
pub(super) fn name(first: u64) -> String {
    format!("{first:016x}{SUFFIX}")
}

/// The number in the name of a segment; `None` for other files.
pub(super) fn number(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_suffix(SUFFIX)?, 16).ok()?;
    (number <= HIGHEST).then_some(number)
}

/// What a segment that begins with record `first` begins with.
pub(super) fn header(first: u64) -> [u8; HEADER as usize] {
    let mut header = [0; HEADER as usize];
    header[..7].copy_from_slice(MAGIC);
    header[7] = VERSION;
    header[8..16].copy_from_slice(&first.to_le_bytes());
    let checksum = crc32fast::hash(&header[..16]);
    header[16..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The header of this segment.
    Whole,
    /// A header of this later version.
    Newer(char),
    /// Something else.
    Damaged,
    /// The file is shorter than a header: it was never written.
    Missing,
}

/// Looks at the header of the segment that begins with record `first`.
///
/// # Errors
///
/// When the file cannot be read.
pub(super) fn look_at_header(file: &File, first: u64) -> io::Result<Header> {
    let mut found = [0; HEADER as usize];
    match file.read_exact_at(&mut found, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Header::Missing),
        Err(error) => return Err(error),
    }
    let whole = found[..7] == *MAGIC && found[16..] == crc32fast::hash(&found[..16]).to_le_bytes();
    Ok(if found == header(first) {
        Header::Whole
    } else if whole && found[7] > VERSION {
        Header::Newer(found[7].into())
    } else {
        Header::Damaged
    })
}

/// Appends one record to `out`.
pub(super) fn write(number: u64, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&checksum(length, number, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

fn checksum(length: u32, number: u64, payload: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&length.to_le_bytes());
    hash.update(&number.to_le_bytes());
    hash.update(payload);
    hash.finalize()
}

/// What bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// The whole record of this number.
    Record(u64, &'a [u8]),
    /// A partial record: this many bytes are needed.
    Part(usize),
    /// Not a record.
    Damage,
}

/// Looks for a record at the begin of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Found<'_> {
    let known = bytes.len().min(MARK.len());
    if bytes[..known] != MARK[..known] {
        return Found::Damage;
    }
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Found::Part(PREFIX);
    };
    let length = u32::from_le_bytes(part(prefix, 4));
    let number = u64::from_le_bytes(part(prefix, 8));
    let expected = u32::from_le_bytes(part(prefix, 16));
    if length as usize > LONGEST || number > HIGHEST {
        return Found::Damage;
    }
    match rest.get(..length as usize) {
        None => Found::Part(PREFIX + length as usize),
        Some(payload) if checksum(length, number, payload) == expected => {
            Found::Record(number, payload)
        }
        Some(_) => Found::Damage,
    }
}

/// The `N` bytes of `prefix` at `at`.
fn part<const N: usize>(prefix: &[u8; PREFIX], at: usize) -> [u8; N] {
    std::array::from_fn(|offset| prefix[at + offset])
}

/// Reads the whole records of a segment in order, past what is damaged.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    file: &'a File,
    /// The number of the next record, if none is missing.
    pub(super) number: u64,
    /// Where the last whole record ended.
    pub(super) offset: u64,
    /// Numbers from here on are not this segment's.
    limit: u64,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are behind.
    used: usize,
    /// Where in the file the buffer begins.
    base: u64,
}

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;

impl<'a> Walk<'a> {
    /// From record `number`, which begins at `offset`, to those below `limit`.
    pub(super) const fn new(file: &'a File, number: u64, offset: u64, limit: u64) -> Self {
        Self {
            file,
            number,
            offset,
            limit,
            buffer: Vec::new(),
            used: 0,
            base: offset,
        }
    }

    /// The next whole record and its number; `None` if there is no other.
    pub(super) fn next_record(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        loop {
            let needed = match parse(&self.buffer[self.used..]) {
                // A lower number would be an older record.
                Found::Record(number, payload) if (self.number..self.limit).contains(&number) => {
                    let payload = payload.to_vec();
                    self.used += PREFIX + payload.len();
                    self.offset = self.base + self.used as u64;
                    self.number = number + 1;
                    return Ok(Some((number, payload)));
                }
                Found::Part(needed) => Some(needed),
                Found::Record(..) | Found::Damage => None,
            };
            let more = match needed {
                Some(needed) => self.fill(needed)?,
                None => false,
            };
            if !more && !self.find_mark()? {
                return Ok(None);
            }
        }
    }

    /// Goes to the next mark behind this place; whether there is one.
    fn find_mark(&mut self) -> io::Result<bool> {
        self.used = self.buffer.len().min(self.used + 1);
        loop {
            let rest = &self.buffer[self.used..];
            if let Some(at) = rest.windows(MARK.len()).position(|it| it == MARK) {
                self.used += at;
                return Ok(true);
            }
            // The mark may begin at the end of what was read.
            self.used = self
                .buffer
                .len()
                .saturating_sub(MARK.len() - 1)
                .max(self.used);
            let beyond = self.buffer.len() - self.used + 1;
            if !self.fill(beyond)? {
                return Ok(false);
            }
        }
    }

    /// Reads on until the buffer holds `needed` bytes; whether it does.
    fn fill(&mut self, needed: usize) -> io::Result<bool> {
        self.buffer.drain(..self.used);
        self.base += self.used as u64;
        self.used = 0;
        // No larger than the file's rest: most reads are far shorter than a chunk.
        let there = self.file.metadata()?.len().saturating_sub(self.base);
        let there = usize::try_from(there).unwrap_or(usize::MAX);
        if there < needed {
            return Ok(false);
        }
        while self.buffer.len() < needed {
            let had = self.buffer.len();
            self.buffer.resize(needed.max(CHUNK).min(there), 0);
            let read = self
                .file
                .read_at(&mut self.buffer[had..], self.base + had as u64);
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
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_sort_as_their_numbers() {
        assert!(name(9) < name(10));
        assert!(name(255) < name(256));
        assert_eq!(number(&name(0xfe)), Some(0xfe));
        assert_eq!(number("ledger"), None);
        assert_eq!(number(&name(HIGHEST)), Some(HIGHEST));
        assert_eq!(number(&name(HIGHEST + 1)), None);
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn records(bytes: &[u8], limit: u64) -> Vec<(u64, Vec<u8>)> {
        let file = file(bytes);
        let mut walk = Walk::new(&file, 0, 0, limit);
        std::iter::from_fn(|| walk.next_record().unwrap()).collect()
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let look = |bytes: &[u8]| look_at_header(&file(bytes), 7).unwrap();
        let header = header(7);
        assert_eq!(look(&header), Header::Whole);
        assert_eq!(look(&header[..19]), Header::Missing);
        let mut later = header;
        later[7] = b'3';
        assert_eq!(look(&later), Header::Damaged, "one flipped bit");
        let checksum = crc32fast::hash(&later[..16]);
        later[16..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(look(&later), Header::Newer('3'));
    }

    #[test]
    fn damage_longer_than_a_read_is_passed() {
        let mut bytes = Vec::new();
        write(0, b"first", &mut bytes);
        bytes.resize(bytes.len() + 3 * CHUNK + 2, MARK[0]);
        write(5, &vec![b'x'; 2 * CHUNK], &mut bytes);
        write(6, b"last", &mut bytes);
        let numbers: Vec<_> = records(&bytes, 7).into_iter().map(|(it, _)| it).collect();
        assert_eq!(numbers, [0, 5, 6]);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(number in 0..=HIGHEST, payload: Vec<u8>) {
            let mut bytes = Vec::new();
            write(number, &payload, &mut bytes);
            prop_assert_eq!(parse(&bytes), Found::Record(number, &payload));
            bytes.extend_from_slice(b"next");
            prop_assert_eq!(parse(&bytes), Found::Record(number, &payload));
        }

        #[test]
        fn no_part_and_no_damage_is_taken_for_a_record(
            number in 0..=HIGHEST,
            payload: Vec<u8>,
            at: prop::sample::Index,
            flip in 1..=u8::MAX,
        ) {
            let mut bytes = Vec::new();
            write(number, &payload, &mut bytes);
            let at = at.index(bytes.len());
            prop_assert!(matches!(parse(&bytes[..at]), Found::Part(_)));
            bytes[at] ^= flip;
            prop_assert!(!matches!(parse(&bytes), Found::Record(..)));
        }

        #[test]
        fn a_flipped_bit_costs_the_record_that_it_is_in(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20),
            at: prop::sample::Index,
            bit in 0..8_u8,
        ) {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for (number, payload) in (0..).zip(&payloads) {
                write(number, payload, &mut bytes);
                ends.push(bytes.len());
            }
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let hit = ends.iter().position(|end| at < *end).unwrap() as u64;
            let expected: Vec<_> = (0..)
                .zip(payloads)
                .filter(|(number, _)| *number != hit)
                .collect();
            prop_assert_eq!(records(&bytes, ends.len() as u64), expected);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            prop_assert!(!matches!(parse(&bytes), Found::Part(needed) if needed <= bytes.len()));
            records(&bytes, HIGHEST);
        }
    }
}
