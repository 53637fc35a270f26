//! Losses that somebody causes for as long as he likes are few events with the whole sum.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process, thread,
    time::{Duration, Instant},
};

use kreset::{
    cli::{self, Command},
    delivery::{Encoder, OnFailure, Sink, SinkError, Stopped, Writer},
    event::{Message, filter::SinkFilter},
    facts::Decoder,
    run::{
        pipeline::{KernelLosses, Parts, Pipeline},
        sinks::{self, Sinks},
    },
    util::clock::{Clocks, WallClock},
};
use serde_json::Value;

const SECOND_NS: u64 = 1_000_000_000;

const fn clocks(now_ns: u64) -> Clocks {
    let clock = WallClock::new(1_795_564_800_000_000_000, 0);
    Clocks {
        monotonic: clock,
        boot: clock,
        now_ns,
    }
}

fn pipeline(directory: &Path, file: &Path) -> Pipeline {
    let config = directory.join("losses.toml");
    let sink = format!(
        "[[sink]]\ntype = \"file\"\nformat = \"json\"\npath = \"{}\"\n",
        file.display()
    );
    fs::write(&config, sink).unwrap();
    let line = ["kreset-trace", "--config", config.to_str().unwrap()];
    let Ok(Command::Run(options)) = cli::parse(line) else {
        panic!("a configuration of one file");
    };
    let Sinks { delivery, .. } = sinks::open(&options).unwrap().start().unwrap();
    let decoder = Decoder {
        hz: 1_000,
        reasons: BTreeMap::new(),
    };
    let parts = Parts::of_records(&options, decoder, "client-1".into(), delivery);
    Pipeline::new(parts)
}

/// Ends a run, and returns the events that the file has.
fn ended(pipeline: &mut Pipeline, file: &Path, end_ns: u64) -> Vec<Value> {
    pipeline.summarize(Duration::from_nanos(end_ns), true, clocks(end_ns));
    pipeline.flush().unwrap();
    pipeline.delivery_mut().close();
    let until = Instant::now() + Duration::from_mins(1);
    while !pipeline.delivery().has_ended() {
        assert!(Instant::now() < until, "a file takes events");
        thread::sleep(Duration::from_millis(1));
    }
    let text = fs::read_to_string(file).unwrap();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    events.collect()
}

/// A sink that can take no event, not even one that says so.
struct Broken;

impl Encoder for Broken {
    fn encode(&mut self, _: &Message, _: &mut Vec<u8>) -> Result<(), SinkError> {
        Err(SinkError::Encode("it takes none".into()))
    }
}

impl Writer for Broken {
    fn write_lines(&mut self, _: &[u8]) -> Result<(), Stopped> {
        Ok(())
    }

    fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Each event that reports its losses is one more that it loses.
#[test]
fn a_sink_that_loses_everything_is_one_event_a_minute() {
    const MINUTES: u64 = 10;
    let directory = env::temp_dir().join(format!("kreset-sink-losses-{}", process::id()));
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("events.json");
    let mut pipeline = pipeline(&directory, &file);
    let sink = Sink::Local {
        encoder: Box::new(Broken),
        writer: Box::new(Broken),
        on_failure: OnFailure::Retry,
    };
    let delivery = pipeline.delivery_mut();
    delivery.start("siem", SinkFilter::default(), sink).unwrap();
    pipeline.record_loss("netns", 1, clocks(0));
    for read in 0..MINUTES * 60 * 2 {
        pipeline.sinks_lost(clocks(read * SECOND_NS / 2));
    }
    let end_ns = MINUTES * 60 * SECOND_NS;
    let events = ended(&mut pipeline, &file, end_ns);
    fs::remove_dir_all(&directory).unwrap();
    let losses: Vec<_> = events
        .iter()
        .filter(|it| it["source"] == "sink siem")
        .collect();
    // The first at once, each of the others a minute after the one before, the last at the end.
    assert_eq!(losses.len() as u64, MINUTES + 1, "{losses:?}");
    let lost: u64 = losses.iter().map(|it| it["lost"].as_u64().unwrap()).sum();
    // All but the last of them, and what it was to lose first.
    assert_eq!(lost, MINUTES + 1);
    let summary = events.last().unwrap();
    assert_eq!(summary["coverage"]["sinks"]["siem"]["lost"], lost + 1);
}

/// Connections beyond `max-connections`, opened for ten minutes: the count grows whenever it is
/// read.
#[test]
fn connections_that_are_not_tracked_are_one_event_a_minute() {
    const MINUTES: u64 = 10;
    const EACH: u64 = 7;
    let directory = env::temp_dir().join(format!("kreset-losses-{}", process::id()));
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("events.json");
    let mut pipeline = pipeline(&directory, &file);
    let reads = MINUTES * 60 * 2;
    for read in 0..reads {
        let losses = KernelLosses {
            untracked: (read + 1) * EACH,
            ..KernelLosses::default()
        };
        pipeline.kernel_lost(losses, clocks(read * SECOND_NS / 2));
    }
    let end_ns = MINUTES * 60 * SECOND_NS;
    let events = ended(&mut pipeline, &file, end_ns);
    fs::remove_dir_all(&directory).unwrap();
    let losses: Vec<_> = events.iter().filter(|it| it["type"] == "loss").collect();
    assert!(
        losses.iter().all(|it| it["source"] == "kernel_untracked"),
        "{losses:?}"
    );
    // The first at once, and what the last minute brought at the end.
    assert_eq!(losses.len() as u64, MINUTES + 1, "{losses:?}");
    let lost = losses.iter().map(|it| it["lost"].as_u64().unwrap());
    assert_eq!(lost.sum::<u64>(), reads * EACH);
    let summary = events.last().unwrap();
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["lost"], reads * EACH);
    assert_eq!(losses.last().unwrap()["total"], reads * EACH);
}
