//! A real OpenTelemetry Collector with the configurations that are shipped.
//! `KRESET_COLLECTOR` names the program.

use std::{
    collections::BTreeMap,
    env, fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    contrib,
    endure::{Receiver, distinct, endure, number_and_id, quoted, write_config},
    otlp_server::number,
    process::{Agent, Program, free_port, soon},
};

/// A Collector that writes what it receives to a file, unbuffered: what it
/// has acknowledged, SIGKILL does not take from it.
struct Collector {
    directory: TempDir,
    shipped: &'static str,
    port: u16,
    running: Option<Program>,
}

impl Collector {
    fn new(shipped: &'static str) -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            shipped,
            port: free_port(),
            running: None,
        }
    }

    fn output(&self) -> PathBuf {
        self.directory.path().join("received.json")
    }

    /// Starts it with `events` as the file that it reads, if it reads one.
    fn run(&mut self, events: &Path) {
        let program = env::var_os("KRESET_COLLECTOR")
            .expect("KRESET_COLLECTOR names a Collector; cargo xtask fleet-test sets it");
        // What an operator adds: where it goes.
        let own = json!({
            "exporters": { "file": {
                "path": self.output(),
                "rotation": { "max_megabytes": 1_000 },
            } },
            "service": {
                "pipelines": { "logs/kreset": { "exporters": ["file"] } },
                "telemetry": { "metrics": { "level": "none" } },
            },
        });
        let path = self.directory.path().join("own.yaml");
        fs::write(&path, own.to_string()).unwrap();
        let mut command = Command::new(program);
        command
            .arg("--config")
            .arg(contrib::path(self.shipped))
            .arg("--config")
            .arg(path)
            .env("KRESET_OTLP_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("KRESET_EVENTS", events)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.running = Some(Program::start(&mut command));
    }

    /// Every record that it wrote.
    fn records(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.output()).unwrap_or_default();
        // A life that was cut short may have left the half of a line.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut records = Vec::new();
        for line in whole.lines() {
            let Ok(batch) = serde_json::from_str::<Value>(line) else {
                println!("a line that SIGKILL cut: {} bytes", line.len());
                continue;
            };
            let items =
                |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
            for resource in items(&batch, "resourceLogs") {
                for scope in items(&resource, "scopeLogs") {
                    records.extend(items(&scope, "logRecords"));
                }
            }
        }
        records
    }
}

/// The plain values of OTLP/JSON's list of attributes.
fn attributes(record: &Value) -> BTreeMap<String, Value> {
    let list = record["attributes"].as_array().unwrap().iter();
    list.map(|it| {
        let value = it["value"].as_object().unwrap();
        let value = match value.iter().next().unwrap() {
            // 64-bit integers are texts in JSON.
            (kind, Value::String(text)) if kind == "intValue" => {
                text.parse::<i64>().unwrap().into()
            }
            (_, value) => value.clone(),
        };
        (it["key"].as_str().unwrap().to_owned(), value)
    })
    .collect()
}

impl Receiver for Collector {
    fn sink(&self) -> String {
        let port = self.port;
        format!("[[sink]]\ntype = \"otlp\"\nendpoint = \"http://127.0.0.1:{port}/v1/logs\"\n")
    }

    fn start(&mut self) {
        self.run(Path::new("/nowhere"));
        soon("the Collector listens", Duration::from_mins(1), || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    fn kill(&mut self) {
        self.running.take().unwrap().kill();
    }

    fn events(&self) -> Vec<(u64, String)> {
        let events = self.records().into_iter().map(|record| {
            let attributes = attributes(&record);
            let get = |name: &str| attributes.get(name).cloned().unwrap_or_default();
            let id = get("log.record.uid").as_str().unwrap().to_owned();
            (number(record["eventName"].as_str().unwrap(), get), id)
        });
        events.collect()
    }
}

#[test]
fn collector_gets_every_event_over_otlp() {
    endure(&mut Collector::new("opentelemetry/collector-otlp.yaml"));
}

#[test]
fn collector_reads_every_event_of_a_file() {
    const COUNT: u64 = 1_000;
    let mut collector = Collector::new("opentelemetry/collector-file.yaml");
    let directory = TempDir::new().unwrap();
    let events = directory.path().join("events.json");
    let sink = format!("[[sink]]\ntype = \"file\"\npath = {}\n", quoted(&events));
    let config = write_config(directory.path(), &sink);
    Agent::start(&config, 0, COUNT, 0).finish();
    collector.run(&events);
    soon("all are read", Duration::from_mins(1), || {
        collector.records().len() as u64 >= COUNT
    });
    let written: BTreeMap<String, Value> = fs::read_to_string(&events)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|event| (event["id"].as_str().unwrap().to_owned(), event))
        .collect();
    let mut read = Vec::new();
    for record in collector.records() {
        let body = plain(&record["body"]);
        read.push(number_and_id(&body));
        let event = &written[body["id"].as_str().unwrap()];
        let time: jiff::Timestamp = event["time"].as_str().unwrap().parse().unwrap();
        assert_eq!(record["timeUnixNano"], time.as_nanosecond().to_string());
        let severity = match event["type"].as_str().unwrap() {
            "alert" => 17,
            "start" | "summary" => 9,
            _ => 13,
        };
        assert_eq!(record["severityNumber"], severity, "{event}");
    }
    assert_eq!(distinct(&read).len() as u64, COUNT);
}

/// A value of OTLP/JSON as plain JSON.
fn plain(value: &Value) -> Value {
    let Some((kind, value)) = value.as_object().and_then(|it| it.iter().next()) else {
        return Value::Null;
    };
    match kind.as_str() {
        "kvlistValue" => value["values"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| (it["key"].as_str().unwrap().to_owned(), plain(&it["value"])))
            .collect(),
        "arrayValue" => value["values"]
            .as_array()
            .into_iter()
            .flatten()
            .map(plain)
            .collect(),
        // JSON has one kind of number.
        "doubleValue" if value.as_f64().is_some_and(|it| it.fract() == 0.0) => {
            (value.as_f64().unwrap() as i64).into()
        }
        "intValue" => value.as_str().unwrap().parse::<i64>().unwrap().into(),
        _ => value.clone(),
    }
}
