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

/// The recordings that a table names, each with its truth: every row has a truth in its last column,
/// and in those before it the parts of names, with commas between those that it is the truth of.
pub(crate) fn truths(table: &str) -> impl Iterator<Item = (String, &str)> {
    table.trim().lines().flat_map(|row| {
        let (parts, truth) = row.rsplit_once(' ').unwrap();
        let mut columns = parts.split_whitespace().map(|column| column.split(','));
        let mut names: Vec<String> = columns.next().unwrap().map(str::to_owned).collect();
        for column in columns {
            let longer = |name| column.clone().map(move |part| format!("{name}.{part}"));
            names = names.iter().flat_map(longer).collect();
        }
        names.into_iter().map(move |name| (name, truth))
    })
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
    let mut report = |classifier: &mut Classifier, facts: Facts| {
        let judged = classifier.judge(&facts);
        events.extend(judged.map(|(judgement, _)| (facts, judgement)));
    };
    for facts in facts {
        while let Some(due) = next(&mut holding, &mut classifier, facts.at_ns) {
            report(&mut classifier, due);
        }
        classifier.observe(&facts);
        if let Some(facts) = holding.admit(facts) {
            report(&mut classifier, facts);
        }
    }
    while let Some(due) = next(&mut holding, &mut classifier, u64::MAX) {
        report(&mut classifier, due);
    }
    events
}
