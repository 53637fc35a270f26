//! A queue on disk: the events that a sink has not delivered yet.
//!
//! Records are numbered and appended to segment files; the file `done` has the
//! number up to which all are delivered. Appended records survive the end of the
//! process, even by SIGKILL, because the kernel has them. They survive a crash of
//! the host once [`Spool::unsynced`] was synced.
//!
//! A spool is bounded: when it is full, the oldest segment is dropped and its
//! undelivered records are counted as lost.

mod segment;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use self::segment::{HEADER, HIGHEST, LONGEST, Segment, Walk};

/// The smallest size limit of a spool.
pub const LEAST_BYTES: u64 = 1024 * 1024;
/// A full spool drops one part of this many at once.
const PARTS: u64 = 16;
/// No segment is longer.
const LONGEST_SEGMENT: u64 = 8 * 1024 * 1024;

/// Why a spool cannot be opened.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// Something of the file system.
    #[error("cannot use the spool {}: {source}; set another directory with the key \"spool\"", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the spool {} is in use: another kreset-trace runs with this configuration", path.display())]
    Locked {
        /// Its directory.
        path: PathBuf,
    },
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was appended.
    pub payload: Vec<u8>,
    /// Where the record ends: to be [`done`](Spool::done) with it.
    pub end: Position,
}

/// A position between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Number of the record after it.
    number: u64,
    /// The segment it is in, by the number of its first record.
    segment: u64,
    /// Where in that file.
    offset: u64,
}

/// A bounded queue on disk.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    /// Locked while the spool is open.
    _lock: File,
    limit: u64,
    /// The oldest first; records are appended to the last. Never empty.
    segments: VecDeque<Segment>,
    writer: Arc<File>,
    /// Holds the number below which all is delivered.
    done_file: File,
    done: Position,
    /// Where reading continues.
    read: Position,
    /// Records dropped since [`Spool::take_lost`].
    lost: u64,
    /// Dropped records behind `done`, which are counted already.
    given_up: Vec<Range<u64>>,
    unsynced: bool,
    buffer: Vec<u8>,
}

impl Spool {
    /// Opens the spool in `directory`, creating what is missing. It is never
    /// longer than `limit` bytes, or [`LEAST_BYTES`].
    ///
    /// # Errors
    ///
    /// When the file system refuses, or another process uses the spool.
    pub fn open(directory: &Path, limit: u64) -> Result<Self, SpoolError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| SpoolError::Io { path, source }
        };
        fs::create_dir_all(directory).map_err(failed(directory))?;
        let lock = lock(directory)?;
        let done_path = directory.join("done");
        let mut options = OpenOptions::new();
        let done_file = options.read(true).write(true).create(true).truncate(false);
        let done_file = done_file.open(&done_path).map_err(failed(&done_path))?;
        let (segments, writer) =
            recover(directory, read_done(&done_file)).map_err(failed(directory))?;
        let mut spool = Self {
            directory: directory.to_owned(),
            _lock: lock,
            limit: limit.max(LEAST_BYTES),
            segments,
            writer: Arc::new(writer),
            done: Position::at_begin(0),
            read: Position::at_begin(0),
            lost: 0,
            given_up: Vec::new(),
            unsynced: false,
            buffer: Vec::new(),
            done_file,
        };
        spool.find_done().map_err(failed(directory))?;
        Ok(spool)
    }

    /// Appends records, in order.
    ///
    /// # Errors
    ///
    /// When the file system refuses; none of them is then in the spool.
    pub fn append<P: AsRef<[u8]>>(
        &mut self,
        payloads: impl IntoIterator<Item = P>,
    ) -> io::Result<()> {
        let first = self.next();
        let mut number = first;
        self.buffer.clear();
        for payload in payloads {
            let payload = payload.as_ref();
            if payload.len() > LONGEST {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            segment::write(number, payload, &mut self.buffer);
            number += 1;
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.last().bytes + self.buffer.len() as u64 > self.segment_limit()
            && self.last().end > self.last().first
        {
            self.start_segment()?;
        }
        let written = self.buffer.len() as u64;
        while self.bytes() + written > self.limit && self.give_up_oldest() {}
        let begin = self.last().bytes;
        if let Err(error) = self.writer.write_all_at(&self.buffer, begin) {
            // Reading ends before a partial record, so it does no harm if it
            // cannot be removed.
            let _taken_back = self.writer.set_len(begin);
            return Err(error);
        }
        if let Some(last) = self.segments.back_mut() {
            last.bytes += written;
            last.end = number;
        }
        self.unsynced = true;
        Ok(())
    }

    /// Makes room by dropping the oldest segment, as [`Spool::append`] does at the
    /// size limit; returns whether there was more than one.
    pub fn give_up_oldest(&mut self) -> bool {
        if self.segments.len() < 2 {
            return false;
        }
        let Segment { first, end, .. } = self.segments[0];
        // Records in flight may still arrive: rewind() counts those that did not.
        let from = self.read.number.max(first);
        if from < end {
            self.pass_over(from, Position::at_begin(end));
        }
        // Skipping unread records may have removed it already.
        if self.segments[0].first == first {
            self.remove_first();
        }
        true
    }

    /// Reads on: up to `count` records, or about `bytes`.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn read(&mut self, count: usize, bytes: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut left = bytes;
        while entries.is_empty() && self.read.number < self.next() {
            let Some(at) = self
                .segments
                .iter()
                .position(|it| self.read.number < it.end)
            else {
                break;
            };
            let Segment { first, end, .. } = self.segments[at];
            if self.read.number < first || self.read.segment != first {
                // The records between were dropped and counted.
                self.read = Position::at_begin(first);
            }
            let file = File::open(segment::path(&self.directory, first))?;
            let mut walk = Walk::new(&file, self.read.number, self.read.offset);
            while entries.len() < count && left > 0 && walk.number < end {
                let payload = match walk.next_record() {
                    Ok(Some(payload)) => payload,
                    Ok(None) => break,
                    // Return what was read before.
                    Err(_) if !entries.is_empty() => break,
                    Err(error) => return Err(error),
                };
                left = left.saturating_sub(payload.len());
                let end = Position {
                    number: walk.number,
                    segment: first,
                    offset: walk.offset,
                };
                self.read = end;
                entries.push(Entry { payload, end });
            }
            if entries.is_empty() {
                self.skip_damage(at);
            }
        }
        Ok(entries)
    }

    /// Everything before `position` is delivered.
    pub fn done(&mut self, position: Position) {
        if position.number <= self.done.number {
            return;
        }
        self.done = position;
        self.given_up.retain(|gap| gap.end > position.number);
        self.write_done();
        while self.segments.len() > 1 && self.segments[0].end <= self.done.number {
            self.remove_first();
        }
    }

    /// Goes back to the first undelivered record.
    pub fn rewind(&mut self) {
        let floor = self.segments[0].first;
        if self.done.number < floor {
            // Dropped while in flight, and it did not arrive.
            let counted: u64 = self
                .given_up
                .iter()
                .map(|gap| gap.end.min(floor).saturating_sub(gap.start))
                .sum();
            self.lost += (floor - self.done.number).saturating_sub(counted);
            self.done(Position::at_begin(floor));
        }
        self.read = self.done;
    }

    /// Records that are not delivered.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.next() - self.done.number.max(self.segments[0].first)
    }

    /// Whether there is something to read.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.read.number < self.next()
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Records that were dropped since the last call.
    pub const fn take_lost(&mut self) -> u64 {
        std::mem::replace(&mut self.lost, 0)
    }

    /// The file with undelivered records that are not synced yet. The caller syncs
    /// it, without the lock.
    pub fn unsynced(&mut self) -> Option<Arc<File>> {
        let due = self.unsynced && self.depth() > 0;
        self.unsynced &= !due;
        due.then(|| Arc::clone(&self.writer))
    }

    fn next(&self) -> u64 {
        self.last().end
    }

    fn last(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    fn segment_limit(&self) -> u64 {
        (self.limit / PARTS).min(LONGEST_SEGMENT)
    }

    fn start_segment(&mut self) -> io::Result<()> {
        if self.unsynced && self.depth() > 0 {
            self.writer.sync_data()?;
        }
        let first = self.next();
        self.writer = Arc::new(create(&self.directory, first)?);
        self.segments.push_back(Segment {
            first,
            end: first,
            bytes: HEADER,
        });
        Ok(())
    }

    /// Reads on at `behind`; what lies between is given up.
    fn pass_over(&mut self, from: u64, behind: Position) {
        let gap = from..behind.number;
        if !self.given_up.contains(&gap) {
            self.lost += gap.end - gap.start;
            self.given_up.push(gap);
        }
        let idle = self.read.number == self.done.number;
        self.read = behind;
        if idle {
            self.done(behind);
        }
    }

    fn remove_first(&mut self) {
        if let Some(segment) = self.segments.pop_front() {
            // One that stays is removed when the spool is opened again.
            let _removed = fs::remove_file(segment::path(&self.directory, segment.first));
        }
    }

    /// Gives up what cannot be read of a segment.
    fn skip_damage(&mut self, at: usize) {
        let Segment { first, end, bytes } = self.segments[at];
        let behind = self.segments.get(at + 1).map_or(
            Position {
                number: end,
                segment: first,
                offset: bytes,
            },
            |next| Position::at_begin(next.first),
        );
        self.pass_over(self.read.number, behind);
    }

    fn write_done(&self) {
        let number = self.done.number.to_le_bytes();
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&number);
        bytes[8..].copy_from_slice(&crc32fast::hash(&number).to_le_bytes());
        // If this fails, what is delivered is delivered again.
        let _written = self.done_file.write_all_at(&bytes, 0);
    }

    /// Finds where in which segment the first undelivered record begins.
    fn find_done(&mut self) -> io::Result<()> {
        let number = read_done(&self.done_file).max(self.segments[0].first);
        let segment = self.segments.iter().find(|it| number < it.end);
        let first = segment.unwrap_or_else(|| self.last()).first;
        self.done = Position {
            number: number.max(first),
            segment: first,
            offset: HEADER,
        };
        if number > first {
            let file = File::open(segment::path(&self.directory, first))?;
            let mut walk = Walk::new(&file, first, HEADER);
            while walk.number < number && walk.next_record()?.is_some() {}
            self.done.offset = walk.offset;
            self.done.number = walk.number;
        }
        self.read = self.done;
        while self.segments.len() > 1 && self.segments[0].end <= self.done.number {
            self.remove_first();
        }
        Ok(())
    }
}

impl Position {
    /// Before the first record of a segment.
    const fn at_begin(first: u64) -> Self {
        Self {
            number: first,
            segment: first,
            offset: HEADER,
        }
    }
}

/// Locks a spool's directory for this process.
fn lock(directory: &Path) -> Result<File, SpoolError> {
    let path = directory.join("lock");
    let failed = |source| SpoolError::Io {
        path: path.clone(),
        source,
    };
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::Locked {
            path: directory.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The number below which all is delivered; 0 if it cannot be read, which
/// duplicates events and loses none.
fn read_done(file: &File) -> u64 {
    let (mut number, mut checksum) = ([0; 8], [0; 4]);
    let read = file
        .read_exact_at(&mut number, 0)
        .and_then(|()| file.read_exact_at(&mut checksum, 8));
    let whole = read.is_ok() && crc32fast::hash(&number) == u32::from_le_bytes(checksum);
    let number = u64::from_le_bytes(number);
    if whole && number <= HIGHEST {
        number
    } else {
        0
    }
}

/// Finds the segments, ends the last one after its last whole record, and
/// opens it for appending.
fn recover(directory: &Path, done: u64) -> io::Result<(VecDeque<Segment>, File)> {
    let mut firsts = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(first) = segment::number(&path) else {
            continue;
        };
        // A crash of the host may leave a file that was never written.
        if File::open(&path).is_ok_and(|file| segment::has_header(&file, first)) {
            firsts.push(first);
        } else {
            fs::remove_file(&path)?;
        }
    }
    firsts.sort_unstable();
    let mut segments = VecDeque::new();
    for (at, first) in firsts.iter().enumerate() {
        let path = segment::path(directory, *first);
        let bytes = fs::metadata(&path)?.len();
        // A segment ends where the next begins; only the last has to be read.
        let end = firsts.get(at + 1).copied().unwrap_or(*first);
        segments.push_back(Segment {
            first: *first,
            end,
            bytes,
        });
    }
    if let Some(last) = segments.back_mut() {
        let path = segment::path(directory, last.first);
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut walk = Walk::new(&file, last.first, HEADER);
        while walk.next_record()?.is_some() {}
        (last.end, last.bytes) = (walk.number, walk.offset);
        file.set_len(walk.offset)?;
        if last.end >= done {
            return Ok((segments, file));
        }
    }
    // The spool is empty, or the host crashed and records that were delivered are
    // gone: numbers must not be used again.
    let first = segments.back().map_or(0, |last| last.end).max(done);
    segments.push_back(Segment {
        first,
        end: first,
        bytes: HEADER,
    });
    Ok((segments, create(directory, first)?))
}

fn create(directory: &Path, first: u64) -> io::Result<File> {
    let path = segment::path(directory, first);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.write_all_at(&segment::header(first), 0)?;
    Ok(file)
}
