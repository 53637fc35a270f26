//! Documents of the Elastic Common Schema, one a line.
//!
//! What ECS has a field for stands in that field; the rest stands under
//! `kreset.`, named as in the native form.

use jiff::SignedDuration;
use serde::Serialize as _;
use serde_json::{Map, Value, json, ser::Serializer};

use super::{json::OneLine, sentence::sentence};
use crate::delivery::{Encoder, SinkError};
use crate::event::{
    AgeKind, Cause, Direction, Endpoint, Event, Finding, Message, Role, Time, Verdict,
};

/// The version of ECS whose field names these are.
const ECS_VERSION: &str = "8.17.0";

/// Encodes each event as an ECS document.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ecs;

impl Encoder for Ecs {
    fn encode(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), SinkError> {
        let document = document(message)?;
        document.serialize(&mut Serializer::with_formatter(&mut *out, OneLine))?;
        out.push(b'\n');
        Ok(())
    }
}

/// The document of `message`.
pub(super) fn document(message: &Message) -> Result<Value, SinkError> {
    let Message { id, event } = message;
    let mut document = json!({
        "@timestamp": event.time(),
        "ecs": { "version": ECS_VERSION },
        "message": sentence(event),
        "event": {
            "id": id,
            "module": "kreset",
            "dataset": "kreset.event",
            "created": event.time(),
        },
        "host": { "name": event.host().name },
        "observer": {
            "type": "ebpf",
            "vendor": "kreset",
            "product": "kreset-trace",
            "version": env!("CARGO_PKG_VERSION"),
        },
    });
    let (kind, category, types, action): (_, _, &[&str], _) = match event {
        Event::Start(_) => ("event", "process", &["start"], "tracer-start"),
        Event::Reset(it) => ("event", "network", types(it), "tcp-reset"),
        Event::Close(it) => ("event", "network", types(it), "tcp-close"),
        Event::Timeout(it) => ("event", "network", types(it), "tcp-timeout"),
        Event::Correction(it) => ("event", "network", types(&it.finding), "tcp-end-corrected"),
        Event::Alert(_) => ("alert", "network", &["info"], "reset-pattern"),
        Event::Incident(_) => ("alert", "network", &["info"], "incident"),
        Event::Loss(_) => ("pipeline_error", "process", &["error"], "events-lost"),
        Event::Summary(_) => ("metric", "process", &["info"], "summary"),
        Event::Probe(_) => ("event", "network", &["info"], "idle-timer-measured"),
        Event::Finding(_) => ("event", "network", &["connection", "end"], "tcp-end-proven"),
    };
    document["event"]["kind"] = kind.into();
    document["event"]["category"] = json!([category]);
    document["event"]["type"] = json!(types);
    document["event"]["action"] = action.into();

    // The rest, by its native name, less what stands elsewhere.
    let mut rest = match serde_json::to_value(event)? {
        Value::Object(rest) => rest,
        _ => Map::new(),
    };
    for key in ["time", "host"] {
        rest.remove(key);
    }
    if let Some(finding) = event.finding() {
        put_finding(&mut document, finding);
        for key in ["community_id", "client", "broker", "host_names", "summary"] {
            rest.remove(key);
        }
        rest.insert("client".to_owned(), json!({ "id": finding.client.id }));
    }
    if let Event::Alert(alert) = event {
        document["rule"] = json!({ "name": alert.verdict });
        document["event"]["reason"] = json!(alert.cause);
        document["server"] = end(alert.broker, None);
        rest.remove("broker");
    }
    if let Event::Incident(incident) = event {
        document["rule"] = json!({ "name": incident.incident });
        document["event"]["reason"] = json!(incident.cause);
        if let Some(broker) = incident.broker() {
            document["server"] = end(broker, None);
        }
        rest.remove("summary");
    }
    if let Event::Finding(pair) = event {
        document["rule"] = json!({ "name": pair.verdict });
        document["event"]["reason"] = json!(pair.cause);
        document["network"] = json!({ "transport": "tcp", "community_id": pair.community_id });
        document["client"] = end(pair.client, None);
        document["server"] = end(pair.broker, None);
        for key in ["community_id", "client", "broker", "summary"] {
            rest.remove(key);
        }
    }
    if let Event::Probe(probe) = event {
        document["server"] = end(probe.broker, None);
        rest.remove("broker");
    }
    drop_null(&mut rest);
    document["kreset"] = Value::Object(rest);
    Ok(document)
}

/// What ECS calls the type of a network event.
const fn types(finding: &Finding) -> &'static [&'static str] {
    match finding.cause {
        Some(Cause::Refused) => &["connection", "end", "denied"],
        Some(
            Cause::PlaintextToTls
            | Cause::TlsToPlaintext
            | Cause::NotKafka
            | Cause::TlsAlert
            | Cause::Authentication,
        ) => &["connection", "end", "protocol"],
        _ => &["connection", "end"],
    }
}

fn put_finding(document: &mut Value, finding: &Finding) {
    let connection = &finding.connection;
    let event = &mut document["event"];
    event["outcome"] = "failure".into();
    event["reason"] = finding
        .cause
        .map_or(Verdict::Indeterminate.as_str(), Cause::as_str)
        .into();
    if let Some(age_ms) = connection.age_ms {
        // Nanoseconds since the connection was made, to a tenth of a ms.
        let duration = SignedDuration::from_micros((age_ms * 1_000.0).round() as i64);
        event["duration"] = json!(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX));
        let exact = connection.age_kind == Some(AgeKind::Exact);
        let ended = exact.then_some(finding.time.0);
        if let Some(start) = ended.and_then(|ended| ended.checked_sub(duration).ok()) {
            event["start"] = json!(Time(start));
        }
    }
    document["rule"] = json!({ "name": finding.verdict });
    document["network"] = json!({
        "transport": "tcp",
        "type": if finding.broker.address.is_ipv4() { "ipv4" } else { "ipv6" },
        "direction": match finding.direction {
            Direction::Received => "ingress",
            Direction::Sent => "egress",
        },
        "community_id": finding.community_id,
    });
    if let Some(protocol) = finding.protocol() {
        document["network"]["protocol"] = protocol.into();
    }
    let (here, there) = (connection.bytes_sent, connection.bytes_received);
    let (client_bytes, broker_bytes) = match finding.role {
        Role::Client => (here, there),
        Role::Broker => (there, here),
    };
    let (mut client, mut broker) = (
        end(finding.client.end(), client_bytes),
        end(finding.broker, broker_bytes),
    );
    if let Some(names) = &finding.host_names {
        for (end, name) in [(&mut client, &names.client), (&mut broker, &names.broker)] {
            if let Some(name) = name {
                end["domain"] = json!(name);
            }
        }
    }
    document["source"] = client.clone();
    document["client"] = client;
    document["destination"] = broker.clone();
    document["server"] = broker;

    if let Some(software) = &finding.client.software {
        let version = &finding.client.version;
        document["user_agent"] = known(json!({ "name": software, "version": version }));
    }
    let process = &finding.process;
    let mut owner =
        json!({ "pid": process.pid, "name": process.name, "start": process.start_time });
    if let Some(owner) = owner.as_object_mut() {
        drop_null(owner);
        if !owner.is_empty() {
            document["process"] = Value::Object(owner.clone());
        }
    }
    if let Some(id) = &process.container_id {
        document["container"] = known(json!({ "id": id, "name": process.container_name }));
    }
    if let Some(uid) = &process.pod_uid {
        document["orchestrator"] = known(json!({
            "type": "kubernetes",
            "namespace": process.pod_namespace,
            "resource": { "type": "pod", "id": uid, "name": process.pod_name },
        }));
    }
    if let Some(reason) = &finding.reset.kernel_reason {
        document["error"] = json!({ "code": reason });
    }
}

fn end(endpoint: Endpoint, bytes: Option<u64>) -> Value {
    let mut end = json!({
        "address": endpoint.address,
        "ip": endpoint.address,
        "port": endpoint.port,
    });
    if let Some(bytes) = bytes {
        end["bytes"] = bytes.into();
    }
    end
}

/// ECS leaves out what is not known.
/// An object without what is not known.
fn known(mut object: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        drop_null(object);
    }
    object
}

fn drop_null(object: &mut Map<String, Value>) {
    object.retain(|_, value| !value.is_null());
    for value in object.values_mut() {
        match value {
            Value::Object(inner) => drop_null(inner),
            Value::Array(items) => {
                let inner = items.iter_mut().filter_map(Value::as_object_mut);
                inner.for_each(drop_null);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::samples, util::golden::golden};

    fn lines() -> String {
        let mut out = Vec::new();
        for message in samples::messages() {
            Ecs.encode(&message, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_type_has_this_shape() {
        golden("ecs.jsonl", &lines());
    }

    #[test]
    fn every_document_says_what_ecs_requires() {
        for line in lines().lines() {
            let document: Value = serde_json::from_str(line).unwrap();
            for key in [
                "/@timestamp",
                "/ecs/version",
                "/event/kind",
                "/event/id",
                "/host/name",
            ] {
                assert!(
                    document.pointer(key).is_some_and(Value::is_string),
                    "{key} in {line}"
                );
            }
            assert!(!line.contains("null"), "{line}");
        }
    }

    #[test]
    fn both_ends_have_their_bytes_whichever_this_host_is() {
        for (role, client, broker) in [(Role::Client, 10_240, 2_048), (Role::Broker, 2_048, 10_240)]
        {
            let finding = Finding {
                role,
                ..samples::finding()
            };
            let document = document(&samples::message(Event::Reset(Box::new(finding)), 0)).unwrap();
            assert_eq!(document["client"]["bytes"], client);
            assert_eq!(document["destination"]["bytes"], broker);
        }
    }
}
