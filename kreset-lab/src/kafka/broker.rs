//! Apache Kafka's own broker, on the broker's host.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{certificates::Certificates, home::Home, process::Process, scratch::Scratch};
use crate::{
    Lab, PORT, Side,
    error::{Context as _, Error, Result},
    net::BROKER_V4,
    util::journal::{Log, Patience},
};

/// How long a broker may take to start: many programs share the processors, and a broker that was
/// killed waits for its own session to expire. It logs each step.
const START: Patience = Patience {
    silence: Duration::from_secs(90),
    most: Duration::from_mins(10),
};

const END: Duration = Duration::from_mins(1);

/// Any will do, and all nodes of a cluster must have the same.
const CLUSTER_ID: &str = "kresetlabkresetlabkres";

named_enum! {
    /// What clients have to speak to the broker.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Protocol {
        /// Kafka's protocol as it is.
        Plaintext = "PLAINTEXT",
        /// The same within TLS.
        Ssl = "SSL",
        /// Without TLS, after authentication.
        SaslPlaintext = "SASL_PLAINTEXT",
        /// Within TLS, after authentication.
        SaslSsl = "SASL_SSL",
    }
}

/// What a broker should be like.
#[derive(Clone, Debug)]
pub struct Plan {
    protocol: Protocol,
    advertised: Option<IpAddr>,
    /// Where it listens for clients, if not at the port that they come to.
    behind: Option<u16>,
    settings: Vec<(String, String)>,
    /// A logger and its level, `LOGGER=LEVEL`.
    logging: Option<&'static str>,
    /// Its number, from 1, among how many.
    node: (u8, u8),
}

impl Plan {
    /// One broker that speaks `protocol`.
    #[must_use]
    pub const fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            advertised: None,
            behind: None,
            settings: Vec::new(),
            logging: None,
            node: (1, 1),
        }
    }

    /// Adds a line to `server.properties`.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers and literals read best as they are"
    )]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Has one of its loggers log more: `LOGGER=LEVEL`.
    #[must_use]
    pub const fn logging(mut self, logger: &'static str) -> Self {
        self.logging = Some(logger);
        self
    }

    /// Has clients come to another address than the broker's own.
    #[must_use]
    pub const fn advertised(mut self, address: IpAddr) -> Self {
        self.advertised = Some(address);
        self
    }

    /// Has it listen for clients at another port than they come to, which is a proxy's.
    #[must_use]
    pub const fn behind_proxy(mut self, port: u16) -> Self {
        self.behind = Some(port);
        self
    }

    /// Makes it one node of several, the first of which has number 1.
    #[must_use]
    pub const fn node(mut self, number: u8, of: u8) -> Self {
        self.node = (number, of);
        self
    }

    /// Whether clients need TLS.
    pub(crate) const fn speaks_tls(&self) -> bool {
        matches!(self.protocol, Protocol::Ssl | Protocol::SaslSsl)
    }

    /// Where it listens.
    pub const fn address(&self) -> Ipv4Addr {
        let [a, b, c, first] = BROKER_V4.octets();
        Ipv4Addr::new(a, b, c, first + self.node.0 - 1)
    }

    /// Where brokers talk to each other, off the network that tracers see.
    fn inside(&self) -> String {
        format!("127.0.0.1:{}", 19_100 + u16::from(self.node.0))
    }

    fn properties(&self, data: &str, certificates: Option<&Certificates>) -> String {
        let Self {
            protocol,
            node: (number, of),
            ..
        } = self;
        let controller = |node: u8| format!("127.0.0.1:{}", 19_000 + u16::from(node));
        let voters: Vec<_> = (1..=*of)
            .map(|node| format!("{node}@{}", controller(node)))
            .collect();
        let own = self.address();
        let advertised = self.advertised.unwrap_or_else(|| own.into());
        let security = protocol.name();
        let (inside, controller) = (self.inside(), controller(*number));
        let port = self.behind.unwrap_or(PORT);
        let mut text = format!(
            "process.roles=broker,controller\n\
             node.id={number}\n\
             controller.quorum.voters={}\n\
             # Brokers connect to each other, and the broker to itself, where clients cannot be seen.\n\
             listeners=CLIENTS://{own}:{port},INSIDE://{inside},CONTROLLER://{controller}\n\
             advertised.listeners=CLIENTS://{advertised}:{PORT},INSIDE://{inside}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=INSIDE\n\
             listener.security.protocol.map=CLIENTS:{security},INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={data}\n\
             offsets.topic.replication.factor={of}\n\
             transaction.state.log.replication.factor={of}\n\
             default.replication.factor={of}\n\
             {SMALL}",
            voters.join(",")
        );
        if let Some(certificates) = certificates {
            let _infallible = writeln!(
                text,
                "ssl.keystore.type=PEM\nssl.keystore.location={}\n\
                 ssl.truststore.type=PEM\nssl.truststore.location={}",
                certificates.broker_file().display(),
                certificates.authority_file().display()
            );
        }
        if matches!(protocol, Protocol::SaslPlaintext | Protocol::SaslSsl) {
            text.push_str(
                "sasl.enabled.mechanisms=PLAIN\n\
                 listener.name.clients.plain.sasl.jaas.config=\
                 org.apache.kafka.common.security.plain.PlainLoginModule required \
                 user_alice=\"alice-secret\";\n",
            );
        }
        for (name, value) in &self.settings {
            let _infallible = writeln!(text, "{name}={value}");
        }
        text
    }
}

/// A small and quick broker: one partition of everything, few threads, short sessions.
const SMALL: &str = "\
offsets.topic.num.partitions=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
background.threads=1
num.recovery.threads.per.data.dir=1
log.cleaner.dedupe.buffer.size=2097152
log.segment.bytes=16777216
log.index.size.max.bytes=65536
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=1000
controlled.shutdown.enable=true
auto.create.topics.enable=true
";

/// A broker; killed when dropped.
#[derive(Debug)]
pub(crate) struct Broker {
    plan: Plan,
    home: Home,
    files: Files,
    process: Process,
}

impl Broker {
    /// Starts one with an empty directory of its own in `scratch`, and waits until it serves.
    pub(crate) fn start(
        lab: &Lab,
        home: &Home,
        scratch: &Scratch,
        plan: Plan,
        certificates: Option<&Certificates>,
    ) -> Result<Self> {
        let mut broker = Self::begin(lab, home, scratch, plan, certificates)?;
        broker.wait_until_ready(0)?;
        Ok(broker)
    }

    /// Starts one, and waits for nothing: the nodes of a cluster wait for each other.
    pub(crate) fn begin(
        lab: &Lab,
        home: &Home,
        scratch: &Scratch,
        plan: Plan,
        certificates: Option<&Certificates>,
    ) -> Result<Self> {
        let files = prepare(home, scratch, &plan, certificates)?;
        let process = run(lab, home, &plan, &files)?;
        Ok(Self {
            plan,
            home: home.clone(),
            files,
            process,
        })
    }

    /// Waits until it serves, by what it says from line `from` of its log on.
    pub(crate) fn wait_until_ready(&mut self, from: usize) -> Result<()> {
        self.process
            .wait_for("a broker to start", from, START, |line| {
                line.contains("Kafka Server started")
            })
            .map(drop)
    }

    /// What it logged.
    pub(crate) const fn log(&self) -> &Log {
        self.process.log()
    }

    /// Where clients reach it, as `bootstrap.servers` has it.
    pub(crate) fn bootstrap(&self) -> String {
        let address = self
            .plan
            .advertised
            .unwrap_or_else(|| self.plan.address().into());
        format!("{address}:{PORT}")
    }

    /// Alters its settings while it runs, with Kafka's own `kafka-configs`.
    pub(crate) fn configure(&self, lab: &Lab, change: &[&str]) -> Result<()> {
        let mut command = self.home.java("-Xmx64m")?;
        command
            .arg("kafka.admin.ConfigCommand")
            .args(["--bootstrap-server", &self.plan.inside(), "--alter"])
            .args(change);
        let host = lab.network().host(Side::Broker);
        let mut tool = Process::start(lab, host, "broker tool", &mut command)?;
        let status = tool.wait_for_end(END)?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Staging(format!("kafka-configs ended with {status}")))
    }

    /// Ends it with SIGKILL, and waits until its sockets are closed.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait_for_end(END).map(drop)
    }

    /// Asks it to end with SIGTERM, as an orderly restart does, and waits until it has.
    pub(crate) fn shut_down(&mut self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait_for_end(END).map(drop)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, which: Signal) -> Result<()> {
        self.process.signal(which)
    }

    /// Waits until something else has ended it.
    pub(crate) fn wait_for_end(&mut self, patience: Duration) -> Result<()> {
        self.process.wait_for_end(patience).map(drop)
    }

    /// Starts it again with what it kept, after it has ended, and waits until it serves.
    pub(crate) fn restart(&mut self, lab: &Lab) -> Result<()> {
        lab.status().set("restarting a broker");
        let from = self.process.log().length();
        self.process = run(lab, &self.home, &self.plan, &self.files)?;
        self.wait_until_ready(from)
    }
}

/// The files that a broker is started with.
#[derive(Debug)]
struct Files {
    properties: PathBuf,
    hosts: PathBuf,
}

/// Gives a broker its settings, and an empty directory in `scratch`.
fn prepare(
    home: &Home,
    scratch: &Scratch,
    plan: &Plan,
    certificates: Option<&Certificates>,
) -> Result<Files> {
    let (node, _) = plan.node;
    let data = scratch.path().join(format!("broker-{node}"));
    fs::create_dir(&data).context(|| format!("make the directory {}", data.display()))?;
    // What `kafka-storage format` writes, without a JVM to do it.
    fs::write(
        data.join("meta.properties"),
        format!("version=1\nnode.id={node}\ncluster.id={CLUSTER_ID}\ndirectory.id=kresetlabkresetlabkre{}\n",
            ["g", "w", "Q"][usize::from(node - 1) % 3]
        ),
    )
    .context(|| "format a broker's directory".to_owned())?;
    let checkpoint = home.bootstrap_checkpoint();
    home.demand("an empty broker's checkpoint", &checkpoint)?;
    fs::copy(&checkpoint, data.join("bootstrap.checkpoint"))
        .context(|| format!("copy {}", checkpoint.display()))?;
    let properties = scratch.write(
        &format!("server-{node}.properties"),
        plan.properties(&data.display().to_string(), certificates),
    )?;
    // Without it a broker asks a resolver that is not there, on its network thread.
    let hosts = scratch.write(
        &format!("hosts-{node}"),
        "127.0.0.1 localhost\n10.77.1.1 device\n10.77.2.1 device-inside\n10.77.1.2 client\n\
         10.77.2.2 broker\n10.77.2.3 broker-2\n10.77.2.4 broker-3\n",
    )?;
    Ok(Files { properties, hosts })
}

/// The command that runs a broker with an empty directory of its own, for programs that have no lab. It
/// ends when its standard input does, and says `Kafka Server started` once it serves.
pub fn command(home: &Home, scratch: &Scratch, plan: &Plan) -> Result<Command> {
    java(home, &prepare(home, scratch, plan, None)?)
}

fn java(home: &Home, files: &Files) -> Result<Command> {
    let mut command = home.java("-Xmx256m")?;
    command
        .arg(format!("-Djdk.net.hosts.file={}", files.hosts.display()))
        .arg("-Dorg.slf4j.simpleLogger.showShortLogName=true")
        .arg("-Dorg.slf4j.simpleLogger.showThreadName=false")
        .arg("-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn")
        .arg("Broker")
        .arg(&files.properties);
    Ok(command)
}

fn run(lab: &Lab, home: &Home, plan: &Plan, files: &Files) -> Result<Process> {
    let name = match plan.node {
        (_, 1) => "broker".to_owned(),
        (number, _) => format!("broker-{number}"),
    };
    let mut command = java(home, files)?;
    if let Some(logging) = plan.logging {
        let option = format!("-Dorg.slf4j.simpleLogger.log.{logging}");
        command.env("JDK_JAVA_OPTIONS", option);
    }
    Process::start(lab, lab.network().host(Side::Broker), &name, &mut command)
}
