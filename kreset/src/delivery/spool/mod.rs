//! A queue on disk: the events that a sink has not delivered yet.
//!
//! Records are numbered and appended to segment files; the file `ledger` has what
//! became of them, so that at any time, and at each start,
//!
//! appended = delivered + lost + waiting.
//!
//! What is missing is counted as lost. Appended records survive the end of the
//! process, even by SIGKILL, because the kernel has them. They survive a crash of the
//! host once [`Spool::unsynced`] was synced.
//!
//! A spool is bounded: when it is full, the oldest segment is dropped and its
//! undelivered records are counted as lost. A segment of which records were skipped,
//! because they are damaged or cannot be read, is kept under another name for a while.

mod gaps;
mod ledger;
mod recover;
mod segment;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fs::{File, TryLockError},
    io,
    ops::Range,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use self::{
    gaps::Gaps,
    ledger::{Counts, Ledger},
    recover::Recovered,
    segment::{HEADER, LONGEST, Segment, Walk},
};
use crate::util::private::PrivateDirectory;

/// The smallest size limit of a spool.
pub const LEAST_BYTES: u64 = 1024 * 1024;
/// A full spool drops one part of this many at once.
const PARTS: u64 = 16;
/// No segment is longer.
const LONGEST_SEGMENT: u64 = 8 * 1024 * 1024;
/// Files with damage that are kept at most, the latest.
const DAMAGED_FILES: usize = 4;
/// The suffix of files with damage.
const DAMAGED: &str = ".damaged";
/// The file of records that the receiver rejected.
const REJECTED: &str = "rejected";

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
    /// A later kreset wrote it.
    #[error(
        "the spool {} has the format {version}, of a later version of kreset-trace: install that version, or move the directory away",
        path.display()
    )]
    Newer {
        /// Its directory.
        path: PathBuf,
        /// The version of its format.
        version: char,
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
    directory: PrivateDirectory,
    /// Locked while the spool is open.
    lock: File,
    limit: u64,
    /// The oldest first; records are appended to the last. Never empty.
    segments: VecDeque<Segment>,
    writer: Arc<File>,
    ledger: Ledger,
    counts: Counts,
    done: Position,
    /// Where reading continues.
    read: Position,
    /// Records from `done` on that are missing, and counted already.
    gaps: Gaps,
    /// So many records that are still there were counted as lost by an earlier run.
    credit: u64,
    /// Lost records since [`Spool::take_lost`].
    lost: u64,
    /// What to log.
    notes: Vec<String>,
    /// Files with damage and their sizes, the oldest first.
    damaged: VecDeque<(String, u64)>,
    rejected_bytes: u64,
    unsynced: bool,
    buffer: Vec<u8>,
}

impl Spool {
    /// Opens the spool in `directory`, creating what is missing. It is never
    /// longer than `limit` bytes, or [`LEAST_BYTES`].
    ///
    /// # Errors
    ///
    /// When the file system refuses, the directory is another user's, another process
    /// uses the spool, or a later version wrote it.
    pub fn open(directory: &Path, limit: u64) -> Result<Self, SpoolError> {
        let path = directory;
        let failed = |source| SpoolError::Io {
            path: path.to_owned(),
            source,
        };
        let directory = PrivateDirectory::open(path).map_err(failed)?;
        let lock = lock(&directory)?;
        let file = directory.write(ledger::NAME).map_err(failed)?;
        let (ledger, counts) = Ledger::read(file).map_err(failed)?;
        let Recovered {
            segments,
            writer,
            notes,
        } = recover::recover(&directory, counts.unwrap_or_default().appended)?;
        let damaged = recover::damaged(&directory).map_err(failed)?;
        let rejected_bytes = directory.length(REJECTED).unwrap_or(0);
        let mut spool = Self {
            directory,
            lock,
            limit: limit.max(LEAST_BYTES),
            segments,
            writer: Arc::new(writer),
            ledger,
            counts: Counts::default(),
            done: Position::at_begin(0),
            read: Position::at_begin(0),
            gaps: Gaps::default(),
            credit: 0,
            lost: 0,
            notes,
            damaged,
            rejected_bytes,
            unsynced: false,
            buffer: Vec::new(),
        };
        spool.balance(counts);
        spool.find_done().map_err(failed)?;
        spool.remove_done();
        spool.note_counts();
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
        if self.writer.metadata()?.nlink() == 0 {
            self.restore()?;
        }
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
        while self.bytes() + written > self.limit && self.make_room() {}
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
        self.note_counts();
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
            let next = self.segments[1].first;
            self.pass_over(from..end, Position::at_begin(next));
        }
        // Skipping unread records may have removed it already.
        if self.segments[0].first == first {
            self.remove_first();
        }
        self.note_counts();
        true
    }

    /// Reads on: up to `count` records, or about `bytes`. Damaged records, and
    /// segments that cannot be read, are skipped and counted as lost.
    ///
    /// # Errors
    ///
    /// When the system lacks descriptors or memory at the moment.
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
            if self.read.segment != first {
                let begin = Position::at_begin(first);
                if self.read.number < first {
                    self.pass_over(self.read.number..first, begin);
                    // That may have removed segments.
                    continue;
                }
                self.read = Position {
                    number: self.read.number,
                    ..begin
                };
            }
            let file = match self.open_segment(first) {
                Ok(file) => file,
                Err(error) if is_passing(&error) => return Err(error),
                Err(error) => {
                    self.skip_rest(first, &error.to_string());
                    continue;
                }
            };
            let mut walk = Walk::new(&file, self.read.number, self.read.offset, end);
            let mut why = "damaged".to_owned();
            while entries.len() < count && left > 0 && walk.number < end {
                let begin = walk.offset;
                let (number, payload) = match walk.next_record() {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    // Return what was read before.
                    Err(_) if !entries.is_empty() => break,
                    Err(error) if is_passing(&error) => return Err(error),
                    Err(error) => {
                        why = error.to_string();
                        break;
                    }
                };
                if number > self.read.number {
                    let behind = Position {
                        number,
                        segment: first,
                        // Reading finds the record from there too.
                        offset: begin,
                    };
                    self.skip(first, self.read.number..number, behind, &why);
                }
                left = left.saturating_sub(payload.len());
                let end = Position {
                    number: number + 1,
                    segment: first,
                    offset: walk.offset,
                };
                self.read = end;
                entries.push(Entry { payload, end });
            }
            if entries.is_empty() {
                self.skip_rest(first, &why);
            }
        }
        Ok(entries)
    }

    /// Everything before `position` is delivered, except what is missing.
    pub fn done(&mut self, position: Position) {
        if position.number <= self.done.number {
            return;
        }
        let passed = self.done.number..position.number;
        let missing = self.gaps.count_within(passed.clone());
        self.counts.delivered += passed.end - passed.start - missing;
        self.gaps.forget_below(position.number);
        self.done = position;
        self.remove_done();
        self.note_counts();
    }

    /// The receiver rejected `entry` for good: it counts as lost, and is kept in a
    /// file.
    pub fn reject(&mut self, entry: &Entry) {
        let number = entry.end.number.saturating_sub(1);
        self.miss(number..entry.end.number);
        self.buffer.clear();
        segment::write(number, &entry.payload, &mut self.buffer);
        let written = self.buffer.len() as u64;
        let begin = self.rejected_bytes;
        let file = if begin == 0 || begin + written > self.segment_limit() {
            self.directory.create(REJECTED).map(|it| (it, 0))
        } else {
            self.directory.write(REJECTED).map(|it| (it, begin))
        };
        let kept = file.and_then(|(file, begin)| {
            file.write_all_at(&self.buffer, begin)?;
            Ok(begin + written)
        });
        match kept {
            Ok(bytes) => self.rejected_bytes = bytes,
            Err(error) => self
                .notes
                .push(format!("cannot keep a rejected event: {error}")),
        }
        self.note_counts();
    }

    /// Goes back to the first undelivered record.
    pub fn rewind(&mut self) {
        let floor = self.segments[0].first;
        if self.done.number < floor {
            // Dropped while in flight, and it did not arrive.
            self.miss(self.done.number..floor);
            self.done(Position::at_begin(floor));
        }
        self.read = self.done;
    }

    /// Records that are neither delivered nor lost.
    #[must_use]
    pub fn depth(&self) -> u64 {
        let settled = self.counts.delivered + self.counts.lost;
        self.next().saturating_sub(settled)
    }

    /// Whether there is something to read.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.read.number < self.next()
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let segments = self.segments.iter().map(|segment| segment.bytes);
        let damaged = self.damaged.iter().map(|(_, bytes)| *bytes);
        segments.chain(damaged).sum::<u64>() + self.rejected_bytes
    }

    /// Records that were lost since the last call, or that no event of an earlier run
    /// has reported.
    pub const fn take_lost(&mut self) -> u64 {
        std::mem::replace(&mut self.lost, 0)
    }

    /// Events have reported all that [`Spool::take_lost`] returned.
    pub fn losses_are_reported(&mut self) {
        let reported = self.counts.lost.saturating_sub(self.lost);
        if self.counts.reported < reported {
            self.counts.reported = reported;
            self.note_counts();
        }
    }

    /// What to log since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The file with undelivered records that are not synced yet. The caller syncs
    /// it, without the lock.
    pub fn unsynced(&mut self) -> Option<Arc<File>> {
        let due = self.unsynced && self.depth() > 0;
        self.unsynced &= !due;
        due.then(|| Arc::clone(&self.writer))
    }

    /// Makes the directory again if it was removed or renamed.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn keep_in_place(&mut self) -> io::Result<()> {
        if self.directory.is_in_place() && self.writer.metadata()?.nlink() > 0 {
            return Ok(());
        }
        self.restore()
    }

    /// Makes the directory and its files again. The last segment is there whole, since
    /// it is open; those before it are skipped when they are read.
    fn restore(&mut self) -> io::Result<()> {
        let path = self.directory.path().to_owned();
        let directory = PrivateDirectory::open(&path)?;
        let lock = if self.lock.metadata()?.nlink() > 0 && self.directory.is_in_place() {
            self.lock.try_clone()?
        } else {
            lock(&directory).map_err(io::Error::other)?
        };
        let last = self.last().clone();
        let writer = directory.create(&segment::name(last.first))?;
        let mut bytes = vec![0; usize::try_from(last.bytes).map_err(io::Error::other)?];
        self.writer.read_exact_at(&mut bytes, 0)?;
        writer.write_all_at(&bytes, 0)?;
        let (ledger, _) = Ledger::read(directory.create(ledger::NAME)?)?;
        self.notes.push(format!(
            "its spool {} was removed, and has been made again",
            path.display()
        ));
        (self.directory, self.lock, self.writer) = (directory, lock, Arc::new(writer));
        self.ledger = ledger;
        self.damaged.clear();
        self.rejected_bytes = 0;
        self.unsynced = true;
        self.note_counts();
        Ok(())
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
        self.writer = Arc::new(recover::create(&self.directory, first)?);
        self.segments.push_back(Segment::empty(first));
        Ok(())
    }

    /// The segment that begins with record `first`, for reading.
    fn open_segment(&self, first: u64) -> io::Result<Arc<File>> {
        if first == self.last().first {
            // Without another descriptor.
            return Ok(Arc::clone(&self.writer));
        }
        self.directory.read(&segment::name(first)).map(Arc::new)
    }

    /// Drops something to make room: files with damage first; returns whether there
    /// was anything.
    fn make_room(&mut self) -> bool {
        match self.damaged.pop_front() {
            Some((name, _)) => {
                let _removed = self.directory.remove(&name);
                true
            }
            None => self.give_up_oldest(),
        }
    }

    /// Counts records as lost, each once.
    fn miss(&mut self, gap: Range<u64>) -> u64 {
        let new = self.gaps.add(gap);
        let known = new.min(self.credit);
        self.credit -= known;
        let count = (new - known).min(self.depth());
        self.lost += count;
        self.counts.lost += count;
        count
    }

    /// Reads on at `behind`; what lies between is missing.
    fn pass_over(&mut self, gap: Range<u64>, behind: Position) -> u64 {
        let count = self.miss(gap);
        let idle = self.read.number == self.done.number;
        self.read = behind;
        if idle {
            self.done(behind);
        }
        self.note_counts();
        count
    }

    /// Passes over records of the segment that begins with record `first`, which
    /// is kept.
    fn skip(&mut self, first: u64, gap: Range<u64>, behind: Position, why: &str) {
        let segment = self.segments.iter_mut().find(|it| it.first == first);
        if let Some(segment) = segment {
            segment.damaged = true;
        }
        let count = self.pass_over(gap, behind);
        if count > 0 {
            let file = self.directory.path().join(segment::name(first));
            self.notes.push(format!(
                "skipped {count} events of its spool, which are counted as lost: {}: {why}",
                file.display()
            ));
        }
    }

    /// Passes over what cannot be read of the segment that begins with record
    /// `first`.
    fn skip_rest(&mut self, first: u64, why: &str) {
        let at = self.segments.iter().position(|it| it.first == first);
        let Some(at) = at else { return };
        let Segment { end, bytes, .. } = self.segments[at];
        let behind = self.segments.get(at + 1).map_or(
            Position {
                number: end,
                segment: first,
                offset: bytes,
            },
            |next| Position::at_begin(next.first),
        );
        self.skip(first, self.read.number..end, behind, why);
    }

    fn remove_done(&mut self) {
        while self.segments.len() > 1 && self.segments[0].end <= self.done.number {
            self.remove_first();
        }
    }

    fn remove_first(&mut self) {
        let Some(segment) = self.segments.pop_front() else {
            return;
        };
        let name = segment::name(segment.first);
        let aside = format!("{name}{DAMAGED}");
        if segment.damaged && self.directory.rename(&name, &aside).is_ok() {
            self.damaged.push_back((aside, segment.bytes));
            if self.damaged.len() > DAMAGED_FILES {
                self.make_room();
            }
        } else {
            // One that stays is removed when the spool is opened again.
            let _removed = self.directory.remove(&name);
        }
    }

    fn note_counts(&mut self) {
        self.counts.appended = self.next();
        self.counts.done = self.done.number;
        self.ledger.write(self.counts);
    }

    /// Compares what is there with what the ledger says; what is missing is lost.
    fn balance(&mut self, counts: Option<Counts>) {
        let next = self.next();
        let floor = self.segments[0].first;
        let done = counts.map_or(floor, |it| it.done.clamp(floor, next.max(floor)));
        let mut before = done;
        let mut present = 0;
        for Segment { first, end, .. } in &self.segments {
            let begin = (*first).max(before);
            self.gaps.add(before..begin);
            present += end.saturating_sub(begin);
            before = before.max(*end);
        }
        self.counts = counts.unwrap_or_else(|| Counts {
            delivered: next - present,
            ..Counts::default()
        });
        let waiting = self.depth();
        let missing = waiting.saturating_sub(present);
        if missing > 0 {
            self.notes.push(format!(
                "{missing} events of its spool {} are missing, and counted as lost",
                self.directory.path().display()
            ));
        }
        self.counts.lost += missing;
        self.credit = present.saturating_sub(waiting);
        self.lost = self.counts.lost - self.counts.reported;
        self.done = Position::at_begin(done);
    }

    /// Finds where in which segment the first undelivered record begins.
    fn find_done(&mut self) -> io::Result<()> {
        let number = self.done.number;
        let segment = self.segments.iter().find(|it| number < it.end);
        let Segment { first, end, .. } = *segment.unwrap_or_else(|| self.last());
        self.done = Position {
            number: number.max(first),
            segment: first,
            offset: HEADER,
        };
        // One that cannot be read is skipped when it is read.
        let file = match self.open_segment(first) {
            Ok(file) => file,
            Err(error) if is_passing(&error) => return Err(error),
            Err(_) => {
                self.read = self.done;
                return Ok(());
            }
        };
        let mut walk = Walk::new(&file, first, HEADER, end);
        while walk.number < number {
            let before = walk.offset;
            match walk.next_record() {
                Ok(Some((found, _))) if found < number => self.done.offset = walk.offset,
                Ok(_) => {
                    self.done.offset = before;
                    break;
                }
                Err(error) if is_passing(&error) => return Err(error),
                Err(_) => break,
            }
        }
        self.read = self.done;
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

/// Whether what failed may work later: the system lacks descriptors or memory.
fn is_passing(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EINTR]
        .into_iter()
        .any(|it| code == Some(it))
}

/// Locks a spool's directory for this process.
fn lock(directory: &PrivateDirectory) -> Result<File, SpoolError> {
    let failed = |source| SpoolError::Io {
        path: directory.path().join("lock"),
        source,
    };
    let file = directory.create("lock").map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::Locked {
            path: directory.path().to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
