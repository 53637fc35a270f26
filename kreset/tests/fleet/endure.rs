//! The test that every receiver has to pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use kreset::cli::sample::number_of;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::Agent;

/// Events that are sent.
pub(crate) const EVENTS: u64 = 10_000;
/// Events a second.
const RATE: u64 = 2_500;

/// A receiver under test.
pub(crate) trait Receiver {
    /// The `[[sink]]` table of the agent.
    fn sink(&self) -> String;
    /// Starts it, also after it was killed.
    fn start(&mut self);
    /// Ends it as a power cut would.
    fn kill(&mut self);
    /// Every event that it has: number and id.
    fn events(&self) -> Vec<(u64, String)>;
}

/// Sends all events through two lives of the agent and of the receiver.
pub(crate) fn endure(receiver: &mut impl Receiver) {
    let directory = TempDir::new().unwrap();
    let config = write_config(directory.path(), &receiver.sink());
    let began = Instant::now();
    receiver.start();
    let first = Agent::start(&config, 0, EVENTS, RATE);
    first.await_kept(EVENTS / 4);
    receiver.kill();
    first.await_kept(EVENTS / 2);
    let kept = first.kill();
    let second = Agent::start(&config, kept, EVENTS, RATE);
    second.await_kept(EVENTS * 3 / 4);
    receiver.start();
    second.finish();
    let took = began.elapsed();

    // What the receiver has taken it may still have to write.
    let until = Instant::now() + Duration::from_secs(10);
    let mut events = receiver.events();
    while distinct(&events).len() < EVENTS as usize && Instant::now() < until {
        thread::sleep(Duration::from_millis(100));
        events = receiver.events();
    }
    let distinct = distinct(&events);
    let missing: Vec<_> = (0..EVENTS)
        .filter(|number| !distinct.contains(number))
        .collect();
    let start = missing.iter().take(10).collect::<Vec<_>>();
    assert!(
        missing.is_empty(),
        "{} missing, such as {start:?}",
        missing.len()
    );
    assert_eq!(distinct.len() as u64, EVENTS, "events that were never sent");

    // Duplicates are found by id. Without them, the few that are left were spooled
    // but not yet reported as kept when the agent was killed.
    let ids: BTreeMap<_, _> = events.iter().map(|(number, id)| (id, number)).collect();
    let repeats = events.len() - ids.len();
    let anew = ids.len() as u64 - EVENTS;
    assert!(anew <= 1_000, "{anew} events with two ids");
    println!(
        "{EVENTS} events in {:.1} s: 0 missing, {repeats} repeats by id, {anew} spooled but not yet reported at SIGKILL",
        took.as_secs_f64()
    );
}

pub(crate) fn distinct(events: &[(u64, String)]) -> BTreeSet<u64> {
    events.iter().map(|(number, _)| *number).collect()
}

/// Writes a configuration with one sink; its path.
pub(crate) fn write_config(directory: &Path, sink: &str) -> std::path::PathBuf {
    let spool = quoted(&directory.join("spool"));
    let config = directory.join("kreset.toml");
    fs::write(&config, format!("spool = {spool}\n{sink}")).unwrap();
    config
}

/// A path as TOML has texts.
pub(crate) fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

/// Number and id of an event in the native form.
pub(crate) fn number_and_id(event: &Value) -> (u64, String) {
    let id = event["id"].as_str().unwrap().to_owned();
    let number = match event["type"].as_str().unwrap() {
        "start" => event["seeded"].as_u64().unwrap(),
        "loss" => event["total"].as_u64().unwrap(),
        "summary" => event["duration_ms"].as_u64().unwrap(),
        "alert" => event["count"].as_u64().unwrap(),
        _ => number_at(&event["client"]["address"], &event["client"]["port"]),
    };
    (number, id)
}

/// The number of an event with this client.
pub(crate) fn number_at(address: &Value, port: &Value) -> u64 {
    let address = address.as_str().unwrap().parse().unwrap();
    let port = u16::try_from(port.as_u64().unwrap()).unwrap();
    number_of(SocketAddr::new(address, port)).unwrap()
}
