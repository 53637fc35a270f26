//! An event as an OpenTelemetry log record.
//!
//! Names are those of the semantic conventions where there is one; the rest
//! stands under `kreset.`, named as in the native form.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value as Any},
    logs::v1::{LogRecord, SeverityNumber},
};
use prost::Message as _;
use serde_json::{Map, Value};

use crate::{
    delivery::{Encoder, SinkError},
    event::{Direction, Endpoint, Event, Finding, Message, Role, Time},
    sink::sentence::sentence,
};

/// Encodes each event as the protobuf of a log record.
#[derive(Clone, Copy, Debug, Default)]
pub struct OtlpEncoder;

impl Encoder for OtlpEncoder {
    fn encode(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), SinkError> {
        let record = record(message)?;
        record
            .encode(out)
            .map_err(|error| SinkError::Encode(Box::new(error)))
    }
}

/// The record of `message`.
pub(super) fn record(message: &Message) -> Result<LogRecord, SinkError> {
    let event = &message.event;
    let time = nanoseconds(event.time());
    let (severity, severity_text) = severity(event);
    let mut attributes = vec![text("log.record.uid", &message.id)];
    let mut rest = match serde_json::to_value(event)? {
        Value::Object(rest) => rest,
        _ => Map::new(),
    };
    // The time is the record's, the host the resource's.
    for key in ["type", "time", "host"] {
        rest.remove(key);
    }
    if let Some(finding) = event.finding() {
        put_finding(&mut attributes, finding);
        for key in ["client", "broker", "direction", "summary"] {
            rest.remove(key);
        }
        if let Some(process) = rest.get_mut("process").and_then(Value::as_object_mut) {
            for key in [
                "pid",
                "executable",
                "start_time",
                "container_id",
                "container_name",
                "cgroup",
                "pod_uid",
                "pod_name",
                "pod_namespace",
            ] {
                process.remove(key);
            }
        }
    }
    if let Event::Alert(alert) = event {
        put_end(&mut attributes, "server", alert.broker);
        rest.remove("broker");
    }
    if let Event::Incident(incident) = event {
        if let Some(broker) = incident.broker() {
            put_end(&mut attributes, "server", broker);
        }
        // It is the body.
        rest.remove("summary");
    }
    flatten("kreset", &rest, &mut attributes);
    Ok(LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time,
        severity_number: severity.into(),
        severity_text: severity_text.to_owned(),
        body: Some(string(&sentence(event))),
        attributes,
        event_name: format!("kreset.{}", event.kind()),
        ..LogRecord::default()
    })
}

/// 0, which OTLP reads as unknown, for times before 1970.
fn nanoseconds(time: Time) -> u64 {
    u64::try_from(time.0.as_nanosecond()).unwrap_or(0)
}

fn severity(event: &Event) -> (SeverityNumber, &'static str) {
    match event {
        Event::Alert(alert) if alert.phase == "begin" => (SeverityNumber::Error, "ERROR"),
        Event::Incident(it) if it.begins() => (SeverityNumber::Error, "ERROR"),
        Event::Loss(_) => (SeverityNumber::Warn, "WARN"),
        Event::Reset(it) | Event::Close(it) | Event::Timeout(it) if !it.is_noise() => {
            (SeverityNumber::Warn, "WARN")
        }
        _ => (SeverityNumber::Info, "INFO"),
    }
}

fn put_finding(attributes: &mut Vec<KeyValue>, finding: &Finding) {
    let client = finding.client.end();
    put_end(attributes, "client", client);
    put_end(attributes, "server", finding.broker);
    let (local, peer) = match finding.role {
        Role::Client => (client, finding.broker),
        Role::Broker => (finding.broker, client),
    };
    put_end(attributes, "network.local", local);
    put_end(attributes, "network.peer", peer);
    let direction = match finding.direction {
        Direction::Received => "receive",
        Direction::Sent => "transmit",
    };
    let kind = if finding.broker.address.is_ipv4() {
        "ipv4"
    } else {
        "ipv6"
    };
    attributes.extend([
        text("network.io.direction", direction),
        text("network.transport", "tcp"),
        text("network.type", kind),
        text(
            "error.type",
            finding
                .cause
                .map_or(finding.verdict.as_str(), |it| it.as_str()),
        ),
    ]);
    let protocol = finding.protocol();
    attributes.extend(protocol.map(|protocol| text("network.protocol.name", protocol)));
    if let Some(state) = &finding.connection.state {
        attributes.push(text("network.connection.state", &state.to_lowercase()));
    }
    let process = &finding.process;
    if let Some(pid) = process.pid {
        attributes.push(pair("process.pid", Any::IntValue(pid.into())));
    }
    let start_time = process.start_time.map(|time| time.to_string());
    for (name, value) in [
        ("messaging.client.id", finding.client.id.as_deref()),
        ("user_agent.name", finding.client.software.as_deref()),
        ("user_agent.version", finding.client.version.as_deref()),
        ("process.executable.name", process.program()),
        ("process.creation.time", start_time.as_deref()),
        ("process.linux.cgroup", process.cgroup.as_deref()),
        ("container.id", process.container_id.as_deref()),
        ("k8s.container.name", process.container_name.as_deref()),
        ("k8s.pod.uid", process.pod_uid.as_deref()),
        ("k8s.pod.name", process.pod_name.as_deref()),
        ("k8s.namespace.name", process.pod_namespace.as_deref()),
    ] {
        attributes.extend(value.map(|value| text(name, value)));
    }
}

fn put_end(attributes: &mut Vec<KeyValue>, end: &str, endpoint: Endpoint) {
    attributes.push(text(
        &format!("{end}.address"),
        &endpoint.address.to_string(),
    ));
    attributes.push(pair(
        &format!("{end}.port"),
        Any::IntValue(endpoint.port.into()),
    ));
}

/// Objects become dotted names, what is not known is left out.
fn flatten(prefix: &str, object: &Map<String, Value>, attributes: &mut Vec<KeyValue>) {
    for (key, value) in object {
        let name = format!("{prefix}.{key}");
        match value {
            Value::Object(inner) => flatten(&name, inner, attributes),
            value => attributes.extend(any(value).map(|value| pair(&name, value))),
        }
    }
}

fn any(value: &Value) -> Option<Any> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(it) => Any::BoolValue(*it),
        Value::Number(it) => match it.as_i64() {
            Some(it) => Any::IntValue(it),
            None => Any::DoubleValue(it.as_f64()?),
        },
        Value::String(it) => Any::StringValue(it.clone()),
        Value::Array(items) => {
            let values = items
                .iter()
                .filter_map(any)
                .map(|it| AnyValue { value: Some(it) });
            Any::ArrayValue(ArrayValue {
                values: values.collect(),
            })
        }
        Value::Object(object) => {
            let pairs = object
                .iter()
                .filter_map(|(key, it)| Some(pair(key, any(it)?)));
            Any::KvlistValue(KeyValueList {
                values: pairs.collect(),
            })
        }
    })
}

fn string(value: &str) -> AnyValue {
    AnyValue {
        value: Some(Any::StringValue(value.to_owned())),
    }
}

/// An attribute that is a text.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Any::StringValue(value.to_owned()))
}

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
