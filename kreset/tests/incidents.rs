//! Which incidents recordings of real brokers and of the lab come to.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod replay;

use std::{collections::BTreeSet, process::Command};

use kreset::event::{Cause, Event, Incident, Kind, Message};

/// The recordings that are of an incident, and what it is.
const INCIDENTS: [(&str, &str); 12] = [
    ("broker_killed_busy.broker", "broker_ended"),
    ("broker_killed_busy.client", "broker_ended"),
    ("broker_killed_idle.broker", "broker_ended"),
    ("broker_killed_idle.client", "broker_ended"),
    ("broker_stops.broker", "broker_ended"),
    ("hop_fails_over.client", "device_failover"),
    ("kafka/broker-killed-busy.java.broker", "broker_ended"),
    ("kafka/broker-killed-busy.java.client", "broker_ended"),
    ("kafka/connection-rate.java.broker", "turned_away"),
    ("kafka/connection-rate.java.client", "turned_away"),
    ("kafka/connection-rate.librdkafka.broker", "turned_away"),
    ("kafka/connection-rate.librdkafka.client", "turned_away"),
];

fn events(name: &str) -> Vec<Message> {
    let path = format!(
        "{}/tests/recorded/{name}.records",
        env!("CARGO_MANIFEST_DIR")
    );
    let output = Command::new(env!("CARGO_BIN_EXE_kreset-trace"))
        .args(["read", "--format", "json", &path])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| Message::read(line).unwrap())
        .collect()
}

fn incidents(events: &[Message]) -> Vec<&Incident> {
    events
        .iter()
        .filter_map(|it| match &it.event {
            Event::Incident(incident) => Some(&**incident),
            _ => None,
        })
        .collect()
}

/// Healthy clusters, idle timers of a single connection, failed handshakes that clients give
/// up, probes and late data among them.
#[test]
fn recordings_have_the_incidents_that_they_are_of_and_no_other() {
    let kafka = replay::recordings_in("kafka");
    let names = kafka.iter().map(|name| format!("kafka/{name}"));
    let mut found = Vec::new();
    for name in replay::recordings().into_iter().chain(names) {
        let events = events(&name);
        let kinds: BTreeSet<_> = incidents(&events)
            .iter()
            .map(|it| it.incident.as_str())
            .collect();
        found.extend(kinds.into_iter().map(|kind| (name.clone(), kind)));
    }
    found.sort_unstable();
    let found: Vec<_> = found
        .iter()
        .map(|(name, kind)| (name.as_str(), *kind))
        .collect();
    assert_eq!(found, INCIDENTS);
}

/// A real broker is killed; its client is refused 0.16 s later, and again and again.
#[test]
fn refusals_follow_the_end_that_explains_them_and_carry_the_incidents_id() {
    let events = events("kafka/broker-killed-busy.java.client");
    let causes: Vec<_> = events
        .iter()
        .filter_map(|it| it.event.finding()?.cause)
        .collect();
    assert_eq!(causes[0], Cause::Shutdown, "{causes:?}");
    assert!(causes[1..].iter().all(|it| *it == Cause::Refused));
    let incidents = incidents(&events);
    let [begin, end] = incidents.as_slice() else {
        panic!("{incidents:?}");
    };
    assert_eq!((begin.phase.as_str(), end.phase.as_str()), ("begin", "end"));
    assert_eq!(begin.incident_id, end.incident_id);
    let kind = |message: &&Message| message.event.kind() == Kind::Incident;
    assert_eq!(events.iter().find(kind).unwrap().id, begin.incident_id);
    // Each event is listed by the incident, or carries its id.
    for message in &events {
        if let Some(finding) = message.event.finding() {
            let is_listed = begin.earlier.contains(&message.id);
            let carries = finding.incident_id == Some(begin.incident_id);
            assert!(is_listed != carries, "{message:?}");
        }
    }
    let refusals = causes.len() as u64 - 1;
    assert_eq!((end.refusals, end.clients), (refusals, 1));
    assert!(end.refused.is_some_and(|it| it.ms > 15_000.0), "{end:?}");
}
