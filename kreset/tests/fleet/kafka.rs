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
    certificates::Certificates,
    endure::{Receiver, distinct, endure, number_and_id, write_config},
    process::{Agent, Program, free_port, soon},
};

const TOPIC: &str = "kreset";
pub(crate) const PARTITIONS: usize = 3;

/// A broker that is its own controller.
pub(crate) struct Broker {
    directory: TempDir,
    pub(crate) port: u16,
    /// Made for a broker that asks for TLS and a password.
    certificates: Option<Certificates>,
    controller: u16,
    running: Option<Program>,
    /// What was read so far: reading all of it again takes its time.
    read: Mutex<Vec<(u64, String)>>,
}

impl Broker {
    pub(crate) fn new() -> Self {
        Self::made(false)
    }

    fn made(secure: bool) -> Self {
        let directory = TempDir::new().unwrap();
        let certificates = secure.then(|| Certificates::make(directory.path()));
        let broker = Self {
            directory,
            certificates,
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
        let listener = format!("CLIENTS://127.0.0.1:{port}");
        let mut lines = vec![
            "process.roles=broker,controller".to_owned(),
            "node.id=1".to_owned(),
            format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
            format!("listeners={listener},CONTROLLER://127.0.0.1:{controller}"),
            format!("advertised.listeners={listener}"),
            "controller.listener.names=CONTROLLER".to_owned(),
            "inter.broker.listener.name=CLIENTS".to_owned(),
            format!("log.dirs={}", logs.display()),
            format!("num.partitions={PARTITIONS}"),
            "offsets.topic.replication.factor=1".to_owned(),
            "transaction.state.log.replication.factor=1".to_owned(),
            "transaction.state.log.min.isr=1".to_owned(),
            "share.coordinator.state.topic.replication.factor=1".to_owned(),
            "share.coordinator.state.topic.min.isr=1".to_owned(),
            "log.cleaner.dedupe.buffer.size=2097152".to_owned(),
        ];
        let protocol = if self.certificates.is_some() {
            "SASL_SSL"
        } else {
            "PLAINTEXT"
        };
        lines.push(format!(
            "listener.security.protocol.map=CLIENTS:{protocol},CONTROLLER:PLAINTEXT"
        ));
        if let Some(certificates) = &self.certificates {
            let both = ["server.key", "server.pem"].map(|name| certificates.text(name));
            fs::write(certificates.file("keystore.pem"), both.concat()).unwrap();
            let file = |name: &str| certificates.file(name).display().to_string();
            lines.extend([
                "ssl.keystore.type=PEM".to_owned(),
                format!("ssl.keystore.location={}", file("keystore.pem")),
                "ssl.truststore.type=PEM".to_owned(),
                format!("ssl.truststore.location={}", file("ca.pem")),
                "sasl.enabled.mechanisms=PLAIN".to_owned(),
                "sasl.mechanism.inter.broker.protocol=PLAIN".to_owned(),
                "listener.name.clients.plain.sasl.jaas.config=\
                 org.apache.kafka.common.security.plain.PlainLoginModule required \
                 username=\"broker\" password=\"inside\" user_broker=\"inside\" \
                 user_kreset=\"secret\";"
                    .to_owned(),
            ]);
        }
        lines.join("\n")
    }

    /// The settings of librdkafka to connect.
    fn properties_of_clients(&self) -> Vec<(&'static str, String)> {
        let Some(certificates) = &self.certificates else {
            return Vec::new();
        };
        let authority = certificates.file("ca.pem").display().to_string();
        vec![
            ("security.protocol", "SASL_SSL".to_owned()),
            ("sasl.mechanism", "PLAIN".to_owned()),
            ("sasl.username", "kreset".to_owned()),
            ("sasl.password", "secret".to_owned()),
            ("ssl.ca.location", authority),
        ]
    }

    /// Reads every partition from its beginning to its end.
    fn read_all(&self) -> Option<Vec<(u64, String)>> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", format!("127.0.0.1:{}", self.port))
            .set("group.id", "test")
            .set("enable.auto.commit", "false");
        for (name, value) in self.properties_of_clients() {
            config.set(name, value);
        }
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
                "reset" | "close" | "timeout" if event["connection"]["flow_id"].is_string() => {
                    &event["connection"]["flow_id"]
                }
                "reset" | "close" | "timeout" => &event["community_id"],
                _ => &event["host"]["name"],
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
        let properties = self.properties_of_clients().into_iter();
        let properties: Vec<_> = properties
            .map(|(name, value)| format!("{name:?} = {value:?}"))
            .collect();
        format!(
            "[[sink]]\ntype = \"kafka\"\nbrokers = \"127.0.0.1:{}\"\ntopic = \"{TOPIC}\"\n\
             properties = {{ {} }}\n",
            self.port,
            properties.join(", ")
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

#[test]
fn a_kafka_broker_with_tls_and_a_password_gets_every_event() {
    const COUNT: u64 = 500;
    let mut broker = Broker::made(true);
    broker.start();
    let directory = TempDir::new().unwrap();
    let config = write_config(directory.path(), &broker.sink());

    // A refusal is reported with its reason; once that is fixed, nothing is missing.
    for (right, wrong, reason) in [
        (
            "ca.pem",
            "stranger.pem",
            "verify that ssl.ca.location is correctly configured",
        ),
        ("\"secret\"", "\"guessed\"", "Invalid username or password"),
    ] {
        let shipped = fs::read_to_string(&config).unwrap();
        fs::write(&config, shipped.replace(right, wrong)).unwrap();
        let agent = Agent::start(&config, 0, COUNT, 0);
        soon("the reason is reported", Duration::from_mins(1), || {
            agent.complaints().contains(reason)
        });
        agent.await_kept(COUNT);
        agent.kill();
        assert!(broker.events().is_empty());
        fs::write(&config, shipped).unwrap();
    }
    Agent::start(&config, COUNT, COUNT + 1, 0).finish();
    let received = broker.events();
    assert_eq!(distinct(&received).len() as u64, COUNT + 1);
}
