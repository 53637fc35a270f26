//! Findings in the form of the engines' tables: `null` is an empty text, a time is nanoseconds
//! since 1970, and 0 where there is none.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{BufRead as _, BufReader},
    os::unix::fs::FileExt as _,
    path::Path,
};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

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

    /// Of all that it says, with its members in the order of their names.
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Value::from(self.0.clone()).to_string().hash(&mut hasher);
        hasher.finish()
    }

    /// In which columns another one differs, if in any.
    fn difference(&self, found: &Self) -> Option<String> {
        let mut line = format!("{} differs:", self.id());
        for (name, value) in &self.0 {
            let other = found.0.get(name).unwrap_or(&Value::Null);
            if other != value {
                write!(line, " {name} is {other} instead of {value};").unwrap();
            }
        }
        let surplus = found.0.keys().filter(|name| !self.0.contains_key(*name));
        for name in surplus {
            write!(line, " {name} is one column more;").unwrap();
        }
        (self != found).then_some(line)
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

/// The lines of a file, each a finding. Of half a million only their digests are kept.
#[derive(Debug)]
pub(super) struct Findings {
    file: File,
    read: fn(&str) -> Finding,
    by_id: BTreeMap<String, Row>,
}

/// A line, and a digest of what it says.
#[derive(Clone, Copy, Debug)]
struct Row {
    digest: u64,
    offset: u64,
    length: usize,
}

impl Findings {
    /// Each of them once, as `read` understands a line.
    pub(super) fn new(path: &Path, read: fn(&str) -> Finding) -> Self {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut lines = BufReader::new(file.try_clone().unwrap());
        let (mut by_id, mut line, mut offset) = (BTreeMap::new(), String::new(), 0);
        while lines.read_line(&mut line).unwrap() > 0 {
            let finding = read(&line);
            let row = Row {
                digest: finding.digest(),
                offset,
                length: line.len(),
            };
            offset += line.len() as u64;
            let id = finding.id();
            assert!(
                by_id.insert(id, row).is_none(),
                "a finding came twice: {line}"
            );
            line.clear();
        }
        assert!(!by_id.is_empty(), "there are no findings");
        Self { file, read, by_id }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// What a line says.
    fn finding(&self, row: &Row) -> Finding {
        let mut line = vec![0; row.length];
        self.file.read_exact_at(&mut line, row.offset).unwrap();
        (self.read)(str::from_utf8(&line).unwrap())
    }

    /// A line for each finding that is not the same in both.
    pub(super) fn differences(&self, found: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (id, row) in &self.by_id {
            match found.by_id.get(id) {
                None => lines.push(format!("{id} is missing: {:?}", self.finding(row))),
                Some(other) if other.digest != row.digest => {
                    let (expected, found) = (self.finding(row), found.finding(other));
                    lines.extend(expected.difference(&found));
                }
                Some(_) => {}
            }
        }
        let surplus = found
            .by_id
            .iter()
            .filter(|(id, _)| !self.by_id.contains_key(*id));
        let surplus = surplus.map(|(id, row)| (id, found.finding(row)));
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
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    let of = |row: &Value, name: &str| {
        fs::write(place(name), format!("{row}\n")).unwrap();
        Findings::new(&place(name), Finding::of_engine)
    };
    fs::write(place("event"), line.replace('\n', "") + "\n").unwrap();
    let expected = Findings::new(&place("event"), Finding::of_event);
    let row = &Finding::of_event(line).0;
    let mut same = row.clone();
    same["broker_host"] = json!({ "name": "" });
    assert_eq!(expected.differences(&of(&same.into(), "same")), [""; 0]);
    for name in row.keys().filter(|name| *name != "id") {
        let mut other = row.clone();
        other["broker_host"] = json!({ "name": "" });
        let is_number = NUMBERS.contains(&name.as_str());
        other[name] = if is_number {
            json!(123.5)
        } else {
            json!({ "name": "another" })
        };
        let lines = expected.differences(&of(&other.into(), "other"));
        assert_eq!(lines.len(), 1, "{name}");
        assert!(lines[0].contains(name), "{name}: {lines:?}");
    }
    let mut another = row.clone();
    another["broker_host"] = json!({ "name": "" });
    another["id"] = json!("pair-2");
    let another = of(&another.into(), "another");
    assert_eq!(expected.differences(&another).len(), 2);
    assert_eq!(another.differences(&expected).len(), 2);
}
