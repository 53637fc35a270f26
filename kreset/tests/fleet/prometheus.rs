//! A real Prometheus that scrapes the agent; its rules and its dashboard.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    contrib,
    endure::write_config,
    http::{Http, encoded},
    process::{Agent, Program, free_port, soon},
};

/// Events that are counted, at most.
const EVENTS: u64 = 3_000;
const LONGEST: Duration = Duration::from_mins(1);

/// The series that an expression has, or what is wrong with it.
fn query(prometheus: Http, expression: &str) -> Result<Vec<Value>, String> {
    let path = format!("/api/v1/query?query={}", encoded(expression));
    let answer = prometheus.get(&path);
    let answer: Value = answer.map_or(Value::Null, |it| serde_json::from_str(&it).unwrap());
    match answer.pointer("/data/result").and_then(Value::as_array) {
        Some(series) => Ok(series.clone()),
        None => Err(format!("{expression}: {answer}")),
    }
}

/// The value of an expression that has one.
fn value(prometheus: Http, expression: &str) -> Option<f64> {
    let series = query(prometheus, expression).unwrap_or_else(|error| panic!("{error}"));
    series.first()?.pointer("/value/1")?.as_str()?.parse().ok()
}

/// The names in `text` that begin as the agent's metrics do.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("kreset_"))
        .collect()
}

/// Every expression and query of the dashboard, with its variables filled in
/// as Grafana does.
fn expressions(dashboard: &Value, found: &mut Vec<String>) {
    match dashboard {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(text) if key == "expr" => found.push(
                        text.replace("$__rate_interval", "1m")
                            .replace("$__range", "1m")
                            .replace("$job", ".*")
                            .replace("$instance", ".*")
                            .replace("$broker", ".*"),
                    ),
                    other => expressions(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[test]
fn the_rules_do_what_their_tests_say() {
    let rules = contrib::path("prometheus/kreset-rules.yml");
    let tests = contrib::path("prometheus/kreset-rules.test.yml");
    for (check, file) in [("check", &rules), ("test", &tests)] {
        let done = Command::new("promtool")
            .args([check, "rules"])
            .arg(file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{said}");
    }
    let alerts = |text: &str, key: &str| -> BTreeSet<String> {
        let lines = text.split(key).skip(1);
        lines
            .filter_map(|rest| rest.split([',', '\n', '}']).next())
            .map(|name| name.trim().to_owned())
            .collect()
    };
    let rules = alerts(&contrib::text("prometheus/kreset-rules.yml"), "- alert:");
    let tested = alerts(
        &contrib::text("prometheus/kreset-rules.test.yml"),
        "alertname:",
    );
    assert_eq!(rules, tested, "every alert has a test");
}

#[test]
#[expect(clippy::float_cmp, reason = "counts are whole")]
fn prometheus_scrapes_what_was_counted_and_what_rules_and_dashboard_ask_for() {
    let directory = TempDir::new().unwrap();
    let (agent_port, port) = (free_port(), free_port());
    // A closed port: that sink fails, and its spool has events.
    let closed = free_port();
    let sink = format!(
        "[[sink]]\ntype = \"syslog\"\naddress = \"tcp://127.0.0.1:{closed}\"\n\
         [[sink]]\ntype = \"prometheus\"\nlisten = \"127.0.0.1:{agent_port}\"\n\
         [[sink]]\ntype = \"file\"\npath = \"{}\"\n",
        directory.path().join("events.json").display()
    );
    let config = write_config(directory.path(), &sink);
    let scrape = directory.path().join("prometheus.yml");
    fs::write(
        &scrape,
        format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: kreset\n  \
             static_configs: [{{targets: ['127.0.0.1:{agent_port}']}}]\n"
        ),
    )
    .unwrap();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", scrape.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            directory.path().join("data").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stderr(Stdio::null());
    let _prometheus = Program::start(&mut command);
    let prometheus = Http { port };
    soon("Prometheus is ready", LONGEST, || {
        let answer = prometheus.get("/-/ready");
        answer.is_some_and(|it| it.contains("Ready"))
    });

    // They trickle, so that the agent is there to be scraped.
    let agent = Agent::start(&config, 0, EVENTS, 100);
    soon("the agent is scraped", LONGEST, || {
        value(prometheus, "up") == Some(1.0)
    });
    agent.await_kept(1_000);
    soon("counts are scraped", LONGEST, || {
        value(prometheus, "sum(kreset_findings_total)").is_some_and(|it| it > 800.0)
    });
    let sum = |text: &str| value(prometheus, text).unwrap_or_else(|| panic!("no value of {text}"));
    let findings = sum("sum(kreset_findings_total)");
    assert!(findings <= 3_000.0, "{findings}");
    assert!(sum("count(count by (verdict, cause) (kreset_findings_total))") == 7.0);
    assert!(sum("histogram_quantile(0.5, sum by (le) (kreset_fatal_idle_seconds_bucket))") > 330.0);
    assert!(sum("kreset_sink_delivered_total{sink=\"file\"}") > 800.0);
    assert_eq!(sum("kreset_build_info"), 1.0);
    assert_eq!(sum("kreset_attached"), 0.0);
    assert!(sum("max(kreset_alert_active)") >= 0.0);
    assert!(sum("kreset_sink_spool_bytes{sink=\"syslog\"} / on () kreset_spool_limit_bytes") > 0.0);

    // What the dashboard shows has a value, and it and the rules name nothing
    // that is not there.
    let dashboard = contrib::text("grafana/kreset.json");
    let mut shown = Vec::new();
    expressions(&serde_json::from_str(&dashboard).unwrap(), &mut shown);
    assert!(shown.len() > 15, "{shown:?}");
    for expression in &shown {
        soon(expression, LONGEST, || {
            let series = query(prometheus, expression).unwrap_or_else(|error| panic!("{error}"));
            !series.is_empty()
        });
    }
    let rules = contrib::text("prometheus/kreset-rules.yml");
    for metric in metrics_in(&dashboard).union(&metrics_in(&rules)) {
        let there = query(prometheus, metric).unwrap_or_else(|error| panic!("{error}"));
        assert!(!there.is_empty(), "{metric} is not scraped");
    }
    drop(agent);
}
