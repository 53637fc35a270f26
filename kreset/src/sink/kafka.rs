//! Records of a Kafka topic, by librdkafka.
//!
//! The key of a record is the connection's flow id, else its Community ID, so that
//! the events of both ends of a connection are in one partition; events without a
//! connection are keyed by the host.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext},
    util::Timeout,
};

use serde::Deserialize;

use super::{
    Body, HostSettings, Parts, Settings,
    keys::{request_timeout, texts},
};
use crate::{
    delivery::{Encoder, Handed, Remote, RemoteError, SinkError, spool::Entry},
    event::{Finding, Message},
    util::{duration, redact::redact},
};

/// The keys of a sink that produces records to a topic.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KafkaConfig {
    /// The bootstrap servers, `host:port,...`.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// A record's value.
    #[serde(default, rename = "format")]
    pub body: Body,
    /// Settings of librdkafka, such as those of TLS and SASL.
    #[serde(default, deserialize_with = "texts")]
    pub properties: BTreeMap<String, String>,
    /// Time limit of a batch.
    #[serde(
        default = "request_timeout",
        deserialize_with = "duration::deserialize"
    )]
    pub timeout: Duration,
}

impl Settings for KafkaConfig {
    const REQUIRED: &[(&str, &str)] = &[("brokers", "kafka.example:9092"), ("topic", "kreset")];

    fn destination(&self) -> String {
        let brokers: Vec<_> = self.brokers.split(',').map(redact).collect();
        format!("{} at {}", self.topic, brokers.join(","))
    }

    fn validate(&self) -> Result<(), String> {
        for broker in self.brokers.split(',') {
            let name = broker.rsplit("://").next().unwrap_or_default().trim();
            let port = name
                .rsplit_once(':')
                .map(|(host, port)| (host, port.parse::<u16>()));
            let is_right = match port {
                Some((host, port)) => !host.is_empty() && port.is_ok_and(|port| port > 0),
                // librdkafka's default is 9092.
                None => !name.is_empty(),
            };
            if !is_right {
                return Err(format!(
                    "invalid broker \"{}\": expected host:port",
                    redact(broker)
                ));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), SinkError> {
        Kafka::new(self).map(drop)
    }

    fn open(&self, _: &HostSettings<'_>) -> Result<Parts, SinkError> {
        let cluster = Kafka::new(self)?;
        Ok(Parts::Remote(
            Box::new(KafkaEncoder(self.body)),
            Box::new(cluster),
        ))
    }
}

/// Settings that delivery depends on or that suit a fleet; `properties`
/// override them.
const SETTINGS: [(&str, &str); 5] = [
    // Keeps order and adds no duplicates while a connection lasts.
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("linger.ms", "5"),
    ("compression.type", "gzip"),
    // As Java producers do, so that equal keys are in the same partition.
    ("partitioner", "murmur2_random"),
];

/// Encodes an event as the key and the value of a record: the length of the
/// key (u16, big-endian), the key, the value.
#[derive(Clone, Copy, Debug)]
pub struct KafkaEncoder(pub Body);

impl Encoder for KafkaEncoder {
    fn encode(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), SinkError> {
        let event = &message.event;
        let key = event
            .finding()
            .map_or_else(|| event.host().name.as_str(), Finding::key);
        let length = u16::try_from(key.len()).unwrap_or(0);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&key.as_bytes()[..length.into()]);
        self.0.encode(message, out)
    }
}

/// Key and value of an encoded record.
fn split(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = payload.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

/// The result of a batch.
#[derive(Debug, Default)]
struct Outcome {
    delivered: usize,
    error: Option<KafkaError>,
    /// Why no broker can be reached, as librdkafka says.
    reason: Option<String>,
}

/// Gets the result of each record.
#[derive(Clone, Debug, Default)]
struct Context(Arc<Mutex<Outcome>>);

impl Context {
    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Context {
    /// librdkafka repeats each failure every second; the sink reports it once.
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        // "1/1 brokers are down" comes after the reason.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.outcome().reason = Some(reason.to_owned());
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery_result: &DeliveryResult<'_>, (): ()) {
        let mut outcome = self.outcome();
        match delivery_result {
            Ok(_) => outcome.delivered += 1,
            Err((error, _)) => outcome.error = Some(error.clone()),
        }
    }
}

/// A Kafka cluster.
pub struct Kafka {
    config: ClientConfig,
    topic: String,
    timeout: Duration,
    producer: Option<BaseProducer<Context>>,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl Kafka {
    /// Connects when there is something to send.
    ///
    /// # Errors
    ///
    /// When librdkafka rejects a setting.
    pub fn new(config: &KafkaConfig) -> Result<Self, SinkError> {
        let timeout = config.timeout.as_millis().to_string();
        let mut client = ClientConfig::new();
        let mut settings: BTreeMap<&str, &str> = SETTINGS.into_iter().collect();
        settings.insert("bootstrap.servers", &config.brokers);
        settings.insert("client.id", "kreset-trace");
        settings.insert("message.timeout.ms", &timeout);
        settings.extend(
            config
                .properties
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        for (name, value) in settings {
            client.set(name, value);
        }
        let mut kafka = Self {
            config: client,
            topic: config.topic.clone(),
            timeout: config.timeout,
            producer: None,
        };
        // Connects to nothing yet, but rejects unknown settings.
        kafka.producer().map_err(|error| match error {
            // The whole error has the value too, such as a password.
            KafkaError::ClientConfig(_, description, ..) => SinkError::Kafka(description),
            error => SinkError::Kafka(error.to_string()),
        })?;
        Ok(kafka)
    }

    fn producer(&mut self) -> Result<&BaseProducer<Context>, KafkaError> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => self.config.create_with_context(Context::default())?,
        };
        Ok(self.producer.insert(producer))
    }

    fn produce(&mut self, batch: &[Entry]) -> Result<(), KafkaError> {
        let until = Instant::now() + self.timeout;
        let topic = self.topic.clone();
        let producer = self.producer()?;
        *producer.context().outcome() = Outcome::default();
        for (key, value) in batch.iter().filter_map(|entry| split(&entry.payload)) {
            let mut record = BaseRecord::to(&topic).key(key).payload(value);
            while let Err((error, back)) = producer.send(record) {
                let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                if !full || Instant::now() > until {
                    return Err(error);
                }
                producer.poll(Duration::from_millis(10));
                record = back;
            }
        }
        producer.flush(Timeout::After(
            until.saturating_duration_since(Instant::now()),
        ))?;
        let mut outcome = producer.context().outcome();
        match outcome.error.take() {
            None if outcome.delivered == batch.len() => Ok(()),
            None => Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)),
            Some(error) => Err(error),
        }
    }
}

impl Remote for Kafka {
    fn send(&mut self, batch: &[Entry]) -> Result<Handed, RemoteError> {
        let Err(error) = self.produce(batch) else {
            return Ok(Handed::Confirmed);
        };
        // What is left in its queue would be sent out of order later.
        let producer = self.producer.take();
        let reason = producer.and_then(|it| it.context().outcome().reason.take());
        let code = error.rdkafka_error_code();
        Err(match code {
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessage) => {
                RemoteError::Refused(error.to_string())
            }
            _ => RemoteError::Unavailable(format!(
                "cannot send to Kafka: {}",
                reason.unwrap_or_else(|| error.to_string())
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn both_ends_of_a_connection_have_one_key() {
        for message in samples::messages() {
            let mut payload = Vec::new();
            KafkaEncoder(Body::Json)
                .encode(&message, &mut payload)
                .unwrap();
            let (key, value) = split(&payload).unwrap();
            let expected = message.event.finding().map_or("client-1", Finding::key);
            assert_eq!(key, expected.as_bytes());
            serde_json::from_slice::<serde_json::Value>(value).unwrap();
        }
    }

    fn config(properties: &[(&str, &str)]) -> KafkaConfig {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        KafkaConfig {
            brokers: "127.0.0.1:1".to_owned(),
            topic: "kreset".to_owned(),
            body: Body::Json,
            properties: properties.iter().map(own).collect(),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn settings_of_librdkafka_are_passed_through_and_checked() {
        Kafka::new(&config(&[("compression.type", "none")])).unwrap();
        let error = Kafka::new(&config(&[("no.such.setting", "1")])).unwrap_err();
        assert!(error.to_string().contains("no.such.setting"), "{error}");
    }
}
