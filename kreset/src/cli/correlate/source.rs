//! Lines of a file that may be compressed, and may grow.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Chain, Cursor, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use thiserror::Error;

/// Bytes read at once.
const BUFFER: usize = 1 << 18;
/// The longest line: an event has a limited size.
const LONGEST: usize = 4 << 20;
/// What gzip and zstd files begin with (RFC 1952, RFC 8878).
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

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
    reader: Box<dyn BufRead>,
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
        let input: Box<dyn Read> = if path.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).map_err(wrong)?)
        };
        let (reader, is_compressed) = decompressed(input).map_err(wrong)?;
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

fn decompressed(mut input: Box<dyn Read>) -> io::Result<(Box<dyn BufRead>, bool)> {
    let mut head = Vec::with_capacity(ZSTD.len());
    input
        .by_ref()
        .take(ZSTD.len() as u64)
        .read_to_end(&mut head)?;
    let whole = BufReader::with_capacity(BUFFER, Cursor::new(head.clone()).chain(input));
    Ok(if head.starts_with(&GZIP) {
        let plain = MultiGzDecoder::new(whole);
        (Box::new(BufReader::with_capacity(BUFFER, plain)), true)
    } else if head == ZSTD {
        let plain = Frames {
            input: Some(whole),
            frame: None,
        };
        (Box::new(BufReader::with_capacity(BUFFER, plain)), true)
    } else {
        (Box::new(whole), false)
    })
}

type Whole = BufReader<Chain<Cursor<Vec<u8>>, Box<dyn Read>>>;

/// The frames of a zstd file one after the other, as `cat a.zst b.zst` makes it.
struct Frames {
    /// What is left, between frames.
    input: Option<Whole>,
    frame: Option<StreamingDecoder<Whole, ruzstd::decoding::FrameDecoder>>,
}

impl Read for Frames {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let count = frame.read(buf)?;
                if count > 0 || buf.is_empty() {
                    return Ok(count);
                }
                self.input = self.frame.take().map(StreamingDecoder::into_inner);
            }
            let Some(mut input) = self.input.take() else {
                return Ok(0);
            };
            if input.fill_buf()?.is_empty() {
                self.input = Some(input);
                return Ok(0);
            }
            let frame = StreamingDecoder::new(input).map_err(io::Error::other)?;
            self.frame = Some(frame);
        }
    }
}
