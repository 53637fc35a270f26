//! Lines of a file that may be compressed, and may grow.

use std::{
    fmt,
    fs::{self, File, Metadata},
    io::{self, BufRead, BufReader, Read},
    mem,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use memchr::memchr;
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
    /// Bytes at the beginning of what the reader has that were returned as a line.
    returned: usize,
    /// A line that did not come at once, or its part that has been read.
    line: Vec<u8>,
    is_whole: bool,
    number: u64,
    latest_ns: i64,
    is_ended: bool,
    /// Whether what is left of a line at the end may be continued.
    grows: bool,
    /// Which file it is, if it is a file.
    identity: Option<Identity>,
    /// Bytes of it that were read.
    used: u64,
    /// What stands in its place since it was rotated.
    successor: Option<File>,
}

/// A file, whatever its name.
type Identity = (u64, u64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
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
        let mut opened = None;
        let input: Box<dyn Read + Send> = if path.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            let file = File::open(path).map_err(wrong)?;
            opened = Some(identity(&file.metadata().map_err(wrong)?));
            Box::new(file)
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
            returned: 0,
            line: Vec::new(),
            is_whole: false,
            number: 0,
            latest_ns: i64::MIN,
            is_ended: false,
            grows: follow,
            identity: opened,
            used: 0,
            successor: None,
        })
    }

    /// The next line without its end; `None` at the end of the file, where half a line of a
    /// growing file waits for the rest.
    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>, SourceError> {
        self.reader.consume(mem::take(&mut self.returned));
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
                if let Some(file) = self.successor.take() {
                    let metadata = file.metadata();
                    let metadata = metadata.map_err(|source| wrong(&self.path, source))?;
                    self.identity = Some(identity(&metadata));
                    self.used = 0;
                    self.reader = Box::new(BufReader::new(file));
                    if self.line.is_empty() {
                        continue;
                    }
                    // Nobody will write the rest of it.
                    break;
                }
                self.is_ended = true;
                if self.grows || self.line.is_empty() {
                    return Ok(None);
                }
                break;
            }
            let end = memchr(b'\n', bytes);
            if let Some(length) = end.filter(|_| self.line.is_empty()) {
                // Nearly every one: as it stands, without a copy.
                self.returned = length + 1;
                self.used += self.returned as u64;
                self.number += 1;
                let bytes = self.reader.fill_buf();
                let bytes = bytes.map_err(|source| wrong(&self.path, source))?;
                return Ok(bytes.get(..length));
            }
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let room = LONGEST.saturating_sub(self.line.len());
            // One that is too long is no event, and its beginning is enough to say so.
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            self.used += used as u64;
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

    /// The file may have grown, or been rotated: renamed and begun anew, or emptied.
    pub(super) fn look_again(&mut self) {
        self.is_ended = false;
        let Some(known) = self.identity else {
            return;
        };
        // Between the renaming and the new beginning there is none: the next look finds it.
        let Ok(metadata) = fs::metadata(&self.path) else {
            return;
        };
        if identity(&metadata) != known || metadata.len() < self.used {
            self.successor = File::open(&self.path).ok();
        }
    }

    /// `FILE:LINE` of the line that was read last.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.number)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use tempfile::TempDir;

    use super::*;

    /// The lines that are there now.
    fn lines(source: &mut Source) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(line) = source.next_line().unwrap() {
            all.push(String::from_utf8(line.to_vec()).unwrap());
        }
        all
    }

    fn append(path: &Path, text: &str) {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_file_is_read_plain_and_compressed() {
        let directory = TempDir::new().unwrap();
        let text = b"one\ntwo\nthree";
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text).unwrap();
        let zstd = compress_to_vec(&text[..], CompressionLevel::Uncompressed);
        for (name, bytes) in [
            ("plain", text.to_vec()),
            ("a.gz", gzip.finish().unwrap()),
            ("a.zst", zstd),
        ] {
            let path = directory.path().join(name);
            fs::write(&path, bytes).unwrap();
            let mut source = Source::open(&path, false).unwrap();
            assert_eq!(lines(&mut source), ["one", "two", "three"], "{name}");
            assert!(source.is_ended());
            let followed = Source::open(&path, true);
            assert_eq!(followed.is_ok(), name == "plain", "{followed:?}");
        }
    }

    #[test]
    fn half_a_line_of_a_growing_file_waits_for_the_rest() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("events");
        append(&path, "one\ntw");
        let mut source = Source::open(&path, true).unwrap();
        assert_eq!(lines(&mut source), ["one"]);
        append(&path, "o");
        source.look_again();
        assert!(lines(&mut source).is_empty());
        append(&path, "\nthree\n");
        source.look_again();
        assert_eq!(lines(&mut source), ["two", "three"]);
        assert!(source.place().ends_with("events:3"));
    }

    #[test]
    fn a_file_that_is_rotated_is_read_to_its_end_and_then_the_new_one() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("events");
        append(&path, "one\n");
        let mut source = Source::open(&path, true).unwrap();
        assert_eq!(lines(&mut source), ["one"]);
        // Written before the renaming, and half a line that nobody will complete.
        append(&path, "two\nha");
        fs::rename(&path, directory.path().join("events.1")).unwrap();
        source.look_again();
        assert_eq!(lines(&mut source), ["two"]);
        append(&path, "three\n");
        source.look_again();
        assert_eq!(lines(&mut source), ["ha", "three"]);
        append(&path, "four\n");
        source.look_again();
        assert_eq!(lines(&mut source), ["four"]);
        // logrotate's `copytruncate`.
        fs::write(&path, "five\n").unwrap();
        source.look_again();
        assert_eq!(lines(&mut source), ["five"]);
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("events");
        fs::write(
            &path,
            [vec![b'x'; 2 * LONGEST], b"\ntwo\n".to_vec()].concat(),
        )
        .unwrap();
        let mut source = Source::open(&path, false).unwrap();
        assert_eq!(source.next_line().unwrap().unwrap().len(), LONGEST);
        assert_eq!(lines(&mut source), ["two"]);
    }
}
