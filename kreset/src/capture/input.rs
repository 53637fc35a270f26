//! Files as they come: compressed or not, and what is in them.

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use thiserror::Error;

use crate::util::decompress::decompress;

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub enum InputError {
    /// It cannot be opened or read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The error of the system call.
        source: io::Error,
    },
    /// It has events, which were judged already.
    #[error("{path} has events, which are judged already; kreset-trace report reads them")]
    Events {
        /// The file.
        path: String,
    },
    /// It is none of what is read.
    #[error(
        "{path} is neither a capture nor a recording: it looks like {looks_like}; expected pcap or \
         pcapng (tcpdump -w, Wireshark), or a file of kreset-trace --record, each also as .gz or .zst"
    )]
    Unknown {
        /// The file.
        path: String,
        /// What it looks like.
        looks_like: &'static str,
    },
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Packets: pcap or pcapng.
    Capture,
    /// Records of `--record`.
    Recording,
    /// Events of `--format json`, one per line.
    Events,
}

/// A file that is being read.
pub struct Input {
    /// What it holds.
    pub content: Content,
    /// Its bytes, uncompressed.
    pub reader: Box<dyn Read + Send>,
    /// How long the file is, compressed or not; `None` for a pipe.
    pub length: Option<u64>,
    /// How much of it was read.
    pub read: Arc<AtomicU64>,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input")
            .field("content", &self.content)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buf)?;
        self.read.fetch_add(length as u64, Relaxed);
        Ok(length)
    }
}

/// Bytes that show what a file is.
const HEAD: usize = 512;

impl Input {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is none of what is read.
    pub fn open(path: &Path) -> Result<Self, InputError> {
        let name = path.display().to_string();
        let failed = |source| InputError::Read {
            path: name.clone(),
            source,
        };
        let read = Arc::new(AtomicU64::new(0));
        let (file, length): (Box<dyn Read + Send>, _) = if path.as_os_str() == "-" {
            (Box::new(io::stdin()), None)
        } else {
            let mut file = File::open(path).map_err(failed)?;
            if file.metadata().map_err(failed)?.is_dir() {
                return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
            }
            let length = file.seek(io::SeekFrom::End(0)).ok();
            if length.is_some() {
                file.rewind().map_err(failed)?;
            }
            (Box::new(file), length)
        };
        let counted = Counted {
            inner: file,
            read: Arc::clone(&read),
        };
        let (plain, _is_compressed) = decompress(Box::new(counted)).map_err(failed)?;
        let (head, reader) = peek(plain).map_err(failed)?;
        let content = content(&head).map_err(|looks_like| InputError::Unknown {
            path: name.clone(),
            looks_like,
        })?;
        Ok(Self {
            content,
            reader: Box::new(reader),
            length,
            read,
        })
    }
}

/// A reader that begins with bytes that were read already.
type Whole<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// The first bytes, and a reader that begins with them.
fn peek<R: Read>(mut reader: R) -> io::Result<(Vec<u8>, Whole<R>)> {
    let mut head = vec![0; HEAD];
    let mut length = 0;
    while length < HEAD {
        match reader.read(&mut head[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What is there may still show what it is.
            Err(_) if length > 0 => break,
            Err(error) => return Err(error),
        }
    }
    head.truncate(length);
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// What a file holds, by its first bytes; what it looks like otherwise.
fn content(head: &[u8]) -> Result<Content, &'static str> {
    const PCAP: [[u8; 4]; 4] = [
        [0xd4, 0xc3, 0xb2, 0xa1],
        [0xa1, 0xb2, 0xc3, 0xd4],
        [0x4d, 0x3c, 0xb2, 0xa1],
        [0xa1, 0xb2, 0x3c, 0x4d],
    ];
    const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
    let Some(magic) = head.first_chunk::<4>() else {
        return Err(if head.is_empty() {
            "an empty file"
        } else {
            "a file of a few bytes"
        });
    };
    if PCAP.contains(magic) || *magic == PCAPNG {
        return Ok(Content::Capture);
    }
    if head.starts_with(b"{\"hz\":") {
        return Ok(Content::Recording);
    }
    let text = std::str::from_utf8(head).is_ok()
        || head
            .iter()
            .all(|byte| *byte >= b' ' || byte.is_ascii_whitespace());
    if text && head.starts_with(b"{") {
        return Ok(Content::Events);
    }
    Err(match head {
        [0x7f, b'E', b'L', b'F', ..] => "a program",
        [b'P', b'K', 3, 4, ..] => "a zip archive",
        [b's', b'n', b'o', b'o', b'p', ..] => "a capture of snoop, which editcap -F pcap converts",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz, which xz -dc decompresses",
        [b'B', b'Z', b'h', ..] => "bzip2, which bzip2 -dc decompresses",
        [0xa1, 0xb2, 0xcd, 0x34, ..] | [0x34, 0xcd, 0xb2, 0xa1, ..] => {
            "a capture in a modified format, which editcap -F pcap converts"
        }
        _ if text => "text",
        _ => "unknown data",
    })
}
