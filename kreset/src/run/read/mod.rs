//! Judges files as a run judges its host: recordings of `--record`, and packet captures.
//!
//! Each host has a memory of its own; files of one capture that was split belong to one
//! host, in the order of their first packets.

mod capture;
pub mod logs;
mod names;
mod progress;
mod recording;

use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use smol_str::SmolStr;

use self::{capture::CaptureReader, progress::Progress};
use super::{
    RunError,
    options::Options,
    pipeline::{Parts, Pipeline},
    sinks::{self, Sinks},
};
use crate::{
    capture::{
        follow,
        input::{Content, Input, InputError},
        logs::Logs,
        viewpoint::Ends,
    },
    delivery::Delivery,
    event::Source,
    facts::Decoder,
    util::clock::Clocks,
};

/// Time limit for the sinks to accept what was judged.
const PATIENCE: Duration = Duration::from_mins(1);
/// Records between two looks at the sinks.
const BATCH: u32 = 64;

/// Judges files, each host after the other.
///
/// # Errors
///
/// If a file is of no use, or the output fails.
pub fn read(options: &Options, files: &[PathBuf], seen_from: Option<Ends>) -> Result<(), RunError> {
    let Sinks { delivery, .. } = sinks::open(options)?.start()?;
    let mut delivery = judge(options, files, seen_from, delivery)?;
    sinks::drain_at_end(options, &mut delivery)
}

/// Judges files into `delivery`, and gives it back.
///
/// # Errors
///
/// If a file is of no use, or the output fails.
pub fn judge(
    options: &Options,
    files: &[PathBuf],
    seen_from: Option<Ends>,
    delivery: Delivery,
) -> Result<Delivery, RunError> {
    let mut reader = Reader {
        options,
        delivery: Some(delivery),
        left: options.count,
        logs: Arc::new(logs::open(&options.broker_logs, &options.client_logs)?),
    };
    for (host, paths) in names::hosts(files) {
        reader.host(&host, &paths, seen_from)?;
    }
    Ok(reader.delivery.take().unwrap_or_default())
}

struct Reader<'a> {
    options: &'a Options,
    /// Where events go; taken while a host is read.
    delivery: Option<Delivery>,
    /// Events to show before the end.
    left: Option<NonZeroU64>,
    /// What brokers and clients wrote.
    logs: Arc<Logs>,
}

impl Reader<'_> {
    fn host(
        &mut self,
        host: &SmolStr,
        paths: &[PathBuf],
        seen_from: Option<Ends>,
    ) -> Result<(), RunError> {
        let mut captures: Option<CaptureReader> = None;
        let mut paths: Vec<(u64, &PathBuf)> = paths.iter().map(|path| (0, path)).collect();
        if paths.len() > 1 {
            for (first_ns, path) in &mut paths {
                *first_ns = capture::first_ns(path);
            }
            paths.sort_by_key(|(first_ns, _)| *first_ns);
        }
        for (_, path) in paths {
            let input = Input::open(path)?;
            let progress = Progress::new(path, &input);
            match input.content {
                Content::Recording => {
                    let delivery = self.delivery.take().unwrap_or_default();
                    let ready = |decoder, named: Option<SmolStr>| {
                        let host = named.unwrap_or_else(|| host.clone());
                        self.pipeline(decoder, host, delivery, Source::Recording)
                    };
                    self.delivery = Some(recording::read(path, input, ready, &progress)?);
                }
                Content::Capture => {
                    let mut reader = if let Some(reader) = captures.take() {
                        reader
                    } else {
                        let decoder = Decoder {
                            hz: follow::HZ,
                            reasons: BTreeMap::new(),
                        };
                        let delivery = self.delivery.take().unwrap_or_default();
                        let pipeline =
                            self.pipeline(decoder, host.clone(), delivery, Source::Capture);
                        CaptureReader::new(self.options, seen_from, pipeline)
                    };
                    reader.read(path, input.reader, &progress)?;
                    captures = Some(reader);
                }
                Content::Events => {
                    return Err(InputError::Events {
                        path: path.display().to_string(),
                    }
                    .into());
                }
            }
        }
        if let Some(captures) = captures {
            self.delivery = Some(captures.end()?);
        }
        Ok(())
    }

    /// The pipeline of one host.
    fn pipeline(
        &self,
        decoder: Decoder,
        host: SmolStr,
        delivery: Delivery,
        source: Source,
    ) -> Pipeline {
        let mut pipeline = Pipeline::new(Parts {
            count: self.left,
            source,
            ..Parts::of_records(self.options, decoder, host, delivery)
        });
        pipeline.set_logs(Arc::clone(&self.logs));
        pipeline
    }
}

/// Hands what was judged to the sinks, and waits until they have room.
fn flush(pipeline: &mut Pipeline) -> Result<(), RunError> {
    pipeline.flush_and_settle(PATIENCE)?;
    match pipeline.delivery().take_failure() {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// Judges what is left, and counts.
fn end(pipeline: &mut Pipeline, began_ns: u64, clocks: Clocks) -> Result<(), RunError> {
    pipeline.release(u64::MAX, clocks);
    pipeline.end_incidents(clocks);
    let span = Duration::from_nanos(clocks.now_ns.saturating_sub(began_ns));
    pipeline.summarize(span, true, clocks);
    flush(pipeline)
}

/// The name of a file, for messages.
fn name(path: &Path) -> String {
    path.display().to_string()
}
