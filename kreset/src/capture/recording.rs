//! Raw records of the kernel side in a text file, as `--record` writes them. Judged
//! again, they give the events of the run.
//!
//! The first line is a header in JSON. Each other line is one step of the run:
//!
//! | line | step |
//! |---|---|
//! | `@ NOW MONOTONIC BOOT` | the clocks of what follows: `CLOCK_MONOTONIC`, and the distances of it and of `CLOCK_BOOTTIME` to the wall clock, ns |
//! | `g ID PATH` | the path of a cgroup |
//! | hexadecimal digits | a record |
//! | `> UNTIL` | held events that are due by then are judged |
//! | `a` | alerts are written |
//! | `l SOURCE COUNT` | records were lost |
//! | `m PID START JSON` | what the host showed of the memory of a process, which started then (ns since boot) |
//! | `b PID START JSON` | what it showed of how busy that process was; of the records that follow |
//! | `s BROKER NETNS` | a socket listens again where connections were refused |

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, BufRead, BufWriter, Write as _},
    net::SocketAddr,
    path::Path,
};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use thiserror::Error;

use crate::{
    facts::{
        Decoder,
        load::HostLoad,
        process::{Memory, ProcessId},
    },
    util::{
        clock::{Clocks, WallClock},
        private,
    },
};

/// The header line, in JSON: what is needed to decode the records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    /// Ticks of jiffies per second of the kernel that wrote them.
    hz: u32,
    /// Names of that kernel's `enum sk_rst_reason`.
    reasons: BTreeMap<u32, String>,
    /// The host's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<SmolStr>,
}

/// Writes the steps of a run to a file.
#[derive(Debug)]
pub struct Recorder {
    file: BufWriter<File>,
    clocks: Option<Clocks>,
    cgroups: HashSet<u64>,
    /// An error of a step that could not report it.
    failed: Option<io::Error>,
}

impl Recorder {
    /// Creates or truncates the file. Only its owner can read it: it has the first
    /// bytes of connections, which may be secret.
    ///
    /// # Errors
    ///
    /// If it cannot be created, is a symbolic link, or is another user's.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(private::create(path)?),
            clocks: None,
            cgroups: HashSet::new(),
            failed: None,
        })
    }

    /// Writes the header.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn begin(&mut self, decoder: &Decoder, host: &SmolStr) -> io::Result<()> {
        let header = Header {
            hz: decoder.hz,
            reasons: decoder.reasons.clone(),
            host: Some(host.clone()),
        };
        serde_json::to_writer(&mut self.file, &header)?;
        self.file.write_all(b"\n")
    }

    /// Adds a record, and the path of its cgroup.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn take(
        &mut self,
        record: &[u8],
        clocks: Clocks,
        cgroup: Option<(u64, SmolStr)>,
    ) -> io::Result<()> {
        self.set_clocks(clocks)?;
        if let Some((id, path)) = cgroup
            && self.cgroups.insert(id)
        {
            // No name has a line break (kernel: `cgroup_mkdir`).
            writeln!(self.file, "g {id} {path}")?;
        }
        for byte in record {
            write!(self.file, "{byte:02x}")?;
        }
        self.file.write_all(b"\n")
    }

    /// Adds that held events are judged.
    pub fn release(&mut self, until_ns: u64, clocks: Clocks) {
        self.step(clocks, format_args!("> {until_ns}"));
    }

    /// Adds that alerts are written.
    pub fn alert(&mut self, clocks: Clocks) {
        self.step(clocks, format_args!("a"));
    }

    /// Adds that records were lost.
    pub fn loss(&mut self, source: &str, count: u64, clocks: Clocks) {
        self.step(clocks, format_args!("l {source} {count}"));
    }

    /// Adds what the host showed of the memory of a process.
    pub fn memory(&mut self, process: ProcessId, memory: &Memory, clocks: Clocks) {
        self.of_process('m', process, memory, clocks);
    }

    /// Adds what the host showed of how busy a process was; before the records that it is of.
    pub fn load(&mut self, process: ProcessId, load: &HostLoad, clocks: Clocks) {
        self.of_process('b', process, load, clocks);
    }

    fn of_process(&mut self, step: char, id: ProcessId, shown: &impl Serialize, clocks: Clocks) {
        let ProcessId {
            pid,
            start_boottime_ns,
        } = id;
        match serde_json::to_string(shown) {
            Ok(json) => self.step(
                clocks,
                format_args!("{step} {pid} {start_boottime_ns} {json}"),
            ),
            Err(error) => {
                self.failed.get_or_insert_with(|| error.into());
            }
        }
    }

    /// Adds that a socket listens again.
    pub fn listens(&mut self, broker: SocketAddr, netns: u32, clocks: Clocks) {
        self.step(clocks, format_args!("s {broker} {netns}"));
    }

    fn step(&mut self, clocks: Clocks, line: std::fmt::Arguments<'_>) {
        let written = self
            .set_clocks(clocks)
            .and_then(|()| writeln!(self.file, "{line}"));
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }

    fn set_clocks(&mut self, clocks: Clocks) -> io::Result<()> {
        if self.clocks == Some(clocks) {
            return Ok(());
        }
        self.clocks = Some(clocks);
        writeln!(
            self.file,
            "@ {} {} {}",
            clocks.now_ns,
            clocks.monotonic.offset_ns(),
            clocks.boot.offset_ns()
        )
    }

    /// Writes buffered records.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.file.flush(),
        }
    }
}

/// Why a text is not a recording.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The first line is not a header.
    #[error("line 1 is not a recording header: {0}")]
    Header(#[from] serde_json::Error),
    /// A line is no step.
    #[error("line {0} is not a record in hexadecimal, or another step of a run")]
    Line(usize),
    /// It cannot be read on.
    #[error("after line {0}: {1}")]
    Read(usize, #[source] io::Error),
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The clocks of what follows.
    Clocks(Clocks),
    /// The path of a cgroup.
    Cgroup(u64, SmolStr),
    /// A record of the kernel side.
    Record(Vec<u8>),
    /// Held events that are due by then (monotonic ns) are judged.
    Release(u64),
    /// Alerts are written.
    Alert,
    /// Records were lost: where, and how many.
    Loss(SmolStr, u64),
    /// What the host showed of the memory of a process.
    Memory(ProcessId, Memory),
    /// What it showed of how busy a process was.
    Load(ProcessId, HostLoad),
    /// A socket listens again: the broker, and its network namespace.
    Listens(SocketAddr, u32),
}

/// Reads the steps of a recording one by one.
#[derive(Debug)]
pub struct Steps<R> {
    lines: R,
    number: usize,
    line: Vec<u8>,
    /// Decodes the records.
    pub decoder: Decoder,
    /// The host that it was made on, where it names it.
    pub host: Option<SmolStr>,
}

impl<R: BufRead> Steps<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// If it is not a recording.
    pub fn open(mut lines: R) -> Result<Self, RecordingError> {
        let mut line = Vec::new();
        lines
            .read_until(b'\n', &mut line)
            .map_err(|error| RecordingError::Read(0, error))?;
        let Header { hz, reasons, host } = serde_json::from_slice(&line)?;
        Ok(Self {
            lines,
            number: 1,
            line,
            decoder: Decoder {
                hz: hz.max(1),
                reasons,
            },
            host,
        })
    }

    /// The next step; `None` at the end.
    ///
    /// # Errors
    ///
    /// If a line is not a step.
    pub fn step(&mut self) -> Result<Option<Step>, RecordingError> {
        self.line.clear();
        let length = self
            .lines
            .read_until(b'\n', &mut self.line)
            .map_err(|error| RecordingError::Read(self.number, error))?;
        if length == 0 {
            return Ok(None);
        }
        self.number += 1;
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let step = step(line).ok_or(RecordingError::Line(self.number))?;
        Ok(Some(step))
    }
}

fn step(line: &[u8]) -> Option<Step> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split(' ');
    Some(match words.next()? {
        "@" => {
            let now_ns = words.next()?.parse().ok()?;
            let mut clock = || Some(WallClock::new(words.next()?.parse().ok()?, 0));
            Step::Clocks(Clocks {
                monotonic: clock()?,
                boot: clock()?,
                now_ns,
            })
        }
        "g" => {
            let id = words.next()?.parse().ok()?;
            let path = text.splitn(3, ' ').nth(2)?;
            Step::Cgroup(id, path.into())
        }
        ">" => Step::Release(words.next()?.parse().ok()?),
        "a" => Step::Alert,
        step @ ("m" | "b") => {
            let process = ProcessId {
                pid: words.next()?.parse().ok()?,
                start_boottime_ns: words.next()?.parse().ok()?,
            };
            let json = text.splitn(4, ' ').nth(3)?;
            if step == "m" {
                Step::Memory(process, serde_json::from_str(json).ok()?)
            } else {
                Step::Load(process, serde_json::from_str(json).ok()?)
            }
        }
        "l" => Step::Loss(words.next()?.into(), words.next()?.parse().ok()?),
        "s" => Step::Listens(words.next()?.parse().ok()?, words.next()?.parse().ok()?),
        _ => Step::Record(bytes(line)?),
    })
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
        let mut steps = Steps::open(text.as_bytes())?;
        let mut records = Vec::new();
        while let Some(step) = steps.step()? {
            if let Step::Record(record) = step {
                records.push(record);
            }
        }
        Ok(Self {
            decoder: steps.decoder,
            records,
        })
    }
}

fn bytes(line: &[u8]) -> Option<Vec<u8>> {
    if !line.len().is_multiple_of(2) {
        return None;
    }
    line.chunks_exact(2)
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
    use crate::facts::process::MemoryLimit;

    #[test]
    fn what_is_written_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records");
        // Left by an earlier run, readable by everybody.
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let decoder = Decoder {
            hz: 250,
            reasons: BTreeMap::from([(1, "NO_SOCKET".to_owned())]),
        };
        let mut recorder = Recorder::create(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let clocks = Clocks {
            monotonic: WallClock::new(1_700_000_000_000_000_000, 0),
            boot: WallClock::new(1_600_000_000_000_000_000, 0),
            now_ns: 77,
        };
        let cgroup = Some((9, SmolStr::new("/a b")));
        recorder.begin(&decoder, &"h".into()).unwrap();
        recorder
            .take(&[0, 1, 0xfe, 0xff], clocks, cgroup.clone())
            .unwrap();
        recorder.take(&[], clocks, cgroup).unwrap();
        recorder.release(78, clocks);
        recorder.alert(clocks);
        recorder.loss("kernel", 3, clocks);
        let process = ProcessId {
            pid: 4242,
            start_boottime_ns: 5,
        };
        let memory = Memory::Limit(MemoryLimit {
            of: "a b".into(),
            bytes: 6 << 30,
        });
        recorder.memory(process, &memory, clocks);
        let broker: SocketAddr = "[2001:db8::1]:9092".parse().unwrap();
        recorder.listens(broker, 4_026_531_840, clocks);
        recorder.flush().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut steps = Steps::open(text.as_bytes()).unwrap();
        assert_eq!(
            (steps.decoder.hz, &steps.decoder.reasons),
            (250, &decoder.reasons)
        );
        assert_eq!(steps.host.as_deref(), Some("h"));
        let read: Vec<_> = std::iter::from_fn(|| steps.step().unwrap()).collect();
        assert_eq!(
            read,
            [
                Step::Clocks(clocks),
                Step::Cgroup(9, "/a b".into()),
                Step::Record(vec![0, 1, 0xfe, 0xff]),
                Step::Record(vec![]),
                Step::Release(78),
                Step::Alert,
                Step::Loss("kernel".into(), 3),
                Step::Memory(process, memory),
                Step::Listens(broker, 4_026_531_840),
            ]
        );
        let recording = Recording::parse(&text).unwrap();
        assert_eq!(recording.records, [vec![0, 1, 0xfe, 0xff], vec![]]);
    }

    #[test]
    fn what_is_no_recording_says_where() {
        assert!(matches!(
            Recording::parse(""),
            Err(RecordingError::Header(_))
        ));
        for bad in [
            "0",
            "zz",
            "0g",
            "@ 1",
            "> x",
            "l kernel",
            "m 1 2 {}",
            "s 10.0.0.1 7",
        ] {
            let text = format!("{{\"hz\":250,\"reasons\":{{}}}}\n00\n{bad}\n");
            let error = Recording::parse(&text).unwrap_err().to_string();
            assert!(error.starts_with("line 3 is not a record"), "{error}");
        }
    }
}
