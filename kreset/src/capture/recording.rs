//! Raw records of the kernel side in a text file: a header line, then one record
//! per line in hexadecimal. A recording can be replayed through the classifier.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::facts::Decoder;

/// The header line, in JSON: what is needed to decode the records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    /// Ticks of jiffies per second of the kernel that wrote them.
    hz: u32,
    /// Names of that kernel's `enum sk_rst_reason`.
    reasons: BTreeMap<u32, String>,
}

/// Writes records to a file.
#[derive(Debug)]
pub struct Recorder {
    file: BufWriter<File>,
}

impl Recorder {
    /// Creates or truncates the file. Only its owner can read it: it has the first
    /// bytes of connections, which may be secret.
    ///
    /// # Errors
    ///
    /// If it cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        Ok(Self {
            file: BufWriter::new(file),
        })
    }

    /// Writes the header.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn begin(&mut self, decoder: &Decoder) -> io::Result<()> {
        let header = Header {
            hz: decoder.hz,
            reasons: decoder.reasons.clone(),
        };
        serde_json::to_writer(&mut self.file, &header)?;
        self.file.write_all(b"\n")
    }

    /// Adds one record.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn add(&mut self, record: &[u8]) -> io::Result<()> {
        for byte in record {
            write!(self.file, "{byte:02x}")?;
        }
        self.file.write_all(b"\n")
    }

    /// Writes buffered records.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Why a text is not a recording.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The first line is not a header.
    #[error("line 1 is not a recording header: {0}")]
    Header(#[from] serde_json::Error),
    /// A line is not hexadecimal.
    #[error("line {0} is not a record in hexadecimal")]
    Line(usize),
}

/// A recording that was read.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Decodes the records.
    pub decoder: Decoder,
    /// The records, oldest first.
    pub records: Vec<Vec<u8>>,
}

impl Recording {
    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// If it is not a recording.
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        let mut lines = text.lines();
        let Header { hz, reasons } = serde_json::from_str(lines.next().unwrap_or_default())?;
        let records = lines
            .enumerate()
            .map(|(index, line)| bytes(line).ok_or(RecordingError::Line(index + 2)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            decoder: Decoder { hz, reasons },
            records,
        })
    }
}

fn bytes(line: &str) -> Option<Vec<u8>> {
    let digits = line.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records");
        let decoder = Decoder {
            hz: 250,
            reasons: BTreeMap::from([(1, "NO_SOCKET".to_owned())]),
        };
        let mut recorder = Recorder::create(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        recorder.begin(&decoder).unwrap();
        recorder.add(&[0, 1, 0xfe, 0xff]).unwrap();
        recorder.add(&[]).unwrap();
        recorder.flush().unwrap();
        let recording = Recording::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(recording.records, [vec![0, 1, 0xfe, 0xff], vec![]]);
        assert_eq!(recording.decoder.hz, 250);
        assert_eq!(recording.decoder.reasons, decoder.reasons);
    }

    #[test]
    fn what_is_no_recording_says_where() {
        assert!(matches!(
            Recording::parse(""),
            Err(RecordingError::Header(_))
        ));
        for bad in ["0", "zz", "0g"] {
            let text = format!("{{\"hz\":250,\"reasons\":{{}}}}\n00\n{bad}\n");
            let error = Recording::parse(&text).unwrap_err().to_string();
            assert_eq!(error, "line 3 is not a record in hexadecimal");
        }
    }
}
