//! Findings in the form of the engines' tables: `null` is an empty text, a time is nanoseconds
//! since 1970, and 0 where there is none.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The columns, but for those of either host.
const SAME: [&str; 13] = [
    "id",
    "community_id",
    "flow_id",
    "sent_by",
    "kreset_probe",
    "verdict",
    "cause",
    "proof",
    "missing",
    "conflict",
    "event_ids",
    "advice",
    "broker",
];
const NUMBERS: [&str; 3] = ["confidence", "skew_ms", "wire_idle_ms"];
const HOSTS: [&str; 2] = ["client_host", "broker_host"];

/// One finding, by column.
#[derive(Debug, PartialEq)]
pub(super) struct Finding(Map<String, Value>);

impl Finding {
    /// From an event of type `finding`.
    pub(super) fn of_event(line: &str) -> Self {
        let event: Value = serde_json::from_str(line).unwrap();
        let mut row = Map::new();
        for name in SAME {
            row.insert(name.to_owned(), text(&event[name]));
        }
        for name in NUMBERS {
            row.insert(name.to_owned(), number(&event[name]));
        }
        row.insert("client".to_owned(), event["client"].clone());
        row.insert("at_ns".to_owned(), nanoseconds(&event["time"]));
        row.insert("host".to_owned(), event["host"]["name"].clone());
        for name in HOSTS {
            row.insert(name.to_owned(), of_host(&event[name]));
        }
        Self(row)
    }

    /// From a row of an engine.
    pub(super) fn of_engine(line: &str) -> Self {
        let Ok(Value::Object(mut row)) = serde_json::from_str(line) else {
            panic!("a row is a JSON object: {line}");
        };
        for name in NUMBERS {
            let value = number(&row[name]);
            row.insert(name.to_owned(), value);
        }
        for name in HOSTS {
            let mut host = row[name].clone();
            if host["name"] == "" {
                host = Value::Null;
            } else {
                host["confidence"] = number(&host["confidence"]);
            }
            row.insert(name.to_owned(), host);
        }
        Self(row)
    }

    fn id(&self) -> String {
        self.0["id"].as_str().unwrap().to_owned()
    }
}

fn text(value: &Value) -> Value {
    if value.is_null() {
        json!("")
    } else {
        value.clone()
    }
}

fn number(value: &Value) -> Value {
    value.as_f64().map_or(Value::Null, |it| json!(it))
}

fn nanoseconds(time: &Value) -> Value {
    let parsed = time.as_str().map(|it| it.parse::<Timestamp>().unwrap());
    let ns = parsed.map_or(0, |it| i64::try_from(it.as_nanosecond()).unwrap());
    json!(ns)
}

fn of_host(host: &Value) -> Value {
    if host.is_null() {
        return Value::Null;
    }
    let nowhere = json!({ "address": "", "port": 0 });
    let end = |name: &str| match &host[name] {
        Value::Null => nowhere.clone(),
        known => known.clone(),
    };
    json!({
        "name": host["name"], "saw": host["saw"], "at_ns": nanoseconds(&host["time"]),
        "client": end("client"), "broker": end("broker"),
        "verdict": text(&host["verdict"]), "cause": text(&host["cause"]),
        "confidence": host["confidence"].as_f64().unwrap_or(0.0),
        "kernel_reason": text(&host["kernel_reason"]),
        "watched_from_ns": nanoseconds(&host["watched_from"]),
        "watched_until_ns": nanoseconds(&host["watched_until"]),
    })
}

/// Findings by their ids.
#[derive(Debug)]
pub(super) struct Findings(BTreeMap<String, Finding>);

impl Findings {
    /// Each of them once.
    pub(super) fn new(all: impl Iterator<Item = Finding>) -> Self {
        let mut by_id = BTreeMap::new();
        for finding in all {
            let before = by_id.insert(finding.id(), finding);
            assert_eq!(before, None, "a finding came twice");
        }
        assert!(!by_id.is_empty(), "there are no findings");
        Self(by_id)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A line for each finding that is not the same in both.
    pub(super) fn differences(&self, found: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (id, expected) in &self.0 {
            match found.0.get(id) {
                None => lines.push(format!("{id} is missing: {expected:?}")),
                Some(found) if found != expected => {
                    let mut line = format!("{id} differs:");
                    for (name, value) in &expected.0 {
                        let other = found.0.get(name).unwrap_or(&Value::Null);
                        if other != value {
                            write!(line, " {name} is {other} instead of {value};").unwrap();
                        }
                    }
                    lines.push(line);
                }
                Some(_) => {}
            }
        }
        let surplus = found.0.iter().filter(|(id, _)| !self.0.contains_key(*id));
        lines
            .extend(surplus.map(|(id, row)| format!("{id} is found by the engine alone: {row:?}")));
        lines
    }
}

/// What differs is found, whatever it is.
#[test]
fn a_difference_in_any_column_is_told() {
    let line = r#"{"id":"pair-1","time":"2026-11-23T12:00:00.000000001Z","host":{"name":"a"},
        "community_id":"1:x","flow_id":null,"sent_by":"broker","kreset_probe":null,
        "verdict":"broker_originated","cause":"aborted","confidence":1,"proof":"sender_seen",
        "missing":[],"conflict":null,"client":{"address":"10.0.0.1","port":1},
        "broker":{"address":"10.0.0.2","port":2},"skew_ms":null,"wire_idle_ms":0,
        "event_ids":["1-1-1"],"advice":"","broker_host":null,
        "client_host":{"name":"a","saw":"received","time":"2026-11-23T12:00:00.000000001Z",
            "client":{"address":"10.0.0.1","port":1},"broker":{"address":"10.0.0.2","port":2},
            "verdict":"broker_originated","cause":"aborted","confidence":0.5,
            "kernel_reason":null,"watched_from":null,"watched_until":null}}"#;
    let expected = Findings::new([Finding::of_event(line)].into_iter());
    let row = &expected.0["pair-1"].0;
    let mut same = row.clone();
    same["broker_host"] = json!({ "name": "" });
    let same = Findings::new([Finding::of_engine(&Value::Object(same).to_string())].into_iter());
    assert_eq!(expected.differences(&same), [""; 0]);
    for name in row.keys().filter(|name| *name != "id") {
        let mut other = row.clone();
        other[name] = json!({ "name": "another" });
        let other = Findings(BTreeMap::from([("pair-1".to_owned(), Finding(other))]));
        let lines = expected.differences(&other);
        assert_eq!(lines.len(), 1, "{name}");
        assert!(lines[0].contains(name), "{name}: {lines:?}");
    }
    let none = Findings(BTreeMap::new());
    assert_eq!(expected.differences(&none).len(), 1);
    assert_eq!(none.differences(&expected).len(), 1);
}
