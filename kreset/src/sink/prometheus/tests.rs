use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use super::*;
use crate::event::samples;

fn get(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(format!("{request} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn counted(health: &Arc<Health>) -> Metrics {
    let metrics = Metrics::new(Arc::clone(health), 0);
    for event in samples::all() {
        metrics.observe(&event);
    }
    metrics
}

fn pages(health: &Arc<Health>) -> Arc<Pages> {
    Arc::new(Pages {
        metrics: counted(health),
        health: Arc::clone(health),
    })
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn events_are_counted_under_their_labels() {
    let text = counted(&Arc::default()).text();
    for line in [
        "kreset_build_info{version=\"0.1.0\"} 1",
        // New series, which are shown as 0 at first.
        "kreset_findings_total{type=\"reset\",verdict=\"middlebox_idle_reset\",cause=\"reset_on_send\",\
         role=\"client\",broker=\"10.0.2.7:9092\"} 0",
        "kreset_findings_total{type=\"timeout\",verdict=\"middlebox_idle_drop\",cause=\"blackholed\",\
         role=\"client\",broker=\"10.0.2.7:9092\"} 0",
        "kreset_findings_total{type=\"reset\",verdict=\"indeterminate\",cause=\"\",role=\"broker\",\
         broker=\"[2001:db8:0:1::9]:9094\"} 0",
        "kreset_fatal_idle_seconds_bucket{le=\"330.0\",broker=\"10.0.2.7:9092\"} 0",
        "kreset_fatal_idle_seconds_bucket{le=\"360.0\",broker=\"10.0.2.7:9092\"} 2",
        "kreset_alert_active{broker=\"10.0.2.7:9092\",verdict=\"middlebox_idle_reset\",\
         cause=\"reset_on_send\",pattern=\"periodic\"} 1",
        "kreset_noise_total{kind=\"probe\"} 1200",
        "kreset_lost_total{source=\"limiter\"} 3",
        "kreset_lost_total{source=\"kernel\"} 0",
        "kreset_attached 0",
        "kreset_config_last_reload_successful 1",
        "process_open_fds ",
        "process_cpu_seconds_total ",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn what_a_sink_lost_is_counted_under_one_name() {
    let metrics = Metrics::new(Arc::default(), 0);
    let mut loss = samples::all()
        .into_iter()
        .find_map(|event| match event {
            Event::Loss(loss) => Some(loss),
            _ => None,
        })
        .unwrap();
    loss.source = "sink siem".to_owned();
    metrics.observe(&Event::Loss(loss));
    metrics.watch(vec![("siem".to_owned(), Arc::default())]);
    let text = metrics.text();
    assert!(
        text.contains("kreset_sink_lost_total{sink=\"siem\"} 0"),
        "{text}"
    );
    assert!(!text.contains("source=\"sink siem\""), "{text}");
}

#[test]
fn health_is_that_of_the_event_loop() {
    let health = Arc::default();
    let pages = pages(&health);
    pages
        .metrics
        .watch(vec![("siem".to_owned(), Arc::default())]);
    let address = serve(&pages, loopback(), true, true).unwrap();
    let answer = get(address, "GET /healthz");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    health.set_attached(true);
    health.turn(Instant::now());
    let answer = get(address, "GET /healthz");
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("attached\nsink siem: working\n"),
        "{answer}"
    );
    let answer = get(address, "GET /metrics?x=y");
    assert!(answer.contains("kreset_attached 1\n"), "{answer}");
    assert!(get(address, "HEAD /metrics").ends_with("\r\n\r\n"));
    assert!(get(address, "GET /").starts_with("HTTP/1.1 404 "));
    assert!(get(address, "POST /metrics").starts_with("HTTP/1.1 405 "));
}

#[test]
fn health_is_not_served_where_strangers_come() {
    let health = Arc::default();
    let pages = pages(&health);
    let public = serve(&pages, loopback(), true, false).unwrap();
    assert!(get(public, "GET /healthz").starts_with("HTTP/1.1 404 "));
    assert!(get(public, "GET /metrics").starts_with("HTTP/1.1 200 "));
    let own = serve(&pages, loopback(), false, true).unwrap();
    assert!(get(own, "GET /healthz").starts_with("HTTP/1.1 503 "));
    assert!(get(own, "GET /metrics").starts_with("HTTP/1.1 404 "));
}

#[test]
fn prometheus_gets_the_format_that_it_asks_for() {
    let pages = pages(&Arc::default());
    let answer = |accept| {
        pages.metrics(Request {
            path: "/metrics",
            accept,
        })
    };
    let open = answer(Some("application/openmetrics-text; version=1.0.0"));
    assert!(
        open.content_type
            .starts_with("application/openmetrics-text")
    );
    assert!(open.body.ends_with("# EOF\n"));
    let classic = answer(None);
    assert!(
        classic
            .content_type
            .starts_with("text/plain; version=0.0.4")
    );
    assert!(!classic.body.contains("# EOF"));
}

/// `promtool` is Debian's package `prometheus`, which `cargo xtask setup` installs.
#[cfg(feature = "receivers")]
#[test]
fn promtool_finds_nothing_wrong() {
    let pages = pages(&Arc::default());
    pages
        .metrics
        .watch(vec![("siem".to_owned(), Arc::default())]);
    use std::process::{Command, Stdio};

    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed");
    let body = pages
        .metrics(Request {
            path: "/metrics",
            accept: None,
        })
        .body;
    child
        .stdin
        .take()
        .unwrap()
        .write_all(body.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}\n{body}");
}
