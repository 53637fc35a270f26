//! Real clients on the client's host, each a program that takes orders line by line.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{broker::Protocol, home::Home, process::Process, scratch::Scratch};
use crate::{
    Lab, Side,
    error::{Error, Result},
    util::journal::Line,
};

/// The topic that all clients use.
const TOPIC: &str = "lab";

/// How long an answer may take. Clients try again for longer than most failures last.
const PATIENCE: Duration = Duration::from_mins(3);

/// How long a client may take to write down what happened to it.
const REACTION: Duration = Duration::from_secs(20);

named_enum! {
    /// Whose client it is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Software all {
        /// Apache Kafka's own.
        Java = "java",
        /// librdkafka, by its Python package.
        Librdkafka = "librdkafka",
        /// kafkajs.
        Kafkajs = "kafkajs",
    }
}

impl Software {
    /// The two that every scenario is run with.
    pub(crate) const USUAL: [Self; 2] = [Self::Java, Self::Librdkafka];

    /// What its log says when a connection was reset under its hands.
    pub(crate) const fn reset_words(self) -> &'static str {
        match self {
            Self::Java => "Connection reset",
            Self::Librdkafka => "connection reset by peer",
            Self::Kafkajs => "ECONNRESET",
        }
    }
}

named_enum! {
    /// What a client is there for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Job {
        /// Sends records.
        Producer = "producer",
        /// Reads them, as the only member of a group.
        Consumer = "consumer",
        /// Asks about the cluster.
        Admin = "admin",
        /// Sends records in transactions.
        Transactions = "transactions",
    }
}

/// A client to be started.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    software: Software,
    job: Job,
    settings: Vec<(String, String)>,
    name: Option<&'static str>,
    variables: Vec<(&'static str, PathBuf)>,
}

impl Plan {
    /// Sets a variable of its environment to the path of a file.
    pub(crate) fn variable(mut self, name: &'static str, file: PathBuf) -> Self {
        self.variables.push((name, file));
        self
    }

    /// Has its log called by another name than its job's.
    pub(crate) const fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// A client that speaks plain Kafka, and leaves the wire alone when it has nothing to do.
    pub(crate) fn new(software: Software, job: Job) -> Self {
        let plan = Self {
            software,
            job,
            settings: Vec::new(),
            name: None,
            variables: Vec::new(),
        };
        let plan = match software {
            Software::Java => plan.with("enable.metrics.push", "false"),
            Software::Librdkafka => plan
                .with("enable.metrics.push", "false")
                .with("topic.metadata.refresh.interval.ms", "-1"),
            Software::Kafkajs => plan,
        };
        match (software, job) {
            (_, Job::Consumer) => plan
                .with("group.id", "lab")
                .with("auto.offset.reset", "earliest"),
            (_, Job::Transactions) => plan.with("transactional.id", "lab"),
            (Software::Java, Job::Producer) => plan.with("max.block.ms", "20000"),
            _ => plan,
        }
    }

    /// Adds a setting, in the client's own words.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers and literals read best as they are"
    )]
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.retain(|(other, _)| other != name);
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds a setting if the client is the one that has it.
    pub(crate) fn with_if(self, software: Software, name: &str, value: impl ToString) -> Self {
        if self.software == software {
            self.with(name, value)
        } else {
            self
        }
    }

    /// Speaks TLS, and trusts the authority in `authority`.
    pub(crate) fn tls(self, authority: &Path) -> Self {
        let file = authority.display();
        match self.software {
            Software::Java => self
                .with("security.protocol", Protocol::Ssl.name())
                .with("ssl.truststore.type", "PEM")
                .with("ssl.truststore.location", file),
            Software::Librdkafka => self
                .with("security.protocol", Protocol::Ssl.name())
                .with("ssl.ca.location", file),
            Software::Kafkajs => self.with("ca", file),
        }
    }

    /// Authenticates as `alice`, within TLS if it speaks that already.
    pub(crate) fn sasl(self, mechanism: &str, password: &str) -> Self {
        let ssl = Protocol::Ssl.name();
        let tls = self
            .settings
            .iter()
            .any(|(name, value)| name == "security.protocol" && value == ssl);
        let protocol = if tls {
            Protocol::SaslSsl
        } else {
            Protocol::SaslPlaintext
        };
        let plan = self.with("security.protocol", protocol.name());
        match plan.software {
            Software::Java => {
                let module = if mechanism == "PLAIN" {
                    "plain.PlainLoginModule"
                } else {
                    "scram.ScramLoginModule"
                };
                plan.with("sasl.mechanism", mechanism).with(
                    "sasl.jaas.config",
                    format!(
                        "org.apache.kafka.common.security.{module} required \
                         username=\"alice\" password=\"{password}\";"
                    ),
                )
            }
            Software::Librdkafka | Software::Kafkajs => plan
                .with("sasl.mechanism", mechanism)
                .with("sasl.username", "alice")
                .with("sasl.password", password),
        }
    }

    fn command(&self, home: &Home, scratch: &Scratch) -> Result<Command> {
        let mut command = match self.software {
            Software::Java => {
                let mut command = home.java("-Xmx128m")?;
                let logs = "-Dorg.slf4j.simpleLogger";
                command
                    .arg(format!("{logs}.showShortLogName=true"))
                    .arg(format!("{logs}.showThreadName=false"))
                    .arg(format!("{logs}.log.org.apache.kafka.common.config=warn"))
                    // Where "Connection reset" is said, and nowhere else.
                    .arg(format!("{logs}.log.org.apache.kafka.common.network=debug"))
                    .arg("Client");
                command
            }
            Software::Librdkafka => {
                let mut command = home.python()?;
                command.arg(scratch.write("client.py", PYTHON)?);
                command
            }
            Software::Kafkajs => {
                let mut command = home.node()?;
                command.arg(scratch.write("client.js", JS)?);
                command
            }
        };
        command.envs(self.variables.iter().map(|(name, file)| (name, file)));
        command.args([self.job.name(), TOPIC]);
        for (name, value) in &self.settings {
            command.arg(format!("{name}={value}"));
        }
        Ok(command)
    }
}

const PYTHON: &str = include_str!("../../kafka/python/client.py");
const JS: &str = include_str!("../../kafka/js/client.js");

/// A running client; killed when dropped.
#[derive(Debug)]
pub(crate) struct Client {
    process: Process,
    software: Software,
    /// Up to here its log was read for answers.
    heard: usize,
}

/// What a client answered to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It worked.
    Done(String),
    /// Why it did not.
    Failed(String),
}

impl Client {
    /// Starts a client that knows of the broker at `bootstrap`, and waits until it takes orders.
    pub(crate) fn start(
        lab: &Lab,
        home: &Home,
        scratch: &Scratch,
        plan: &Plan,
        bootstrap: &str,
    ) -> Result<Self> {
        let plan = plan.clone().with("bootstrap.servers", bootstrap);
        let job = plan.name.unwrap_or_else(|| plan.job.name());
        // What one of several wrote must not answer for another.
        let name = lab
            .journal()
            .fresh(&format!("{} {job}", plan.software.name()));
        let process = Process::start(
            lab,
            lab.network().host(Side::Client),
            &name,
            &mut plan.command(home, scratch)?,
        )?;
        let mut client = Self {
            process,
            software: plan.software,
            heard: 0,
        };
        client.answer("begin").and_then(Said::done)?;
        Ok(client)
    }

    /// Gives it an order, and waits for its answer.
    pub(crate) fn ask(&mut self, order: &str) -> Result<Said> {
        self.order(order)?;
        self.answer(order)
    }

    /// Gives it an order that must work.
    pub(crate) fn must(&mut self, order: &str) -> Result<()> {
        self.ask(order)?.done()
    }

    /// Has it read records for `time`.
    pub(crate) fn poll(&mut self, time: Duration) -> Result<()> {
        let order = format!("poll {}", time.as_millis());
        self.order(&order)?;
        self.answer_within(&order, time + PATIENCE)?.done()
    }

    /// Gives it an order, and does not wait.
    pub(crate) fn order(&mut self, order: &str) -> Result<()> {
        self.process.order(order)
    }

    /// Waits for its answer to an order.
    pub(crate) fn answer(&mut self, order: &str) -> Result<Said> {
        self.answer_within(order, PATIENCE)
    }

    fn answer_within(&mut self, order: &str, patience: Duration) -> Result<Said> {
        let what = format!("an answer of {} to `{order}`", self.process.log().name());
        let is_answer = |text: &str| text.starts_with('@');
        let from = self.heard;
        let line = self.process.wait_for(&what, from, patience, is_answer)?;
        let lines = self.process.log().lines();
        let position = lines
            .iter()
            .enumerate()
            .skip(from)
            .find(|(_, line)| is_answer(&line.text));
        self.heard = position.map_or(lines.len(), |(position, _)| position + 1);
        Ok(match line.text.strip_prefix("@failed ") {
            Some(why) => Said::Failed(why.to_owned()),
            None => Said::Done(line.text),
        })
    }

    /// Waits until its log has `words`, whenever it wrote them.
    pub(crate) fn wait_for_words(&mut self, words: &str, patience: Duration) -> Result<Line> {
        let what = format!("{:?} in the log of {}", words, self.process.log().name());
        self.process
            .wait_for(&what, 0, patience, |line| line.contains(words))
    }

    /// Waits until its log says that a connection was reset, which should happen `within` so long.
    pub(crate) fn wait_for_reset_words(&mut self, within: Duration) -> Result<Line> {
        self.wait_for_words(self.software.reset_words(), within + REACTION)
    }

    /// The process.
    pub(crate) const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Has it close in order, and waits until it has.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.must("close")?;
        self.process.wait_for_end(PATIENCE).map(drop)
    }
}

impl Said {
    /// Makes sure that it worked.
    pub(crate) fn done(self) -> Result<()> {
        match self {
            Self::Done(_) => Ok(()),
            Self::Failed(why) => Err(Error::Staging(format!("a client failed: {why}"))),
        }
    }
}
