//! Real events of every type: recorded resets, judged and told as a run does.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use kreset::{
    agent::{self, Agent},
    classify::Config,
    cli::{self, Command},
    clock::WallClock,
    enrich::{Enricher, addresses::Addresses},
    event::Host,
    filter::Filter,
    pipeline::{Clocks, Parts, Pipeline},
    recording::Recording,
    sample,
};
use serde_json::Value;

use crate::endure::quoted;

/// Half an hour: the patterns of one round have ended before the next.
const ROUND_NS: u64 = 1_800_000_000_000;
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
        let mut pipeline = pipeline(directory, &files);
        let records = recordings();
        let host = Host {
            name: "client-1".to_owned(),
        };
        for round in 0..count as u64 {
            let begin = BEGIN_NS + round * ROUND_NS;
            let clocks = clocks(begin);
            let start = sample::event(46, &host, &clocks.monotonic.rfc3339(begin));
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
                now = last + 2_000_000_000;
                pipeline.release(now, clocks);
                pipeline.alert(Clocks {
                    now_ns: now,
                    ..clocks
                });
            }
            pipeline.kernel_lost(3 * (round + 1), clocks);
            pipeline.alert(Clocks {
                now_ns: begin + ROUND_NS,
                ..clocks
            });
            pipeline.summarize(Duration::from_nanos(now), false, clocks);
            // The sinks may keep up.
            pipeline.delivery().settle(Duration::from_mins(1));
        }
        pipeline.delivery_mut().close();
        let until = Instant::now() + Duration::from_mins(1);
        while !pipeline.delivery().has_ended() {
            assert!(Instant::now() < until, "files take events");
            thread::sleep(Duration::from_millis(5));
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
        for (kind, told) in &seen {
            assert!(*told >= count, "only {told} of type {kind}");
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
    let Agent { delivery, .. } = agent::open(&options).unwrap().start(&options).unwrap();
    let decoder = recording("idle_drop.client").decoder;
    Pipeline::new(Parts {
        decoder,
        config: Config::default(),
        enricher: Enricher::default(),
        filter: Filter {
            all: true,
            ..options.filter
        },
        count: None,
        host: Host {
            name: "client-1".to_owned(),
        },
        ports: options.ports.to_string(),
        addresses: Addresses::of(None),
        delivery,
        recorder: None,
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
        .collect();
    paths.sort();
    let texts = paths.iter().map(|path| fs::read_to_string(path).unwrap());
    let all = texts.map(|text| Recording::parse(&text).unwrap().records);
    all.filter(|records| !records.is_empty()).collect()
}

/// When a record was written: its first field.
const fn ktime(record: &[u8]) -> u64 {
    let (time, _) = record.split_first_chunk().unwrap();
    u64::from_ne_bytes(*time)
}

/// The same record at another time.
fn at(record: &[u8], ktime_ns: u64) -> Vec<u8> {
    let mut record = record.to_owned();
    record[..8].copy_from_slice(&ktime_ns.to_ne_bytes());
    record
}
