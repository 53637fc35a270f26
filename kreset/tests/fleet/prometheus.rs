//! A real Prometheus that scrapes the agent.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    endure::write_config,
    process::{Agent, Program, free_port, soon},
};

/// Events that are counted, at most.
const EVENTS: u64 = 2_000;

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let head = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
}

/// The value of an expression that has one.
fn query(port: u16, expression: &str) -> Option<f64> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let encoded: String = expression
        .bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    let answer = get(port, &format!("/api/v1/query?query={encoded}"))?;
    let answer: Value = serde_json::from_str(&answer).ok()?;
    answer
        .pointer("/data/result/0/value/1")?
        .as_str()?
        .parse()
        .ok()
}

#[test]
#[expect(clippy::float_cmp, reason = "counts are whole")]
fn prometheus_scrapes_what_was_counted() {
    let directory = TempDir::new().unwrap();
    let (agent_port, port) = (free_port(), free_port());
    let sink = format!(
        "[[sink]]\ntype = \"prometheus\"\nlisten = \"127.0.0.1:{agent_port}\"\n\
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
    let longest = Duration::from_mins(1);
    soon("Prometheus is ready", longest, || {
        get(port, "/-/ready").is_some_and(|it| it.contains("Ready"))
    });

    // A quick burst; the rest trickles, so that the agent is there to be scraped.
    let agent = Agent::start(&config, 0, EVENTS, 100);
    soon("the agent is scraped", longest, || {
        query(port, "up") == Some(1.0)
    });
    agent.await_kept(1_000);
    soon("counts are scraped", longest, || {
        query(port, "sum(kreset_findings_total)").is_some_and(|it| it > 900.0)
    });
    let sum = |text: &str| query(port, text).unwrap_or_else(|| panic!("no value of {text}"));
    let findings = sum("sum(kreset_findings_total)");
    assert!(findings <= 2_000.0, "{findings}");
    assert!(sum("count(count by (verdict, cause) (kreset_findings_total))") == 7.0);
    assert!(sum("histogram_quantile(0.5, sum by (le) (kreset_fatal_idle_seconds_bucket))") > 330.0);
    assert!(sum("kreset_sink_delivered_total{sink=\"file\"}") > 900.0);
    assert_eq!(sum("kreset_build_info"), 1.0);
    assert_eq!(sum("kreset_attached"), 0.0);
    assert!(sum("max(kreset_alert_active)") >= 0.0);
    drop(agent);
}
