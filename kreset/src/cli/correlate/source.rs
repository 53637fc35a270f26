//! Lines of a file that may be compressed, and may grow.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, Read},
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::util::decompress::decompress;

/// The longest line: an event has a limited size.
const LONGEST: usize = 4 << 20;

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// It cannot be opened or read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is compressed, and may not grow.
    #[error("cannot follow {path}: it is compressed; decompress it, or leave out --follow")]
    Compressed {
        /// The file.
        path: String,
    },
}

/// A file.
pub(super) struct Source {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    /// The line, or its part that has been read.
    line: Vec<u8>,
    is_whole: bool,
    number: u64,
    latest_ns: i64,
    is_ended: bool,
    /// Whether what is left of a line at the end may be continued.
    grows: bool,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Opens a file, or standard input for `-`.
    pub(super) fn open(path: &Path, follow: bool) -> Result<Self, SourceError> {
        let wrong = |source| SourceError::Read {
            path: path.display().to_string(),
            source,
        };
        let input: Box<dyn Read + Send> = if path.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).map_err(wrong)?)
        };
        let (reader, is_compressed) = decompress(input).map_err(wrong)?;
        if is_compressed && follow {
            return Err(SourceError::Compressed {
                path: path.display().to_string(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            reader,
            line: Vec::new(),
            is_whole: false,
            number: 0,
            latest_ns: i64::MIN,
            is_ended: false,
            grows: follow,
        })
    }

    /// The next line without its end; `None` at the end of the file, where half a line of a
    /// growing file waits for the rest.
    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>, SourceError> {
        if self.is_whole {
            self.line.clear();
            self.is_whole = false;
        }
        let wrong = |path: &Path, source| SourceError::Read {
            path: path.display().to_string(),
            source,
        };
        loop {
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(wrong(&self.path, error)),
            };
            if bytes.is_empty() {
                self.is_ended = true;
                if self.grows || self.line.is_empty() {
                    return Ok(None);
                }
                break;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let room = LONGEST.saturating_sub(self.line.len());
            // One that is too long is no event, and its beginning is enough to say so.
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.is_whole = true;
        self.number += 1;
        Ok(Some(&self.line))
    }

    /// An event of the file happened then.
    pub(super) fn passed(&mut self, at_ns: i64) {
        self.latest_ns = self.latest_ns.max(at_ns);
    }

    /// When the latest event of the file happened.
    pub(super) const fn latest_ns(&self) -> i64 {
        self.latest_ns
    }

    /// Nothing more was there to read.
    pub(super) const fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// The file may have grown.
    pub(super) const fn look_again(&mut self) {
        self.is_ended = false;
    }

    /// `FILE:LINE` of the line that was read last.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.number)
    }
}
