//! A connection of another service, whose client got one of the traced ports for its own end.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

use std::{env, fs, path::Path, process, thread, time::Duration, time::Instant};

use kreset::{
    capture::recording::Recording,
    classify::Config,
    cli::{self, Command},
    event::{Host, Source},
    facts::Kind,
    run::{
        enrich::{Enricher, refresh::Latest},
        limit::Limiter,
        pipeline::{Parts, Pipeline},
        sinks::{self, Sinks},
    },
    util::clock::{Clocks, WallClock},
};
use serde_json::Value;

const fn clocks(now_ns: u64) -> Clocks {
    let clock = WallClock::new(1_795_564_800_000_000_000, 0);
    Clocks {
        monotonic: clock,
        boot: clock,
        now_ns,
    }
}

/// What a run that traces `port` writes of a recorded connection from the client's host.
fn events(name: &str, port: u16) -> Vec<Value> {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let text = fs::read_to_string(recorded.join(name)).unwrap();
    let Recording { decoder, records } = Recording::parse(&text).unwrap();
    let file = env::temp_dir().join(format!("kreset-other-{}-{port}.json", process::id()));
    let port = port.to_string();
    let line = [
        "kreset-trace",
        "--port",
        &port,
        "--format",
        "json",
        "--output",
    ];
    let Ok(Command::Run(options)) = cli::parse(line.into_iter().chain(file.to_str())) else {
        panic!("a run into one file");
    };
    let Sinks { delivery, .. } = sinks::open(&options).unwrap().start().unwrap();
    let mut pipeline = Pipeline::new(Parts {
        decoder: decoder.clone(),
        config: Config::default(),
        enricher: Enricher::of_files(options.naming()),
        filter: options.filter.clone(),
        limiter: Limiter::new(None),
        count: None,
        host: Host {
            name: "client-1".into(),
        },
        ports: options.ports.clone(),
        addresses: Latest::unknown(),
        connections: Latest::unknown(),
        delivery,
        recorder: None,
        own_pid: None,
        source: Source::Live,
    });
    let mut end_ns = 0;
    for record in &records {
        end_ns = decoder.decode(record).unwrap().at_ns;
        pipeline.take(record, clocks(end_ns)).unwrap();
    }
    pipeline.release(u64::MAX, clocks(end_ns));
    pipeline.summarize(Duration::from_nanos(end_ns), true, clocks(end_ns));
    pipeline.flush().unwrap();
    pipeline.delivery_mut().close();
    let until = Instant::now() + Duration::from_mins(1);
    while !pipeline.delivery().has_ended() {
        assert!(Instant::now() < until, "a file takes events");
        thread::sleep(Duration::from_millis(1));
    }
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Where 9092 is an ephemeral port, any client may get it: its server is no broker.
#[test]
fn a_clients_own_port_makes_its_server_no_broker() {
    const NAME: &str = "connection_lost.client.records";
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let text = fs::read_to_string(recorded.join(NAME)).unwrap();
    let Recording { decoder, records } = Recording::parse(&text).unwrap();
    let reset = records
        .iter()
        .map(|record| decoder.decode(record).unwrap())
        .find(|facts| facts.kind == Kind::ResetReceived)
        .unwrap();
    let is_reset = |event: &&Value| event["type"] == "reset";
    let of_broker = events(NAME, reset.remote.port);
    assert_eq!(
        of_broker.iter().filter(is_reset).count(),
        1,
        "{of_broker:?}"
    );
    let of_client = events(NAME, reset.local.port);
    assert_eq!(
        of_client.iter().filter(is_reset).count(),
        0,
        "{of_client:?}"
    );
    let summary = of_client.last().unwrap();
    assert_eq!(
        summary["coverage"]["unshown"], 1,
        "it is counted: {summary}"
    );
}
