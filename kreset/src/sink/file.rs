//! A file that only ever holds whole lines.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use super::lines::write_all;
use crate::delivery::{SinkError, Stopped, Writer};

/// A file that lines are appended to.
///
/// Every line is written whole: several processes may append to one file,
/// and a line that the disk had no room for is taken back rather than left
/// half there. If it cannot be taken back, it is ended before the next one.
#[derive(Debug)]
pub struct LineFile {
    path: PathBuf,
    file: File,
    /// The file ends inside a line.
    torn: bool,
}

impl LineFile {
    /// Opens the file at `path` for appending; creates it if need be.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, SinkError> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(|source| SinkError::Open {
            path: path.to_owned(),
            source,
        })?;
        // A process that was killed may have left the half of a line.
        let torn = ends_inside_a_line(path, &file);
        Ok(Self {
            path: path.to_owned(),
            file,
            torn,
        })
    }

    /// Removes the last `count` bytes, which this process has just written.
    fn take_back(&mut self, count: usize) -> io::Result<()> {
        let end = self.file.stream_position()?;
        let metadata = self.file.metadata()?;
        // Someone else's lines behind ours must stay, and then ours too.
        if !metadata.is_file() || metadata.len() != end {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let count = u64::try_from(count).map_err(|_too_large| io::ErrorKind::InvalidInput)?;
        self.file.set_len(end.saturating_sub(count))
    }

    fn stopped(&self, written: usize, error: io::Error) -> Stopped {
        Stopped {
            written,
            error: SinkError::write(self.path.display().to_string(), error),
        }
    }
}

/// Whether the last byte of a regular file is something else than a newline.
/// A file that may not be read counts as whole.
fn ends_inside_a_line(path: &Path, file: &File) -> bool {
    let last_byte = || {
        // Anything but a regular file (a pipe, a terminal) has no last byte,
        // and opening it to read could even take what others wait for.
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut reader = File::open(path)?;
        let mut last = [b'\n'];
        if reader.seek(SeekFrom::End(0))? > 0 {
            reader.seek(SeekFrom::End(-1))?;
            reader.read_exact(&mut last)?;
        }
        Ok::<_, io::Error>(last[0])
    };
    last_byte().is_ok_and(|last| last != b'\n')
}

impl Writer for LineFile {
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), Stopped> {
        if self.torn {
            write_all(&self.file, b"\n").map_err(|(_, error)| self.stopped(0, error))?;
            self.torn = false;
        }
        write_all(&self.file, lines).map_err(|(written, error)| {
            let whole = lines[..written]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            self.torn = written > whole && self.take_back(written - whole).is_err();
            self.stopped(whole, error)
        })
    }

    fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        *self = Self::open(&self.path)?;
        Ok(())
    }
}
