//! A spool's directory as a dead host, a full disk or another program left it.

use std::{fs, path::Path};

use kreset::delivery::spool::{Entry, Spool};
use tempfile::TempDir;

/// What is done with one spool, at most: each costs a few files.
const ACTIONS: usize = 24;

/// Reads what the fuzzer made up, from the front.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }
}

/// Files as the input describes them, then what a run does with them.
///
/// Checksums are right unless the input damages a file, since a fuzzer does not find
/// a right one by chance.
pub fn spool(bytes: &[u8]) {
    let mut input = Input(bytes);
    let directory = TempDir::new().expect("a directory");
    write_files(directory.path(), &mut input);
    let Ok(mut spool) = Spool::open(directory.path(), 0) else {
        return;
    };
    nothing_goes_unaccounted(&mut spool);
    let mut last: Option<Entry> = None;
    for _ in 0..ACTIONS {
        if input.0.is_empty() {
            break;
        }
        match input.byte() % 7 {
            0 => {
                let read = spool.read(1 + usize::from(input.byte()), 1 << 16);
                last = read.ok().and_then(|entries| entries.into_iter().last());
            }
            1 => {
                if let Some(entry) = &last {
                    spool.done(entry.end);
                }
            }
            2 => spool.rewind(),
            3 => {
                let length = usize::from(input.byte()) * 64;
                let _appended = spool.append([vec![7; length], vec![8; length]]);
            }
            4 => {
                last = None;
                drop(spool);
                spool = Spool::open(directory.path(), 0).expect("what this run wrote is read");
            }
            5 => {
                spool.give_up_oldest();
            }
            _ => {
                spool.take_lost();
            }
        }
        let _depth = spool.depth();
    }
    everything_appended_is_read(&mut spool);
}

/// What is waiting is read, or counted as lost.
fn nothing_goes_unaccounted(spool: &mut Spool) {
    let waiting = spool.depth();
    let _earlier = spool.take_lost();
    let read = read_all(spool);
    assert_eq!(read as u64 + spool.take_lost(), waiting);
    spool.rewind();
}

fn everything_appended_is_read(spool: &mut Spool) {
    read_all(spool);
    if spool.append([b"last"]).is_ok() {
        let entries = spool.read(2, 1 << 10).expect("it is read");
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].payload, b"last");
    }
}

fn read_all(spool: &mut Spool) -> usize {
    let mut count = 0;
    while let Ok(entries) = spool.read(64, 1 << 16) {
        if entries.is_empty() {
            break;
        }
        count += entries.len();
    }
    count
}

fn write_files(directory: &Path, input: &mut Input<'_>) {
    let mut next = 0;
    for _ in 0..input.byte() % 4 {
        let first = match input.byte() % 3 {
            0 => next,
            1 => input.number(),
            _ => u64::MAX - u64::from(input.byte()),
        };
        next = write_segment(directory, first, input);
    }
    match input.byte() % 3 {
        0 => {}
        1 => {
            let mut entry = b"KRLEDGE1".to_vec();
            // Its own number, appended, done, delivered, lost and reported.
            entry.extend(1_u64.to_le_bytes());
            for _ in 0..5 {
                entry.extend(input.number().to_le_bytes());
            }
            entry.extend(crc32fast::hash(&entry).to_le_bytes());
            fs::write(directory.join("ledger"), entry).expect("a file is written");
        }
        _ => fs::write(directory.join("ledger"), input.bytes::<60>()).expect("a file is written"),
    }
}

/// A segment as `kreset::delivery::spool` describes it; the number after it.
fn write_segment(directory: &Path, first: u64, input: &mut Input<'_>) -> u64 {
    let mut bytes = b"KRSPOOL2".to_vec();
    bytes.extend(first.to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    let mut number = first;
    for _ in 0..input.byte() % 8 {
        let payload = vec![b'x'; input.byte().into()];
        let mut checked = u32::from(payload.len() as u8).to_le_bytes().to_vec();
        checked.extend(number.to_le_bytes());
        bytes.extend([0xf5, 0xc0, 0xfe, 0xc1]);
        bytes.extend(&checked);
        checked.extend(&payload);
        bytes.extend(crc32fast::hash(&checked).to_le_bytes());
        bytes.extend(payload);
        number = number.wrapping_add(1);
    }
    for _ in 0..input.byte() % 4 {
        let at = usize::from(u16::from_le_bytes(input.bytes()));
        let value = input.byte();
        match at.checked_rem(bytes.len() + 1) {
            Some(at) if at < bytes.len() => bytes[at] = value,
            _ => bytes.truncate(value.into()),
        }
    }
    fs::write(directory.join(format!("{first:016x}.spool")), bytes).expect("a file is written");
    number
}
