//! What becomes known later corrects what was said before.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod replay;

use std::{fs, process::Command};

use kreset::{
    classify::context::REFUSAL_NS,
    event::{Cause, Id, Kind as EventKind, Message, Verdict},
    facts::{Facts, Kind, State},
    run::corrections::{Correctable, Corrections},
};
use replay::judging::reset;

const MS_NS: u64 = 1_000_000;
/// A real broker that was killed; its client is refused 0.16 s later, and again and again.
const KILLED: &str = "kafka/broker-killed-busy.java.client";

/// That recording without the refusals of the first `ms` after the RST.
fn killed(ms: u64) -> String {
    let path = format!(
        "{}/tests/recorded/{KILLED}.records",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = fs::read_to_string(path).unwrap();
    let all = replay::facts(KILLED);
    let is_refusal = |facts: &Facts| facts.state == Some(State::SynSent);
    let ended = all
        .iter()
        .find(|facts| facts.kind == Kind::ResetReceived && !is_refusal(facts));
    let until_ns = ended.unwrap().at_ns + ms * MS_NS;
    let mut lines = text.lines();
    let mut kept = vec![lines.next().unwrap()];
    let records = lines.zip(&all);
    let later = records.filter(|(_, facts)| !is_refusal(facts) || facts.at_ns > until_ns);
    kept.extend(later.map(|(line, _)| line));
    kept.push("");
    kept.join("\n")
}

/// What `kreset-trace read` says of a recording, in a format.
fn said(recording: &str, format: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("killed.records");
    fs::write(&path, recording).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_kreset-trace"))
        .args(["read", "--format", format])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn events(recording: &str) -> Vec<Message> {
    let said = said(recording, "json");
    said.lines()
        .map(|line| Message::read(line).unwrap())
        .collect()
}

#[test]
fn a_refusal_after_the_hold_corrects_what_was_said() {
    let events = events(&killed(700));
    let ended = events
        .iter()
        .find(|it| it.event.kind() == EventKind::Reset)
        .unwrap();
    let first = ended.event.finding().unwrap();
    assert_ne!(
        first.cause.map(Cause::as_str),
        Some("shutdown"),
        "{first:?}"
    );
    let corrections: Vec<_> = events
        .iter()
        .filter_map(|it| match &it.event {
            kreset::event::Event::Correction(correction) => Some((it.id, correction)),
            _ => None,
        })
        .collect();
    let [(id, correction)] = corrections.as_slice() else {
        panic!("{corrections:?}");
    };
    assert_eq!(correction.corrects, ended.id);
    assert_ne!(*id, ended.id);
    assert_eq!(correction.was, first.said());
    let now = &correction.finding;
    assert_eq!(
        (now.verdict, now.cause.map(Cause::as_str)),
        (Verdict::BrokerOriginated, Some("shutdown"))
    );
    assert_eq!((&now.client, now.time), (&first.client, first.time));
    assert!(
        now.evidence
            .iter()
            .any(|it| it.name == "reconnect" && it.value == "refused")
    );
    // It is no other end.
    let Some(kreset::event::Event::Summary(summary)) = events.last().map(|it| &it.event) else {
        panic!("no summary");
    };
    let broker: u64 = summary
        .events
        .iter()
        .filter(|(class, _)| class.starts_with("broker_originated"))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(broker, 1, "{summary:?}");
}

#[test]
fn what_was_said_with_the_refusal_known_needs_no_correction() {
    for ms in [0, 4_000] {
        let events = events(&killed(ms));
        let is_correction = |it: &Message| it.event.kind() == EventKind::Correction;
        assert!(!events.iter().any(is_correction), "{ms} ms: {events:?}");
    }
}

#[test]
fn people_read_what_was_corrected() {
    let text = said(&killed(700), "text");
    let line = text
        .lines()
        .find(|line| line.contains(" correction "))
        .unwrap();
    assert!(line.contains("broker_originated/shutdown"), "{line}");
    assert!(line.contains("; corrects "), "{line}");
}

fn written(facts: &Facts) -> Correctable {
    let events = events(&killed(700));
    let finding = events.iter().find_map(|it| it.event.finding()).unwrap();
    Correctable {
        facts: facts.clone(),
        id: Id::new(),
        finding: finding.clone(),
    }
}

/// The next attempt to connect, `ms` after.
fn attempt(after: &Facts, ms: u64, accepted: bool) -> Facts {
    let mut facts = after.clone();
    facts.at_ns += ms * MS_NS;
    facts.local.port += 1;
    (facts.kind, facts.state) = if accepted {
        (Kind::Established, Some(State::Established))
    } else {
        (Kind::ResetReceived, Some(State::SynSent))
    };
    facts
}

#[test]
fn a_refusal_is_news_of_what_ended_shortly_before_at_the_same_broker() {
    let facts = reset("broker_abort_linger.client");
    let written = written(&facts);
    let mut corrections = Corrections::default();
    corrections.add(written.clone());
    let mut elsewhere = attempt(&facts, 900, false);
    elsewhere.remote.port += 1;
    assert!(corrections.affected_by(&elsewhere).is_empty());
    let refused = attempt(&facts, 1_000, false);
    assert_eq!(corrections.affected_by(&refused).len(), 1);
    assert!(
        corrections.affected_by(&refused).is_empty(),
        "it is given out once"
    );
    corrections.add(written.clone());
    let late = attempt(&facts, REFUSAL_NS / MS_NS + 1, false);
    assert!(corrections.affected_by(&late).is_empty());
    // Whoever came back at once met a broker that lived, and ended later.
    corrections.add(written);
    assert!(
        corrections
            .affected_by(&attempt(&facts, 300, true))
            .is_empty()
    );
    assert!(corrections.affected_by(&refused).is_empty());
}
