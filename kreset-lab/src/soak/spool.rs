//! What a tracer's spools have, read from their files alone: what outlives the tracer.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;

use super::receiver::{Speech, id_in, id_of};
use crate::error::{Context as _, Result};

/// Bytes before the first record of a segment: see `kreset/src/delivery/spool/segment.rs`.
const HEADER: usize = 20;
/// What a record begins with.
const MARK: [u8; 4] = [0xf5, 0xc0, 0xfe, 0xc1];
/// Its mark, length, number and checksum.
const PREFIX: usize = 20;

/// The spool of one sink.
#[derive(Clone, Debug)]
pub struct Spool {
    directory: PathBuf,
    speech: Speech,
}

impl Spool {
    /// Of the sink that speaks so, with the default name, in the tracer's directory of spools: each
    /// is `NAME.TYPE` (`kreset/src/sink/mod.rs`).
    pub fn new(spools: &Path, speech: Speech) -> Self {
        let name = match speech {
            Speech::Syslog => "syslog.syslog",
            Speech::Otlp => "otlp.otlp",
        };
        Self {
            directory: spools.join(name),
            speech,
        }
    }

    /// The events in its segments, delivered ones among them.
    pub fn ids(&self) -> Result<BTreeSet<String>> {
        let mut ids = BTreeSet::new();
        let mut read = || {
            for entry in fs::read_dir(&self.directory)? {
                let path = entry?.path();
                if path.extension().is_some_and(|it| it == "spool") {
                    match fs::read(&path) {
                        Ok(bytes) => {
                            ids.extend(payloads(&bytes).filter_map(|it| self.id(it)));
                        }
                        // All of it was delivered meanwhile.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            io::Result::Ok(())
        };
        read().context(|| format!("read the spool {}", self.directory.display()))?;
        Ok(ids)
    }

    fn id(&self, payload: &[u8]) -> Option<String> {
        match self.speech {
            Speech::Syslog => id_in(payload),
            Speech::Otlp => id_of(&LogRecord::decode(payload).ok()?),
        }
    }
}

/// The payloads of a segment's whole records.
fn payloads(segment: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = segment.get(HEADER..).unwrap_or_default();
    std::iter::from_fn(move || {
        let after = rest.strip_prefix(&MARK)?;
        let length = u32::from_le_bytes(*after.first_chunk()?);
        let end = PREFIX.checked_add(usize::try_from(length).ok()?)?;
        let payload = rest.get(PREFIX..end)?;
        rest = &rest[end..];
        Some(payload)
    })
}

#[cfg(test)]
mod tests {
    use kreset::delivery::spool;

    use super::*;

    #[test]
    fn what_the_tracer_writes_is_read_and_half_a_record_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("syslog.syslog");
        let mut written = spool::Spool::open(&place, u64::MAX).expect("it opens");
        let ours = Spool::new(directory.path(), Speech::Syslog);
        assert_eq!(ours.ids().expect("it is read"), BTreeSet::new());
        let events =
            ["1-2-a", "1-2-b"].map(|id| format!("<29>1 - h k 1 reset - {{\"id\":\"{id}\"}}"));
        written.append(&events).expect("there is room");
        let ids = ["1-2-a", "1-2-b"].map(str::to_owned);
        assert_eq!(ours.ids().expect("it is read"), ids.clone().into());
        let segment = fs::read_dir(&place)
            .expect("it is there")
            .map(|entry| entry.expect("it is there").path())
            .find(|path| path.extension().is_some_and(|it| it == "spool"))
            .expect("a segment");
        let bytes = fs::read(&segment).expect("it is read");
        fs::write(&segment, &bytes[..bytes.len() - 1]).expect("it is written");
        assert_eq!(ours.ids().expect("it is read"), [ids[0].clone()].into());
    }
}
