//! A real Kafka broker. `KRESET_KAFKA_LIBS` names the directory of its jars.

use std::{
    env, fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    endure::{Receiver, endure, number_and_id},
    process::{Program, free_port, soon},
};

const TOPIC: &str = "kreset";
const PARTITIONS: usize = 3;

/// A broker that is its own controller.
struct Broker {
    directory: TempDir,
    port: u16,
    controller: u16,
    running: Option<Program>,
    /// What was read so far: reading all of it again takes its time.
    read: Mutex<Vec<(u64, String)>>,
}

impl Broker {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let broker = Self {
            directory,
            port: free_port(),
            controller: free_port(),
            running: None,
            read: Mutex::default(),
        };
        fs::write(broker.properties(), broker.config()).unwrap();
        let formatted = java("kafka.tools.StorageTool")
            .args(["format", "-t", "abcdefghijklmnopqrstuv", "-c"])
            .arg(broker.properties())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(formatted.success(), "{formatted}");
        broker
    }

    fn properties(&self) -> PathBuf {
        self.directory.path().join("server.properties")
    }

    fn config(&self) -> String {
        let Self {
            port,
            controller,
            directory,
            ..
        } = self;
        let logs = directory.path().join("logs");
        let listener = format!("PLAINTEXT://127.0.0.1:{port}");
        [
            "process.roles=broker,controller".to_owned(),
            "node.id=1".to_owned(),
            format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
            format!("listeners={listener},CONTROLLER://127.0.0.1:{controller}"),
            format!("advertised.listeners={listener}"),
            "controller.listener.names=CONTROLLER".to_owned(),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
            "inter.broker.listener.name=PLAINTEXT".to_owned(),
            format!("log.dirs={}", logs.display()),
            format!("num.partitions={PARTITIONS}"),
            "offsets.topic.replication.factor=1".to_owned(),
            "transaction.state.log.replication.factor=1".to_owned(),
            "transaction.state.log.min.isr=1".to_owned(),
            "share.coordinator.state.topic.replication.factor=1".to_owned(),
            "share.coordinator.state.topic.min.isr=1".to_owned(),
            "log.cleaner.dedupe.buffer.size=2097152".to_owned(),
        ]
        .join("\n")
    }

    /// Reads every partition from its beginning to its end.
    fn read_all(&self) -> Option<Vec<(u64, String)>> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", format!("127.0.0.1:{}", self.port))
            .set("group.id", "test")
            .set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        let mut left = 0;
        for partition in 0..i32::try_from(PARTITIONS).unwrap() {
            let longest = Duration::from_secs(10);
            let (low, high) = consumer.fetch_watermarks(TOPIC, partition, longest).ok()?;
            left += high - low;
            list.add_partition_offset(TOPIC, partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&list).unwrap();
        let mut events = Vec::new();
        let until = Instant::now() + Duration::from_secs(30);
        while left > 0 && Instant::now() < until {
            let Some(Ok(record)) = consumer.poll(Duration::from_millis(200)) else {
                continue;
            };
            left -= 1;
            let event: Value = serde_json::from_slice(record.payload().unwrap()).unwrap();
            let key = std::str::from_utf8(record.key().unwrap()).unwrap();
            let expected = match event["type"].as_str().unwrap() {
                "alert" => &event["host"]["name"],
                _ => &event["community_id"],
            };
            assert_eq!(Some(key), expected.as_str());
            events.push(number_and_id(&event));
        }
        Some(events)
    }
}

fn java(class: &str) -> Command {
    let libs = env::var_os("KRESET_KAFKA_LIBS").expect("KRESET_KAFKA_LIBS names the broker's jars");
    let mut command = Command::new("java");
    command
        .args([
            "-Xmx256m",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-cp",
        ])
        .arg(Path::new(&libs).join("*"))
        .arg(class);
    command
}

impl Receiver for Broker {
    fn sink(&self) -> String {
        format!(
            "[[sink]]\ntype = \"kafka\"\nbrokers = \"127.0.0.1:{}\"\ntopic = \"{TOPIC}\"\n",
            self.port
        )
    }

    fn start(&mut self) {
        let mut command = java("kafka.Kafka");
        command
            .arg(self.properties())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.running = Some(Program::start(&mut command));
        soon("the broker listens", Duration::from_mins(1), || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    fn kill(&mut self) {
        self.running.take().unwrap().kill();
    }

    fn events(&self) -> Vec<(u64, String)> {
        let mut read = self.read.lock().unwrap();
        if let Some(all) = self.read_all() {
            *read = all;
        }
        read.clone()
    }
}

#[test]
fn a_kafka_topic_gets_every_event() {
    endure(&mut Broker::new());
}
