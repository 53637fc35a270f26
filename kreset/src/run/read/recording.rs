//! Repeats the steps of a run.

use std::{io::BufReader, path::Path};

use smol_str::SmolStr;

use super::{BATCH, end, flush, name, progress::Progress};
use crate::{
    capture::{
        input::{Input, InputError},
        recording::{RecordingError, Step, Steps},
    },
    classify::incident::Place,
    delivery::Delivery,
    event::Endpoint,
    facts::Decoder,
    run::{RunError, pipeline::Pipeline},
    util::{
        clock::{Clocks, WallClock},
        stderr::log,
    },
};

/// Judges a recording with the pipeline that `ready` makes for its decoder and, if it
/// names one, its host; returns where events go.
pub(super) fn read(
    path: &Path,
    input: Input,
    ready: impl FnOnce(Decoder, Option<SmolStr>) -> Pipeline,
    progress: &Progress,
) -> Result<Delivery, RunError> {
    let mut steps = Steps::open(BufReader::new(input.reader)).map_err(|error| {
        RunError::from(InputError::Read {
            path: name(path),
            source: std::io::Error::other(error.to_string()),
        })
    })?;
    let mut pipeline = ready(steps.decoder.clone(), steps.host.clone());
    let mut clocks = None;
    let mut began_ns = None;
    let mut batch = 0;
    loop {
        let step = match steps.step() {
            Ok(Some(step)) => step,
            Ok(None) => break,
            Err(error @ (RecordingError::Line(_) | RecordingError::Read(..))) => {
                log(format_args!(
                    "{}: {error}; everything before that was read",
                    name(path)
                ));
                break;
            }
            Err(RecordingError::Header(_)) => break,
        };
        let now = clocks.unwrap_or(UNKNOWN);
        match step {
            Step::Clocks(fresh) => {
                clocks = Some(fresh);
                began_ns.get_or_insert(fresh.now_ns);
            }
            Step::Cgroup(id, path) => pipeline.add_cgroup(id, path),
            Step::Memory(process, memory) => pipeline.add_memory(process, &memory),
            Step::Load(process, load) => pipeline.add_load(process, load, now),
            Step::Record(bytes) => {
                if clocks.is_none() {
                    // Without clocks, what is due is due at the next record.
                    let at_ns = steps.decoder.at_ns(&bytes);
                    pipeline.release(at_ns, now);
                }
                pipeline.take(&bytes, now)?;
            }
            Step::Release(until_ns) => pipeline.release(until_ns, now),
            Step::Alert => pipeline.alert(now),
            Step::Listens(broker, netns) => {
                let broker = Endpoint {
                    address: broker.ip(),
                    port: broker.port(),
                };
                pipeline.listens(Place::new(broker, netns), netns, now);
            }
            Step::Loss(source, count) => pipeline.record_repeated_loss(&source, count, now),
        }
        if pipeline.is_done() {
            break;
        }
        batch += 1;
        if batch == BATCH {
            batch = 0;
            progress.tick();
            flush(&mut pipeline)?;
        }
    }
    let now = clocks.unwrap_or(UNKNOWN);
    end(&mut pipeline, began_ns.unwrap_or(now.now_ns), now)?;
    Ok(pipeline.into_delivery())
}

/// The clocks of a recording that has none: times count from the boot.
const UNKNOWN: Clocks = Clocks {
    monotonic: WallClock::new(0, 0),
    boot: WallClock::new(0, 0),
    now_ns: 0,
};
