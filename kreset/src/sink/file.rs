//! A file that only ever holds whole lines.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Format, HostSettings, Parts, Settings, lines::write_all};
use crate::{
    delivery::{SinkError, Stopped, Writer},
    util::size,
};

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
    /// Bytes after which another file is begun.
    #[serde(default, deserialize_with = "size::deserialize")]
    pub max_size: Option<u64>,
    /// Full files that are kept, the latest.
    #[serde(default = "default_max_files")]
    pub max_files: u8,
}

/// Full files that are kept.
const fn default_max_files() -> u8 {
    4
}

impl FileConfig {
    /// A file of any length.
    #[must_use]
    pub const fn unlimited(path: PathBuf, format: Format, verbose: bool) -> Self {
        Self {
            path,
            format,
            verbose,
            max_size: None,
            max_files: default_max_files(),
        }
    }
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
        let mut file = LineFile::open(&self.path)?;
        file.limit = self.max_size.map(|bytes| Limit {
            bytes,
            files: self.max_files,
        });
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
    /// Its length, without what other processes append.
    length: u64,
    limit: Option<Limit>,
}

/// How much a sink may write.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// The length of a file.
    bytes: u64,
    /// Full files that are kept.
    files: u8,
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
        let metadata = file.metadata().ok().filter(Metadata::is_file);
        Ok(Self {
            path: path.to_owned(),
            file,
            torn,
            length: metadata.map_or(0, |it| it.len()),
            limit: None,
        })
    }

    /// Begins another file if `more` bytes do not fit: the full one becomes
    /// `PATH.full.1`, that becomes `PATH.full.2`, and so on.
    fn make_room(&mut self, more: u64) -> io::Result<()> {
        let Some(Limit { bytes, files }) = self.limit else {
            return Ok(());
        };
        let fits = self.length == 0 || self.length + more <= bytes;
        // A pipe or a terminal is not renamed.
        if fits || !self.file.metadata()?.is_file() {
            return Ok(());
        }
        let full = |number: u8| {
            let mut path = self.path.clone().into_os_string();
            path.push(format!(".full.{number}"));
            PathBuf::from(path)
        };
        for number in (1..files).rev() {
            match fs::rename(full(number), full(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if files > 0 {
            fs::rename(&self.path, full(1))?;
        } else {
            fs::remove_file(&self.path)?;
        }
        self.begin_again().map_err(io::Error::other)
    }

    fn begin_again(&mut self) -> Result<(), SinkError> {
        let limit = self.limit;
        *self = Self::open(&self.path)?;
        self.limit = limit;
        Ok(())
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
        self.make_room(lines.len() as u64)
            .map_err(|error| self.stopped(0, error))?;
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
            self.length += whole as u64;
            self.stopped(whole, error)
        })?;
        self.length += lines.len() as u64;
        Ok(())
    }

    fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        self.begin_again()
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_file_and_those_before_it_have_a_bound_and_only_whole_lines() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("events.json");
        let open = || {
            let mut file = LineFile::open(&path).unwrap();
            file.limit = Some(Limit {
                bytes: 1_000,
                files: 2,
            });
            file
        };
        let mut file = open();
        for number in 0..1_000 {
            if number == 500 {
                // Its length is known after a restart too.
                file = open();
            }
            let line = format!("{number:04} {}\n", "x".repeat(94));
            file.write_lines(line.as_bytes()).unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected = ["events.json", "events.json.full.1", "events.json.full.2"];
        assert_eq!(names, expected);
        let latest: String = expected
            .iter()
            .rev()
            .map(|name| fs::read_to_string(directory.path().join(name)).unwrap())
            .collect();
        let numbers: Vec<u32> = latest
            .lines()
            .map(|line| line[..4].parse().unwrap())
            .collect();
        assert_eq!(numbers, (970..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn one_write_that_is_longer_than_a_file_is_written() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("events.json");
        let mut file = LineFile::open(&path).unwrap();
        file.limit = Some(Limit {
            bytes: 10,
            files: 0,
        });
        for _ in 0..3 {
            file.write_lines(b"a line of twenty one\n").unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"a line of twenty one\n");
    }
}
