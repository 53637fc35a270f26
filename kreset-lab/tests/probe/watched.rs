//! A measurement while tracers watch on both hosts: neither may take for trouble what it does on
//! purpose.

use std::{path::PathBuf, process::Command, time::Duration};

use kreset_lab::{
    Result, Side, Stop,
    driver::{self, Said, Tracer},
    net::{Namespace, chain::Chain},
};
use serde_json::Value;

use super::{
    RESETS, TIMER,
    broker::{Broker, Manners},
    probe,
};

const PATIENCE: Duration = Duration::from_mins(1);

fn tracer() -> PathBuf {
    std::env::var_os("KRESET_TRACE")
        .map(PathBuf::from)
        .expect("KRESET_TRACE names the program")
}

fn watch(side: Side, host: &Namespace) -> Result<Tracer> {
    Tracer::start(
        side,
        host,
        &tracer(),
        &driver::Options::default(),
        &Stop::default(),
    )
}

/// What `correlate` writes of these lines, and says of them.
fn correlate(lines: &[String], more: &[&str]) -> (Vec<Value>, String) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut file, lines.join("\n").as_bytes()).expect("it is written");
    let output = Command::new(tracer())
        .args(["correlate", "--format", "json"])
        .args(more)
        .arg(file.path())
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let out = String::from_utf8(output.stdout).expect("text");
    let findings = out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (findings.collect(), said)
}

/// The findings of a tracer, all of which are of the probe, known `by` that.
fn all_known(said: &Said, by: &str) -> usize {
    let mut count = 0;
    for event in said.about_connections() {
        let line: Value = serde_json::from_str(&event.line).expect("JSON");
        assert_eq!(line["kreset_probe"], by, "{line:#}");
        count += 1;
    }
    assert!(said.events.iter().all(|it| it.kind != "alert"), "{said:#?}");
    let summary = said.events.iter().rfind(|it| it.kind == "summary");
    let summary: Value =
        serde_json::from_str(&summary.expect("the last event").line).expect("JSON");
    assert_eq!(
        summary["noise"],
        serde_json::json!({ "kreset_probe": count })
    );
    assert_eq!(summary["events"], serde_json::json!({}));
    count
}

#[test]
fn what_a_probe_draws_is_known_on_both_hosts() -> Result<()> {
    let chain = Chain::new(2, false)?;
    chain.device(1, TIMER, RESETS)?;
    // Its host finds out by itself that the device has forgotten the connections.
    let keepalive = Duration::from_secs(u64::from(TIMER) + 2);
    let manners = Manners {
        keepalive: Some(keepalive),
        ..Manners::default()
    };
    let broker = Broker::start_with(&chain, manners)?;
    let client_watch = watch(Side::Client, chain.client())?;
    let broker_watch = watch(Side::Broker, chain.broker())?;
    let said = probe(chain.client(), chain.broker_address(false), &[])?;
    said.holds(TIMER.into());
    // The connections that the device forgot stay open at the broker until it asks.
    broker_watch.wait_for("the end of a connection", PATIENCE, |event| {
        event.is_about_a_connection()
    })?;
    let gone = |served: &super::broker::Served| served.closed + served.resets == served.connections;
    broker.wait_until(gone);
    let (by_client, by_broker) = (client_watch.finish()?, broker_watch.finish()?);
    let counts = [
        all_known(&by_client, "process"),
        all_known(&by_broker, "mss"),
    ];
    assert!(counts.iter().all(|count| *count >= 8), "{counts:?}");

    let line = |event: &Value| event.to_string();
    let lines = |said: &Said, as_it_is: bool| -> Vec<String> {
        let events = said.events.iter().map(|event| event.line.clone());
        if as_it_is {
            return events.collect();
        }
        // As if neither host had known.
        let mut events: Vec<Value> = events
            .map(|line| serde_json::from_str(&line).expect("JSON"))
            .collect();
        for event in &mut events {
            if let Some(known) = event.get_mut("kreset_probe") {
                *known = Value::Null;
            }
        }
        events.iter().map(line).collect()
    };
    for as_it_is in [true, false] {
        let mut all = [lines(&by_client, as_it_is), lines(&by_broker, as_it_is)].concat();
        if !as_it_is {
            assert!(
                !correlate(&all, &[]).0.is_empty(),
                "nothing says whose they are"
            );
        }
        all.push(line(&said.event));
        let (findings, text) = correlate(&all, &[]);
        assert_eq!(findings, Vec::<Value>::new());
        assert!(
            text.contains("of connections of kreset-trace probe"),
            "{text}"
        );
        let (findings, _) = correlate(&all, &["--all"]);
        assert!(!findings.is_empty());
        let known = if as_it_is {
            &["process", "mss"][..]
        } else {
            &["listed"][..]
        };
        for finding in &findings {
            let by = finding["kreset_probe"].as_str().unwrap_or_default();
            assert!(known.contains(&by), "{finding:#}");
        }
    }
    Ok(())
}
