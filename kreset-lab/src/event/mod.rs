//! What the tracer says, as far as the lab judges it: a reader of the JSON contract that shares
//! no code with its writer.
#![expect(
    missing_docs,
    reason = "the JSON contract is where the keys are described"
)]

#[cfg(feature = "full")]
pub mod contract;

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use crate::Moment;

/// The version of the contract that the lab reads.
pub const SCHEMA: &str = "kreset/1";

/// One line of the tracer's output. `None` is what the tracer does not know.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Event {
    pub schema: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub id: Option<String>,
    /// Of a `correction`: the `id` of the event whose place it takes.
    pub corrects: Option<String>,
    pub time: Option<String>,
    pub community_id: Option<String>,
    pub direction: Option<String>,
    pub role: Option<String>,
    pub verdict: Option<String>,
    pub cause: Option<String>,
    pub confidence: Option<f64>,
    pub client: Option<Endpoint>,
    pub broker: Option<Endpoint>,
    pub connection: Option<Connection>,
    pub reset: Option<Reset>,
    pub advice: Option<String>,
    pub process_end: Option<ProcessEnd>,
    pub load: Option<serde_json::Value>,
    pub evidence: Vec<serde_json::Value>,
    pub incident_id: Option<String>,
    /// Of an `incident`: what it is, and the rest of it.
    pub incident: Option<String>,
    pub phase: Option<String>,
    pub ended: Option<u64>,
    pub refusals: Option<u64>,
    pub clients: Option<u64>,
    pub back: Option<u64>,
    pub refused: Option<Refused>,
    pub roll: Option<Roll>,
    pub ended_by: Option<String>,
    pub brokers: Vec<Endpoint>,
    pub earlier: Vec<String>,
    /// Of a `finding`: what it rests on.
    pub proof: Option<String>,
    /// Of a `finding`: what is missing for a proof.
    pub missing: Vec<String>,
    /// Of a `start`: how long the tracer took until everything was attached.
    pub attach_ms: Option<f64>,
    /// Of a `start`: how many connections and listeners were there already.
    pub seeded: Option<u64>,
    /// Of a `loss` and of the summary: how many events never reached the tracer.
    pub lost: Option<u64>,
    /// Of a `loss`: where.
    pub source: Option<String>,
    /// The line itself.
    #[serde(skip)]
    pub line: String,
    /// When the lab has read it.
    #[serde(skip)]
    pub read: Moment,
}

/// One end's address.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    pub address: Option<IpAddr>,
    pub port: Option<u16>,
}

impl Endpoint {
    /// The two as one, if both are known.
    pub fn socket(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.address?, self.port?))
    }
}

/// What the event says of the connection.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Connection {
    pub flow_id: Option<String>,
    pub state: Option<String>,
    pub age_ms: Option<f64>,
    pub age_kind: Option<String>,
    pub idle_ms: Option<f64>,
    pub wire_idle_ms: Option<f64>,
    pub provoked_by: Option<String>,
}

/// What the event says of the broker's process.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ProcessEnd {
    pub what: String,
    pub summary: String,
}

/// How long a port refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Refused {
    pub since: Option<String>,
    pub until: Option<String>,
    pub ms: Option<f64>,
    pub ms_kind: Option<String>,
}

/// The restarts that one is part of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Roll {
    pub id: Option<String>,
    pub number: Option<u64>,
}

/// What the event says of the RST itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reset {
    pub sequence: Option<u32>,
    pub flags: Option<String>,
    pub timestamps: Option<bool>,
    pub ttl: Option<u8>,
    pub handshake_ttl: Option<u8>,
    pub ip_id: Option<u16>,
    pub window: Option<u16>,
}

impl Event {
    /// Reads one line.
    pub fn parse(line: &str) -> Result<Self, serde_json::Error> {
        let mut event: Self = serde_json::from_str(line)?;
        line.clone_into(&mut event.line);
        event.read = Moment::now();
        Ok(event)
    }

    /// Whether it says something about one connection, rather than about the tracer.
    pub fn is_about_a_connection(&self) -> bool {
        matches!(self.kind.as_str(), "reset" | "close" | "timeout")
    }

    /// Puts what corrections say in the place of what they correct.
    pub fn correct(events: &mut [Self]) {
        for at in 0..events.len() {
            let (before, from) = events.split_at_mut(at);
            let [correction, ..] = from else { return };
            let Some(corrects) = correction.corrects.as_deref() else {
                continue;
            };
            let corrected = before
                .iter_mut()
                .find(|it| it.id.as_deref() == Some(corrects));
            if let Some(event) = corrected {
                event.verdict.clone_from(&correction.verdict);
                event.cause.clone_from(&correction.cause);
                event.confidence = correction.confidence;
                event.advice.clone_from(&correction.advice);
            }
        }
    }

    /// Its client and its broker, if both are known.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        Some((
            self.client.as_ref()?.socket()?,
            self.broker.as_ref()?.socket()?,
        ))
    }

    /// Verdict and cause as one word, `verdict/cause`.
    pub fn answer(&self) -> String {
        let verdict = self.verdict.as_deref().unwrap_or("no verdict");
        match &self.cause {
            Some(cause) => format!("{verdict}/{cause}"),
            None => verdict.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_nulls_are_no_trouble() {
        let event = Event::parse(
            r#"{"schema":"kreset/1","type":"reset","verdict":"indeterminate","cause":null,"new":1,
                "client":{"address":"fd77:1::2","port":40000},"connection":{"idle_ms":null}}"#,
        )
        .expect("valid");
        assert!(event.is_about_a_connection());
        assert_eq!(event.answer(), "indeterminate");
        let client = event.client.and_then(|client| client.socket());
        assert_eq!(client, "[fd77:1::2]:40000".parse().ok());
        assert_eq!(event.connection.and_then(|it| it.idle_ms), None);
    }

    #[test]
    fn text_is_not_json() {
        Event::parse("error: no BTF").unwrap_err();
    }
}
