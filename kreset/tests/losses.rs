//! Losses that somebody causes for as long as he likes are few events with the whole sum.

mod live;

use std::collections::BTreeMap;

use kreset::{
    delivery::{Encoder, OnFailure, Sink, SinkError, Stopped, Writer},
    event::{Message, filter::SinkFilter},
    facts::Decoder,
    run::pipeline::KernelLosses,
};
use live::{Live, clocks};

const SECOND_NS: u64 = 1_000_000_000;

fn start(name: &str) -> Live {
    let decoder = Decoder {
        hz: 1_000,
        reasons: BTreeMap::new(),
    };
    Live::start(name, &[], decoder)
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
    let mut live = start("losses-of-sink");
    let pipeline = &mut live.pipeline;
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
    let events = live.end(end_ns);
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
    let mut live = start("losses-of-kernel");
    let reads = MINUTES * 60 * 2;
    for read in 0..reads {
        let losses = KernelLosses {
            untracked: (read + 1) * EACH,
            ..KernelLosses::default()
        };
        live.pipeline
            .kernel_lost(losses, clocks(read * SECOND_NS / 2));
    }
    let end_ns = MINUTES * 60 * SECOND_NS;
    let events = live.end(end_ns);
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
