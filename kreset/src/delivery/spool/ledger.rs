//! What became of a spool's records, kept in a file: appended = delivered + lost +
//! waiting.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use super::segment::HIGHEST;

/// The file's name.
pub(super) const NAME: &str = "ledger";
/// What an entry begins with; its last byte is the version.
const MAGIC: &[u8; 8] = b"KRLEDGE1";
/// Bytes of an entry.
const ENTRY: usize = 60;
/// Where the two entries begin, each in a sector of its own: a crash of the host
/// damages the one that was being written at most.
const PLACES: [u64; 2] = [0, 4_096];

/// The counts since the spool was made. Records are numbered from 0, so the number
/// of the next one is how many were appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Records appended.
    pub(super) appended: u64,
    /// The number below which nothing is waiting.
    pub(super) done: u64,
    /// Records that the receiver has.
    pub(super) delivered: u64,
    /// Records that it will never have.
    pub(super) lost: u64,
    /// Those of `lost` that events have reported.
    pub(super) reported: u64,
}

/// The file, and what is in it.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    /// Entries written so far: the next one has this number.
    written: u64,
}

impl Ledger {
    /// Reads `file`: `None` if it has no whole entry.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(super) fn read(file: File) -> io::Result<(Self, Option<Counts>)> {
        let mut latest: Option<(u64, Counts)> = None;
        for place in PLACES {
            let mut bytes = [0; ENTRY];
            match file.read_exact_at(&mut bytes, place) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                Err(error) => return Err(error),
            }
            if let Some(entry) = parse(&bytes)
                && latest.is_none_or(|(number, _)| entry.0 > number)
            {
                latest = Some(entry);
            }
        }
        let written = latest.map_or(0, |(number, _)| number + 1);
        Ok((Self { file, written }, latest.map(|(_, counts)| counts)))
    }

    /// Writes `counts`. If it fails, the file is as it was before: then records are
    /// delivered again, or the next start counts them as lost.
    pub(super) fn write(&mut self, counts: Counts) {
        let entry = entry(self.written, counts);
        let place = PLACES[usize::from(self.written % 2 == 1)];
        if self.file.write_all_at(&entry, place).is_ok() {
            self.written += 1;
        }
    }
}

fn entry(number: u64, counts: Counts) -> [u8; ENTRY] {
    let Counts {
        appended,
        done,
        delivered,
        lost,
        reported,
    } = counts;
    let mut bytes = [0; ENTRY];
    bytes[..8].copy_from_slice(MAGIC);
    let numbers = [number, appended, done, delivered, lost, reported];
    for (place, number) in bytes[8..56].chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    let checksum = crc32fast::hash(&bytes[..56]);
    bytes[56..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn parse(bytes: &[u8; ENTRY]) -> Option<(u64, Counts)> {
    let (words, checksum) = bytes.split_last_chunk::<4>()?;
    let whole = words.starts_with(MAGIC) && crc32fast::hash(words) == u32::from_le_bytes(*checksum);
    let mut numbers = [0; 6];
    for (number, bytes) in numbers.iter_mut().zip(words[8..].chunks_exact(8)) {
        *number = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    let [number, appended, done, delivered, lost, reported] = numbers;
    let counts = Counts {
        appended,
        done,
        delivered,
        lost,
        reported,
    };
    // What this program writes; anything else could overflow.
    let sound = appended <= HIGHEST
        && done <= appended
        && delivered.checked_add(lost).is_some_and(|it| it <= appended)
        && reported <= lost
        && number < HIGHEST;
    (whole && sound).then_some((number, counts))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(appended: u64) -> Counts {
        Counts {
            appended,
            done: appended / 2,
            delivered: appended / 4,
            lost: appended / 8,
            reported: appended / 16,
        }
    }

    fn read(file: &File) -> Option<Counts> {
        Ledger::read(file.try_clone().unwrap()).unwrap().1
    }

    #[test]
    fn the_latest_entry_is_read() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(read(&file), None);
        for number in 0..5 {
            let (mut ledger, _) = Ledger::read(file.try_clone().unwrap()).unwrap();
            ledger.write(counts(number * 100));
            ledger.write(counts(number * 100 + 50));
            assert_eq!(read(&file), Some(counts(number * 100 + 50)));
        }
    }

    #[test]
    fn a_torn_entry_leaves_the_one_before() {
        let file = tempfile::tempfile().unwrap();
        let (mut ledger, _) = Ledger::read(file.try_clone().unwrap()).unwrap();
        (0..4).for_each(|number| ledger.write(counts(number)));
        // The fourth is in the second place.
        file.write_all_at(b"torn", PLACES[1] + 20).unwrap();
        assert_eq!(read(&file), Some(counts(2)));
        file.write_all_at(b"torn", PLACES[0] + 20).unwrap();
        assert_eq!(read(&file), None);
    }

    proptest! {
        #[test]
        fn an_entry_is_read_and_a_damaged_one_is_not(
            number in 0..HIGHEST,
            appended in 0..=HIGHEST,
            at in 0..ENTRY,
            flip in 1..=u8::MAX,
        ) {
            let mut bytes = entry(number, counts(appended));
            prop_assert_eq!(parse(&bytes), Some((number, counts(appended))));
            bytes[at] ^= flip;
            prop_assert_eq!(parse(&bytes), None);
        }
    }
}
