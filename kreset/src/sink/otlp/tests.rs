use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    thread,
};

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsPartialSuccess, common::v1::any_value::Value,
};

use super::{record::record, *};
use crate::{
    delivery::spool::Spool,
    event::{Event, samples},
};

/// Attributes of a record by name, as text.
fn attributes(record: &LogRecord) -> BTreeMap<&str, String> {
    let texts = record.attributes.iter().map(|it| {
        let text = match it.value.as_ref().and_then(|it| it.value.as_ref()) {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(number)) => number.to_string(),
            Some(Value::DoubleValue(number)) => number.to_string(),
            Some(Value::BoolValue(it)) => it.to_string(),
            other => format!("{other:?}"),
        };
        (it.key.as_str(), text)
    });
    texts.collect()
}

#[test]
fn a_finding_has_the_names_of_the_semantic_conventions() {
    let message = samples::message(Event::Reset(Box::new(samples::finding())), 7);
    let record = record(&message).unwrap();
    assert_eq!(record.event_name, "kreset.reset");
    assert_eq!(record.time_unix_nano, 1_795_443_727_123_456_789);
    assert_eq!(record.severity_text, "WARN");
    let attributes = attributes(&record);
    for (name, value) in [
        ("log.record.uid", message.id.as_str()),
        ("client.address", "10.0.1.5"),
        ("client.port", "43210"),
        ("server.address", "10.0.2.7"),
        ("network.local.address", "10.0.1.5"),
        ("network.peer.port", "9092"),
        ("network.io.direction", "receive"),
        ("network.connection.state", "established"),
        ("error.type", "reset_on_send"),
        ("process.pid", "4242"),
        ("process.executable.name", "java"),
        ("kreset.verdict", "middlebox_idle_reset"),
        ("kreset.community_id", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        ("kreset.confidence", "0.973"),
        ("kreset.connection.idle_ms", "350214.5"),
        ("kreset.process.systemd_unit", "kafka-client.service"),
    ] {
        assert_eq!(
            attributes.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
    assert!(
        !attributes.contains_key("kreset.process.container_id"),
        "null is left out"
    );
}

#[test]
fn every_type_is_a_record_with_a_body() {
    for message in samples::messages() {
        let record = record(&message).unwrap();
        let body = record.body.clone().and_then(|body| body.value);
        assert!(
            matches!(body, Some(Value::StringValue(text)) if text.len() > 10),
            "{record:?}"
        );
        let mut bytes = Vec::new();
        crate::delivery::Encoder::encode(&mut OtlpEncoder, &message, &mut bytes).unwrap();
        assert_eq!(LogRecord::decode(bytes.as_slice()).unwrap(), record);
    }
}

fn entries(count: usize) -> Vec<Entry> {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(directory.path(), u64::MAX).unwrap();
    for message in samples::messages().into_iter().cycle().take(count) {
        let mut payload = Vec::new();
        crate::delivery::Encoder::encode(&mut OtlpEncoder, &message, &mut payload).unwrap();
        spool.append([payload.as_slice()]).unwrap();
    }
    spool.read(count, usize::MAX).unwrap()
}

/// What a server that answers once saw: the request's head, and its body.
fn exchange(
    answer: Vec<u8>,
) -> (
    Result<Handed, RemoteError>,
    String,
    ExportLogsServiceRequest,
) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let seen = thread::spawn(move || {
        let (stream, _) = server.accept().unwrap();
        let mut reader = BufReader::new(&stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).unwrap();
        }
        let lower = head.to_lowercase();
        let length = lower.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        (&stream).write_all(&answer).unwrap();
        (
            head,
            ExportLogsServiceRequest::decode(body.as_slice()).unwrap(),
        )
    });
    let mut otlp = Otlp::new(&OtlpConfig {
        endpoint: format!("http://{address}/v1/logs").try_into().unwrap(),
        headers: BTreeMap::from([("Authorization".to_owned(), "Bearer token".to_owned())]),
        ca: None,
        cert: None,
        key: None,
        timeout: Duration::from_secs(5),
    })
    .unwrap();
    let sent = otlp.send(&entries(9));
    let (head, request) = seen.join().unwrap();
    (sent, head, request)
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn a_batch_is_one_request_with_resource_and_headers() {
    let (sent, head, request) = exchange(answer("200 OK", b""));
    assert_eq!(sent.unwrap(), Handed::Confirmed);
    assert!(head.starts_with("POST /v1/logs HTTP/1.1\r\n"), "{head}");
    let lower = head.to_lowercase();
    assert!(lower.contains("authorization: bearer token"), "{head}");
    assert!(
        lower.contains("content-type: application/x-protobuf"),
        "{head}"
    );
    let logs = &request.resource_logs[0];
    let resource = &logs.resource.as_ref().unwrap().attributes;
    assert!(
        resource.iter().any(|it| it.key == "host.name"),
        "{resource:?}"
    );
    assert_eq!(logs.scope_logs[0].log_records.len(), 9);
}

#[test]
fn busy_receivers_are_tried_again_and_refusals_are_not() {
    for status in [
        "429 Too Many Requests",
        "503 Unavailable",
        "401 Unauthorized",
        "302 Found",
    ] {
        let (sent, ..) = exchange(answer(status, b""));
        assert!(matches!(sent, Err(RemoteError::Unavailable(_))), "{status}");
    }
    for status in ["400 Bad Request", "413 Too Large"] {
        let (sent, ..) = exchange(answer(status, b""));
        assert!(matches!(sent, Err(RemoteError::Refused(_))), "{status}");
    }
    let partial = ExportLogsServiceResponse {
        partial_success: Some(ExportLogsPartialSuccess {
            rejected_log_records: 1,
            error_message: "no".to_owned(),
        }),
    };
    let (sent, ..) = exchange(answer("200 OK", &partial.encode_to_vec()));
    assert!(matches!(sent, Err(RemoteError::Refused(_))));
}

#[test]
fn a_receiver_that_is_down_is_unavailable() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut otlp = Otlp::new(&OtlpConfig {
        endpoint: format!("http://{address}/v1/logs").try_into().unwrap(),
        headers: BTreeMap::new(),
        ca: None,
        cert: None,
        key: None,
        timeout: Duration::from_secs(5),
    })
    .unwrap();
    assert!(matches!(
        otlp.send(&entries(1)),
        Err(RemoteError::Unavailable(_))
    ));
}
