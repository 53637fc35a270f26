//! A small disk that is full now and then, with the file of one sink.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Mutex,
};

use nix::mount::{MsFlags, mount};

use super::receiver::Received;
use crate::{
    Moment,
    error::{Context as _, Error, Result},
    event::Event,
    kafka::scratch::unmount,
    util::lock::lock,
};

/// The directory of the client's disk, within a scratch directory.
pub(crate) const CLIENT: &str = "disk-client";
/// The same of the broker's.
pub(crate) const BROKER: &str = "disk-broker";

/// Its size: a rotation's worth of events fits several times.
const SIZE: &str = "size=24m";

/// A file system in memory of its own; gone when dropped.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
    /// Intervals in which the disk was full.
    full: Mutex<Vec<(Moment, Moment)>>,
    received: Mutex<Received>,
    /// Lines that are no events.
    torn: Mutex<Vec<String>>,
}

impl Disk {
    /// Makes one at `directory`.
    pub fn new(directory: PathBuf) -> Result<Self> {
        let make = || {
            fs::create_dir(&directory)?;
            mount(
                Some("kreset-lab"),
                &directory,
                Some("tmpfs"),
                MsFlags::empty(),
                Some(SIZE),
            )?;
            io::Result::Ok(())
        };
        make().context(|| format!("mount a disk at {}", directory.display()))?;
        Ok(Self {
            directory,
            full: Mutex::default(),
            received: Mutex::default(),
            torn: Mutex::default(),
        })
    }

    /// The sink's file.
    pub fn file(&self) -> PathBuf {
        self.directory.join("events.json")
    }

    /// Where it goes when it is rotated.
    pub fn rotated(&self) -> PathBuf {
        self.directory.join("events.json.1")
    }

    /// Fills it.
    pub fn fill(&self) -> Result<Moment> {
        let from = Moment::now();
        let fill = || {
            let mut file = File::create(self.filler())?;
            let bytes = vec![0; 64 << 10];
            for size in [bytes.len(), 512, 1] {
                while let Ok(1..) = file.write(&bytes[..size]) {}
            }
            io::Result::Ok(())
        };
        fill().context(|| "fill a disk".to_owned())?;
        Ok(from)
    }

    /// Frees what [`Self::fill`] has taken since `from`.
    pub fn empty(&self, from: Moment) -> Result<()> {
        fs::remove_file(self.filler()).context(|| "free a disk".to_owned())?;
        lock(&self.full).push((from, Moment::now()));
        Ok(())
    }

    /// Intervals in which it was full.
    pub fn full(&self) -> Vec<(Moment, Moment)> {
        lock(&self.full).clone()
    }

    /// Reads a file that no tracer writes to any more, and removes it.
    pub fn take(&self, path: &Path) -> Result<()> {
        let activity = || format!("read {}", path.display());
        let bytes = fs::read(path).context(activity)?;
        let mut received = lock(&self.received);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match id_of(line) {
                Some(id) => received.add(id),
                None => lock(&self.torn).push(String::from_utf8_lossy(line).into_owned()),
            }
        }
        drop(received);
        fs::remove_file(path).context(activity)
    }

    /// The events that were taken so far.
    pub fn received(&self) -> Received {
        lock(&self.received).clone()
    }

    /// Lines that are no events.
    pub fn torn(&self) -> Vec<String> {
        lock(&self.torn).clone()
    }

    fn filler(&self) -> PathBuf {
        self.directory.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.directory);
    }
}

/// The id of the event in a line, if the line is whole.
fn id_of(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    Event::parse(line).ok()?.id
}

/// Whether a path exists, as far as the system reports.
pub(crate) fn is_there(path: &Path) -> std::result::Result<bool, Error> {
    path.try_exists()
        .context(|| format!("look for {}", path.display()))
}
