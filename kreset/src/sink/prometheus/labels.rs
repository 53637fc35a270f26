//! The labels of the metrics.

use prometheus_client::encoding::EncodeLabelSet;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FindingLabels {
    pub(super) r#type: &'static str,
    pub(super) verdict: &'static str,
    pub(super) cause: &'static str,
    pub(super) role: &'static str,
    pub(super) broker: String,
}

/// The software of clients, by name: those that are known, as a stranger may send any.
const SOFTWARE: [&str; 14] = [
    "aiokafka",
    "apache-kafka-java",
    "confluent-kafka-dotnet",
    "confluent-kafka-go",
    "confluent-kafka-javascript",
    "confluent-kafka-python",
    "franz-go",
    "kafka-go",
    "kafka-python",
    "kgo",
    "librdkafka",
    "rdkafka-ruby",
    "rust-rdkafka",
    "sarama",
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ClientLabels {
    pub(super) verdict: &'static str,
    pub(super) cause: &'static str,
    pub(super) software: &'static str,
}

/// The label of a client's software.
pub(super) fn software(name: Option<&str>) -> &'static str {
    let Some(name) = name else {
        return "unknown";
    };
    let known = SOFTWARE.iter().find(|it| it.eq_ignore_ascii_case(name));
    known.copied().unwrap_or("other")
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BrokerLabels {
    pub(super) broker: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AlertLabels {
    pub(super) broker: String,
    pub(super) verdict: &'static str,
    pub(super) cause: &'static str,
    pub(super) pattern: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct IncidentLabels {
    pub(super) incident: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabels {
    pub(super) kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SourceLabels {
    pub(super) source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SinkLabels {
    pub(super) sink: String,
}
