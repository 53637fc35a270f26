use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use super::*;
use crate::event::{Kind, samples};

fn get(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(format!("{request} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn counted(attached: &Arc<AtomicBool>) -> Metrics {
    let metrics = Metrics::new(Arc::clone(attached), 0);
    for event in samples::all() {
        metrics.observe(&event);
    }
    metrics
}

#[test]
fn events_are_counted_under_their_labels() {
    let text = counted(&Arc::default()).text();
    for line in [
        "kreset_build_info{version=\"0.1.0\"} 1",
        "kreset_findings_total{type=\"reset\",verdict=\"middlebox_idle_reset\",cause=\"reset_on_send\",\
         role=\"client\",broker=\"10.0.2.7:9092\"} 1",
        "kreset_findings_total{type=\"timeout\",verdict=\"middlebox_idle_drop\",cause=\"blackholed\",\
         role=\"client\",broker=\"10.0.2.7:9092\"} 1",
        "kreset_findings_total{type=\"reset\",verdict=\"indeterminate\",cause=\"\",role=\"broker\",\
         broker=\"[2001:db8:0:1::9]:9094\"} 1",
        "kreset_fatal_idle_seconds_bucket{le=\"330.0\",broker=\"10.0.2.7:9092\"} 0",
        "kreset_fatal_idle_seconds_bucket{le=\"360.0\",broker=\"10.0.2.7:9092\"} 2",
        "kreset_alert_active{broker=\"10.0.2.7:9092\",verdict=\"middlebox_idle_reset\",\
         cause=\"reset_on_send\",pattern=\"periodic\"} 1",
        "kreset_noise_total{kind=\"probe\"} 1200",
        "kreset_lost_total{source=\"kernel\"} 3",
        "kreset_lost_total{source=\"decoder\"} 0",
        "kreset_attached 0",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn brokers_beyond_the_bound_share_a_label() {
    let metrics = Metrics::new(Arc::default(), 0);
    for host in 0..=u16::MAX {
        let mut finding = samples::finding();
        finding.broker.port = host;
        metrics.observe(&Event::Reset(Box::new(finding)));
    }
    let text = metrics.text();
    let series = text
        .lines()
        .filter(|line| line.starts_with("kreset_findings_total"))
        .count();
    assert_eq!(series, BROKERS + 1);
    let others = u64::from(u16::MAX) + 1 - BROKERS as u64;
    assert!(
        text.contains(&format!("broker=\"other\"}} {others}")),
        "{others}"
    );
    assert!(
        samples::all()
            .iter()
            .any(|event| event.kind() == Kind::Reset)
    );
}

#[test]
fn health_tells_attached_from_not() {
    let attached = Arc::default();
    let metrics = Arc::new(counted(&attached));
    let address = serve(metrics, "127.0.0.1:0".parse().unwrap()).unwrap();
    assert!(get(address, "GET /healthz").starts_with("HTTP/1.1 503 "));
    attached.store(true, Relaxed);
    let answer = get(address, "GET /healthz");
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("attached\n"),
        "{answer}"
    );
    let answer = get(address, "GET /metrics?x=y");
    assert!(
        answer.contains("kreset_attached 1\n") && answer.ends_with("# EOF\n"),
        "{answer}"
    );
    assert!(get(address, "HEAD /metrics").ends_with("\r\n\r\n"));
    assert!(get(address, "GET /").starts_with("HTTP/1.1 404 "));
    assert!(get(address, "POST /metrics").starts_with("HTTP/1.1 405 "));
}
