//! Events in a real Kafka topic, keyed as the Kafka sink keys them.

use std::{
    collections::HashSet,
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use serde::Deserialize;

use crate::{
    endure::Receiver as _,
    kafka::{Broker, PARTITIONS},
};

/// The topic that the shipped files name.
const TOPIC: &str = "kreset";
/// How long the broker may take for anything.
const LONGEST: Duration = Duration::from_mins(5);

/// A broker with a topic.
pub(super) struct Topic {
    broker: Broker,
    records: usize,
    events: usize,
}

/// What the key of a record is made of.
#[derive(Deserialize)]
struct Keyed<'a> {
    id: &'a str,
    #[serde(borrow)]
    host: Named<'a>,
    community_id: Option<&'a str>,
    connection: Option<Flow<'a>>,
}

#[derive(Deserialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Deserialize)]
struct Flow<'a> {
    flow_id: Option<&'a str>,
}

impl<'a> Keyed<'a> {
    fn key(&self) -> &'a str {
        let flow = self.connection.as_ref().and_then(|it| it.flow_id);
        flow.or(self.community_id).unwrap_or(self.host.name)
    }
}

impl Topic {
    /// A new broker whose topic has each line of a file as a record.
    pub(super) fn filled(input: &Path) -> Self {
        let mut broker = Broker::new();
        broker.start();
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", format!("127.0.0.1:{}", broker.port))
            .set("partitioner", "murmur2_random")
            .set("compression.type", "gzip")
            .create()
            .unwrap();
        let mut records = 0;
        let mut ids = HashSet::new();
        for line in BufReader::new(File::open(input).unwrap()).lines() {
            let line = line.unwrap();
            let keyed: Keyed<'_> = serde_json::from_str(&line).unwrap();
            let mut record = BaseRecord::to(TOPIC).key(keyed.key()).payload(&line);
            while let Err((error, back)) = producer.send(record) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                assert_eq!(error, full);
                producer.poll(Duration::from_millis(50));
                record = back;
            }
            records += 1;
            if !ids.contains(keyed.id) {
                ids.insert(keyed.id.to_owned());
            }
            if records % 1_000 == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        producer.flush(LONGEST).unwrap();
        Self {
            broker,
            records,
            events: ids.len(),
        }
    }

    /// `host:port`.
    pub(super) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.broker.port)
    }

    /// The records in it.
    pub(super) const fn records(&self) -> usize {
        self.records
    }

    /// The events in it: some are delivered twice.
    pub(super) const fn events(&self) -> usize {
        self.events
    }

    /// Reads each partition of a topic from its beginning to its end, as lines of a file; how many.
    pub(super) fn read_into(&self, topic: &str, path: &Path) -> usize {
        let mut output = BufWriter::new(File::create(path).unwrap());
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .set("group.id", "test")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        let mut left = 0;
        for partition in 0..i32::try_from(PARTITIONS).unwrap() {
            let (low, high) = consumer
                .fetch_watermarks(topic, partition, LONGEST)
                .unwrap();
            left += usize::try_from(high - low).unwrap();
            list.add_partition_offset(topic, partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&list).unwrap();
        let until = Instant::now() + LONGEST;
        let all = left;
        while left > 0 {
            assert!(Instant::now() < until, "{left} of {all} records are left");
            if let Some(record) = consumer.poll(Duration::from_millis(200)) {
                let record = record.unwrap();
                output.write_all(record.payload().unwrap()).unwrap();
                output.write_all(b"\n").unwrap();
                left -= 1;
            }
        }
        output.flush().unwrap();
        all
    }
}
