//! A real OpenSearch, with the index templates that are shipped.
//! `KRESET_OPENSEARCH_LIBS` names the directory of its jars.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    contrib,
    http::{Http, agent, text},
    process::{Program, free_port, soon},
    real::Events,
};

/// Events of each type.
const COUNT: usize = 200;
/// Documents in a request.
const BULK: usize = 500;

impl Http {
    /// The status and body that a body of JSON is answered with.
    fn put(self, path: &str, body: &str) -> (u16, Value) {
        let request = agent().put(self.url(path));
        let answer = request.content_type("application/json").send(body).unwrap();
        status_and_body(answer)
    }

    /// Likewise, of a body of lines of JSON.
    fn post(self, path: &str, body: &str) -> (u16, Value) {
        let request = agent().post(self.url(path));
        let answer = request.content_type("application/x-ndjson").send(body);
        status_and_body(answer.unwrap())
    }
}

fn status_and_body(answer: ureq::http::Response<ureq::Body>) -> (u16, Value) {
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&text(answer)).unwrap())
}

/// One node on loopback.
struct OpenSearch {
    http: Http,
    _program: Program,
    _directory: TempDir,
}

impl OpenSearch {
    fn start() -> Self {
        let libs = env::var_os("KRESET_OPENSEARCH_LIBS")
            .expect("KRESET_OPENSEARCH_LIBS names the jars; cargo xtask fleet-test sets it");
        let directory = TempDir::new().unwrap();
        let port = free_port();
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fleet/opensearch/OpenSearch.java");
        let mut command = Command::new("java");
        command
            .args([
                "-Xmx512m",
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-cp",
            ])
            .arg(Path::new(&libs).join("*"))
            .arg(source)
            .arg(directory.path())
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let program = Program::start(&mut command);
        let http = Http { port };
        soon("OpenSearch answers", Duration::from_mins(4), || {
            http.get("/_cluster/health?wait_for_status=yellow")
                .is_some()
        });
        Self {
            http,
            _program: program,
            _directory: directory,
        }
    }

    /// Takes in `lines` under the ids that `id` points to; those refused.
    fn index(&self, index: &str, lines: &[String], id: &str) -> Vec<Value> {
        let mut refused = Vec::new();
        for lines in lines.chunks(BULK) {
            let mut body = String::new();
            for line in lines {
                let event: Value = serde_json::from_str(line).unwrap();
                let id = event.pointer(id).unwrap();
                let action = json!({ "index": { "_index": index, "_id": id } });
                body.extend([&action.to_string(), "\n", line, "\n"]);
            }
            let (status, answer) = self.http.post("/_bulk?refresh=true", &body);
            assert_eq!(status, 200, "{answer}");
            let items = answer["items"].as_array().unwrap();
            assert_eq!(items.len(), lines.len());
            refused.extend(
                items
                    .iter()
                    .filter(|it| !it["index"]["error"].is_null())
                    .cloned(),
            );
        }
        refused
    }

    fn search(&self, index: &str, query: &Value) -> Value {
        let (status, answer) = self
            .http
            .post(&format!("/{index}/_search"), &query.to_string());
        assert_eq!(status, 200, "{answer}");
        answer
    }

    fn count(&self, index: &str, query: &Value) -> u64 {
        let query = json!({ "size": 0, "track_total_hits": true, "query": query });
        self.search(index, &query)["hits"]["total"]["value"]
            .as_u64()
            .unwrap()
    }
}

/// The type of each field, by its dotted name.
fn types(properties: &Value, prefix: &str, found: &mut BTreeMap<String, String>) {
    for (key, field) in properties.as_object().unwrap() {
        let name = format!("{prefix}{key}");
        match field.get("properties") {
            Some(inner) => types(inner, &format!("{name}."), found),
            None => drop(found.insert(name, field["type"].as_str().unwrap().to_owned())),
        }
    }
}

/// What `template` leaves to the index: tables whose keys the events choose.
fn is_table(name: &str, prefix: &str) -> bool {
    ["events.", "noise.", "coverage.sinks."]
        .iter()
        .any(|table| {
            name.strip_prefix(prefix)
                .is_some_and(|it| it.starts_with(table))
        })
}

#[test]
fn opensearch_takes_every_type_of_event_with_the_shipped_templates() {
    let directory = TempDir::new().unwrap();
    let events = Events::make(directory.path(), COUNT);
    let opensearch = OpenSearch::start();
    let total = 7 * COUNT as u64;
    for (format, lines, id, prefix, client, verdict) in [
        (
            "native",
            &events.native,
            "/id",
            "",
            "client.address",
            "verdict",
        ),
        (
            "ecs",
            &events.ecs,
            "/event/id",
            "kreset.",
            "client.ip",
            "rule.name",
        ),
    ] {
        let template: Value = serde_json::from_str(&contrib::text(&format!(
            "elasticsearch/kreset-{format}.json"
        )))
        .unwrap();
        let path = format!("/_index_template/kreset-{format}");
        let (status, answer) = opensearch.http.put(&path, &template.to_string());
        assert_eq!(status, 200, "{answer}");
        let index = format!("kreset-{format}-1");
        // Twice, as after a failure: a repeat replaces itself.
        for _ in 0..2 {
            let refused = opensearch.index(&index, lines, id);
            assert!(
                refused.is_empty(),
                "{} refused, such as {}",
                refused.len(),
                refused[0]
            );
            assert_eq!(opensearch.count(&index, &json!({ "match_all": {} })), total);
        }

        // The template names every field, so that none has a type by chance.
        let mapping = opensearch.http.get(&format!("/{index}/_mapping")).unwrap();
        let mapping: Value = serde_json::from_str(&mapping).unwrap();
        let (mut named, mut there) = (BTreeMap::new(), BTreeMap::new());
        let properties = "/template/mappings/properties";
        types(template.pointer(properties).unwrap(), "", &mut named);
        types(&mapping[&index]["mappings"]["properties"], "", &mut there);
        for (name, kind) in &there {
            if is_table(name, prefix) {
                assert_eq!(kind, "long", "{name}");
            } else {
                assert_eq!(Some(kind), named.get(name), "{name}");
            }
        }

        // What one asks a SIEM.
        let kinds: BTreeSet<&str> = BTreeSet::from([
            "start", "reset", "close", "timeout", "alert", "loss", "summary",
        ]);
        for kind in kinds {
            let of_kind = json!({ "term": { format!("{prefix}type"): kind } });
            assert_eq!(opensearch.count(&index, &of_kind), COUNT as u64, "{kind}");
        }
        let network = |network: &str| json!({ "term": { client: network } });
        let clients = opensearch.count(&index, &network("0.0.0.0/0"))
            + opensearch.count(&index, &network("::/0"));
        assert!(clients >= 3 * COUNT as u64, "{clients}");
        let sure = json!({ "range": { format!("{prefix}confidence"): { "gte": 0.5 } } });
        assert!(opensearch.count(&index, &sure) > COUNT as u64);
        let by_verdict = json!({
            "size": 0,
            "aggs": {
                "verdicts": { "terms": { "field": verdict } },
                "idle": { "max": { "field": format!("{prefix}connection.idle_ms") } },
            },
        });
        let answer = opensearch.search(&index, &by_verdict);
        let buckets = answer["aggregations"]["verdicts"]["buckets"]
            .as_array()
            .unwrap();
        assert!(buckets.len() >= 3, "{answer}");
        assert!(
            answer["aggregations"]["idle"]["value"].as_f64() > Some(1_000.0),
            "{answer}"
        );
        let by_evidence = json!({ "exists": { "field": format!("{prefix}evidence.name") } });
        assert!(opensearch.count(&index, &by_evidence) > COUNT as u64);
        println!(
            "OpenSearch: {total} events in the {format} format, {COUNT} of each type: 0 refused"
        );
    }
}
