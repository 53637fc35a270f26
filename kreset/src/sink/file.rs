//! A file that only ever holds whole lines.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Format, HostSettings, Parts, Settings, lines::write_all};
use crate::delivery::{SinkError, Stopped, Writer};

/// The keys of a sink that appends to a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FileConfig {
    /// The file.
    pub path: PathBuf,
    /// Output format.
    #[serde(default = "Format::of_a_sink")]
    pub format: Format,
    /// Whether text says why and why not.
    #[serde(default)]
    pub verbose: bool,
}

impl Settings for FileConfig {
    const REQUIRED: &[(&str, &str)] = &[("path", "/var/log/kreset/events.json")];

    fn destination(&self) -> String {
        self.path.display().to_string()
    }

    fn check(&self) -> Result<(), SinkError> {
        let directory = self.path.parent().filter(|it| !it.as_os_str().is_empty());
        let failed = |source| SinkError::Open {
            path: self.path.clone(),
            source,
        };
        directory.map_or(Ok(()), |it| it.metadata().map(drop).map_err(failed))
    }

    fn open(&self, _: &HostSettings<'_>) -> Result<Parts, SinkError> {
        let file = LineFile::open(&self.path)?;
        let encoder = self.format.encoder(self.verbose);
        Ok(Parts::Local(encoder, Box::new(file)))
    }
}

/// A file that lines are appended to.
///
/// Every line is written whole: several processes may append to one file.
/// A line that did not fit on the disk is removed again; if that fails, a
/// newline ends it before the next line.
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
        // A process that was killed may have left part of a line.
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
        // Lines that another process has appended since must stay.
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

/// Whether a regular file does not end with a newline. A file without read
/// permission counts as ending with one.
fn ends_inside_a_line(path: &Path, file: &File) -> bool {
    let last_byte = || {
        // Only a regular file has a last byte. Opening a pipe or terminal for
        // reading could take data from its reader.
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
