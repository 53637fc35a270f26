//! Recordings, judged as a live run judges its records.

#![allow(
    clippy::allow_attributes,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "shared by tests, not all of which need all of it"
)]

pub(crate) mod judging;

use std::{fs, path::PathBuf, time::Duration};

use kreset::{
    capture::recording::Recording,
    classify::{Classifier, Config, Judgement},
    facts::Facts,
    run::holding::Holding,
};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}

/// Names of all recordings of the lab's own small programs.
pub(crate) fn recordings() -> Vec<String> {
    recordings_in(".")
}

/// Names of all recordings in a directory below.
pub(crate) fn recordings_in(below: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory().join(below))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "records"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The facts of a recording's records.
pub(crate) fn facts(name: &str) -> Vec<Facts> {
    let path = directory().join(format!("{name}.records"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let Recording { decoder, records } = Recording::parse(&text).unwrap();
    records
        .iter()
        .map(|record| decoder.decode(record).unwrap())
        .collect()
}

/// The events of a recording, in the order in which they are reported.
pub(crate) fn replay(name: &str) -> Vec<(Facts, Judgement)> {
    let config = if name.starts_with("broker_idle_close") {
        // What the scenario sets connections.max.idle.ms to.
        Config {
            broker_max_idle: Duration::from_secs(1),
        }
    } else {
        Config::default()
    };
    judge(facts(name), config)
}

fn next(holding: &mut Holding, classifier: &mut Classifier, until_ns: u64) -> Option<Facts> {
    holding.next_to_judge(until_ns, |facts| classifier.may_yet_learn(facts))
}

/// The events that facts come to.
pub(crate) fn judge(facts: Vec<Facts>, config: Config) -> Vec<(Facts, Judgement)> {
    let mut classifier = Classifier::new(config);
    let mut holding = Holding::default();
    let mut events = Vec::new();
    for facts in facts {
        let now_ns = facts.at_ns;
        while let Some(due) = next(&mut holding, &mut classifier, now_ns) {
            events.extend(
                classifier
                    .judge(&due)
                    .map(|(judgement, _)| (due, judgement)),
            );
        }
        classifier.observe(&facts);
        if let Some(facts) = holding.admit(facts) {
            events.extend(
                classifier
                    .judge(&facts)
                    .map(|(judgement, _)| (facts, judgement)),
            );
        }
    }
    while let Some(due) = next(&mut holding, &mut classifier, u64::MAX) {
        events.extend(
            classifier
                .judge(&due)
                .map(|(judgement, _)| (due, judgement)),
        );
    }
    events
}
