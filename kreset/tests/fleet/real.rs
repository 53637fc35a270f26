//! Real events of every type: recorded resets, judged and reported as a run does.

use std::{
    collections::BTreeMap,
    fs, iter,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use kreset::{
    capture::recording::Recording,
    cli::{self, Command, sample},
    event::Host,
    run::{
        pipeline::{KernelLosses, Parts, Pipeline},
        sinks::{self, Sinks},
    },
    util::clock::{Clocks, WallClock},
};
use kreset_common::record;
use serde_json::Value;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::endure::quoted;

/// Four hours: the patterns of one round have ended before the next.
const ROUND_NS: u64 = 4 * 3_600 * SECOND_NS;
/// Between two recordings.
const PAUSE_NS: u64 = 30 * SECOND_NS;
const SECOND_NS: u64 = 1_000_000_000;
/// Real brokers that close without a RST.
const CLOSED: [&str; 2] = [
    "kafka/sasl-wrong-password.java.client",
    "kafka/sasl-wrong-password.librdkafka.client",
];
/// What is reported repeatedly in a round: a path with a periodic pattern.
const REPEATED: (&str, usize) = ("idle_reset_on_send.ipv4.client", 8);
/// Where monotonic time begins: long before the first record.
const BEGIN_NS: u64 = 1 << 50;
/// 2026-11-25T00:00:00Z.
const BEGIN_REALTIME_NS: i64 = 1_795_564_800_000_000_000;

/// Events in both formats that machines read, line by line: one line of each
/// is the same event.
pub(crate) struct Events {
    pub(crate) native: Vec<String>,
    pub(crate) ecs: Vec<String>,
}

impl Events {
    /// Judges all recordings again and again until there are `count` events of
    /// each type, and keeps so many of each.
    pub(crate) fn make(directory: &Path, count: usize) -> Self {
        let files = ["native", "ecs"].map(|name| directory.join(name));
        let records = recordings();
        let host = Host {
            name: "client-1".into(),
        };
        for round in 0..count as u64 {
            // A run of its own: what one round taught must not judge the next.
            let mut pipeline = pipeline(directory, &files);
            let begin = BEGIN_NS + round * ROUND_NS;
            let clocks = clocks(begin);
            let start = sample::event(46, &host, clocks.monotonic.timestamp(begin).into());
            pipeline.write(start);
            let mut now = begin;
            for recording in &records {
                let first = ktime(&recording[0]);
                let mut last = now;
                for record in recording {
                    last = now + (ktime(record) - first);
                    pipeline.release(last, clocks);
                    pipeline.take(&at(record, last), clocks).unwrap();
                }
                now = last + PAUSE_NS;
                pipeline.release(now, clocks);
                pipeline.alert(Clocks {
                    now_ns: now,
                    ..clocks
                });
            }
            let losses = KernelLosses {
                records: 3,
                ..KernelLosses::default()
            };
            pipeline.kernel_lost(losses, clocks);
            pipeline.alert(Clocks {
                now_ns: begin + ROUND_NS,
                ..clocks
            });
            pipeline.summarize(Duration::from_nanos(now), false, clocks);
            pipeline.flush().unwrap();
            pipeline.delivery_mut().close();
            let until = Instant::now() + Duration::from_mins(1);
            while !pipeline.delivery().has_ended() {
                assert!(Instant::now() < until, "files take events");
                thread::sleep(Duration::from_millis(1));
            }
        }
        let [native, ecs] = files.map(|file| fs::read_to_string(file).unwrap());
        let mut all = Self {
            native: native.lines().map(str::to_owned).collect(),
            ecs: ecs.lines().map(str::to_owned).collect(),
        };
        all.keep(count);
        all
    }

    /// Keeps the first `count` events of each type.
    fn keep(&mut self, count: usize) {
        let mut seen = BTreeMap::<String, usize>::new();
        let kept: Vec<bool> = self
            .native
            .iter()
            .map(|line| {
                let of_type = seen.entry(kind(line)).or_default();
                *of_type += 1;
                *of_type <= count
            })
            .collect();
        assert_eq!(seen.len(), 7, "{seen:?}");
        for (kind, count_seen) in &seen {
            assert!(*count_seen >= count, "only {count_seen} of type {kind}");
        }
        assert_eq!(self.native.len(), self.ecs.len());
        for lines in [&mut self.native, &mut self.ecs] {
            let mut kept = kept.iter();
            lines.retain(|_| *kept.next().unwrap());
        }
    }
}

fn kind(line: &str) -> String {
    let event: Value = serde_json::from_str(line).unwrap();
    event["type"].as_str().unwrap().to_owned()
}

fn pipeline(directory: &Path, files: &[PathBuf; 2]) -> Pipeline {
    let config = directory.join("real.toml");
    let sink = |name: &str, path: &Path| {
        let path = quoted(path);
        format!("[[sink]]\ntype = \"file\"\nname = {name:?}\npath = {path}\nformat = {name:?}\n")
    };
    let both = [sink("json", &files[0]), sink("ecs", &files[1])];
    fs::write(&config, both.concat()).unwrap();
    let line = [
        "kreset-trace",
        "--all",
        "--config",
        config.to_str().unwrap(),
    ];
    let Ok(Command::Run(options)) = cli::parse(line) else {
        panic!("a configuration of two files");
    };
    let Sinks { delivery, .. } = sinks::open(&options).unwrap().start().unwrap();
    let decoder = recording("idle_drop.client").decoder;
    Pipeline::new(Parts {
        own_pid: Some(std::process::id()),
        ..Parts::of_records(&options, decoder, "client-1".into(), delivery)
    })
}

const fn clocks(now_ns: u64) -> Clocks {
    let clock = WallClock::new(BEGIN_REALTIME_NS, BEGIN_NS as i64);
    Clocks {
        monotonic: clock,
        boot: clock,
        now_ns,
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}

fn recording(name: &str) -> Recording {
    let path = directory().join(format!("{name}.records"));
    Recording::parse(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The records of each recording that has some.
fn recordings() -> Vec<Vec<Vec<u8>>> {
    let mut paths: Vec<_> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "records"))
        .collect();
    paths.sort();
    let texts = paths.iter().map(|path| fs::read_to_string(path).unwrap());
    let once = texts.map(|text| Recording::parse(&text).unwrap().records);
    let closed = CLOSED.iter().map(|name| recording(name).records);
    let (name, times) = REPEATED;
    let again = iter::repeat_n(recording(name).records, times);
    once.chain(closed)
        .chain(again)
        .filter(|records| !records.is_empty())
        .collect()
}

/// When a record was written.
fn ktime(record: &[u8]) -> u64 {
    let (event, _) = record::KernelEvent::read_from_prefix(record).unwrap();
    event.ktime_ns
}

/// The same record at another time.
fn at(record: &[u8], ktime_ns: u64) -> Vec<u8> {
    let shift = ktime_ns - ktime(record);
    let Ok(mut full) = record::Record::read_from_bytes(record) else {
        let mut event = record::KernelEvent::read_from_bytes(record).unwrap();
        event.ktime_ns = ktime_ns;
        return event.as_bytes().to_owned();
    };
    full.event.ktime_ns = ktime_ns;
    let connection = &mut full.connection;
    for time in [
        &mut connection.first_seen_ns,
        &mut connection.established_ns,
        &mut connection.fin_ns,
    ] {
        // 0 is not known.
        if *time > 0 {
            *time += shift;
        }
    }
    full.as_bytes().to_owned()
}
