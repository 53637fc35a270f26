//! A connection of another service, whose client got one of the traced ports for its own end.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod live;

use std::{fs, path::Path};

use kreset::{capture::recording::Recording, facts::Kind};
use live::{Live, clocks};
use serde_json::Value;

/// What a run that traces `port` writes of a recorded connection from the client's host.
fn events(name: &str, port: u16) -> Vec<Value> {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let text = fs::read_to_string(recorded.join(name)).unwrap();
    let Recording { decoder, records } = Recording::parse(&text).unwrap();
    let port = port.to_string();
    let mut live = Live::start(&port, &["--port", &port], decoder.clone());
    let mut end_ns = 0;
    for record in &records {
        end_ns = decoder.decode(record).unwrap().at_ns;
        live.pipeline.take(record, clocks(end_ns)).unwrap();
    }
    live.pipeline.release(u64::MAX, clocks(end_ns));
    live.end(end_ns)
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
