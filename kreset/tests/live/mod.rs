//! A run that writes JSON into a file, without a kernel.

#![allow(
    clippy::allow_attributes,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "shared by tests, not all of which need all of it"
)]

use std::{
    env, fs,
    path::PathBuf,
    process, thread,
    time::{Duration, Instant},
};

use kreset::{
    cli::{self, Command},
    facts::Decoder,
    run::{
        pipeline::{Parts, Pipeline},
        sinks::{self, Sinks},
    },
    util::clock::{Clocks, WallClock},
};
use serde_json::Value;

pub(crate) const fn clocks(now_ns: u64) -> Clocks {
    let clock = WallClock::new(1_795_564_800_000_000_000, 0);
    Clocks {
        monotonic: clock,
        boot: clock,
        now_ns,
    }
}

/// A run, and the file that it writes.
pub(crate) struct Live {
    pub(crate) pipeline: Pipeline,
    file: PathBuf,
}

impl Live {
    /// One with these options. No other of this process has its `name`.
    pub(crate) fn start(name: &str, options: &[&str], decoder: Decoder) -> Self {
        let file = env::temp_dir().join(format!("kreset-{name}-{}.json", process::id()));
        let into = ["--format", "json", "--output", file.to_str().unwrap()];
        let line = [&["kreset-trace"], options, &into].concat();
        let Ok(Command::Run(options)) = cli::parse(line) else {
            panic!("options of a run");
        };
        let Sinks { delivery, .. } = sinks::open(&options).unwrap().start().unwrap();
        let parts = Parts::of_records(&options, decoder, "client-1".into(), delivery);
        Self {
            pipeline: Pipeline::new(parts),
            file,
        }
    }

    /// Ends it, and returns the events that the file has.
    pub(crate) fn end(mut self, end_ns: u64) -> Vec<Value> {
        let pipeline = &mut self.pipeline;
        pipeline.summarize(Duration::from_nanos(end_ns), true, clocks(end_ns));
        pipeline.flush().unwrap();
        pipeline.delivery_mut().close();
        let until = Instant::now() + Duration::from_mins(1);
        while !pipeline.delivery().has_ended() {
            assert!(Instant::now() < until, "a file takes events");
            thread::sleep(Duration::from_millis(1));
        }
        let text = fs::read_to_string(&self.file).unwrap();
        fs::remove_file(&self.file).unwrap();
        let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
        events.collect()
    }
}
