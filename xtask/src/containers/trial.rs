//! What has to hold on a node, with the manifest as it is and with each part taken away.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    manifest::Manifest,
    node::{ADDRESS, NAME, Node},
    pods::{Agent, Broker, Clients, Container},
};
use crate::wait::await_that;

/// Takes connections one after the other, and writes what comes to standard output.
const RECEIVER: &str = "\
import os, socket
s = socket.create_server(('127.0.0.1', 6601))
while True:
    connection = s.accept()[0]
    while data := connection.recv(65536):
        os.write(1, data)
";

/// Connections that are reset right before SIGTERM.
const AT_ONCE: u32 = 20;

/// What the tests have.
pub(super) struct Stage {
    pub(super) node: Node,
    pub(super) broker: Broker,
    pub(super) clients: Clients,
    /// Of the next agent's pod.
    next: u32,
}

impl Stage {
    pub(super) fn set(mut node: Node) -> Result<Self> {
        let broker = Broker::start(&mut node)?;
        let clients = Clients::start(&mut node, &broker.address)?;
        Ok(Self {
            node,
            broker,
            clients,
            next: 0,
        })
    }

    fn agent(&mut self, manifest: &Manifest) -> Result<Agent> {
        self.next += 1;
        Agent::start(&mut self.node, manifest, self.next)
    }

    fn reset(&self, count: u32) -> Result<Vec<u64>> {
        self.clients.reset(&self.node, &self.broker.address, count)
    }
}

/// The manifest as it is: the right names, through restarts and an upgrade, with nothing lost.
/// Returns a line for each thing that holds.
pub(super) fn as_stated(
    stage: &mut Stage,
    manifest: &Manifest,
    later: &str,
) -> Result<Vec<String>> {
    let mut holds = Vec::new();
    let began = Instant::now();
    let mut agent = stage.agent(manifest)?;
    let start = started(stage, &agent)?;
    if start["packet_evidence"] != "cgroup_skb" || start["degraded"] != serde_json::json!([]) {
        bail!("as the manifest states it, not all is attached: {start}");
    }
    let first = began.elapsed();
    let port = one(&stage.reset(1)?)?;
    let event = of_port(stage, &agent, port)?;
    named(&event, stage)?;
    let verdict = began.elapsed();
    holds.push(format!(
        "a client's reset is `aborted`, with pod, namespace, container and its id of both ends; \
         {:.1} s from the request for the agent's pod to its first event, {:.1} s to the verdict",
        first.as_secs_f64(),
        verdict.as_secs_f64()
    ));

    // The broker's container ends, and the producer meets a closed port.
    stage.clients.tell("send 10 100")?;
    stage.clients.await_answer(&stage.node, "@sent")?;
    stage.broker.container.stop(&stage.node, 30)?;
    let refused = agent.await_event(&stage.node, "a refused connection", |it| {
        it["cause"] == "refused" && it["broker"]["address"] == stage.broker.address.as_str()
    })?;
    let producer = &stage.clients.producer;
    is_in(&refused["process"], "shop", "orders-7d9f", producer)?;
    stage.broker.restart(&mut stage.node)?;
    stage.clients.tell("send 10 100")?;
    stage.clients.await_answer(&stage.node, "@sent")?;
    let port = one(&stage.reset(1)?)?;
    named(&of_port(stage, &agent, port)?, stage)?;
    holds.push(
        "while the broker's container is stopped, Kafka's producer is `refused`; after its restart \
         the new container's id is named"
            .to_owned(),
    );

    // Kubelet restarts the agent's container, with resets that have just happened.
    let ports = stage.reset(AT_ONCE)?;
    let stopping = Instant::now();
    let code = agent.stop(&stage.node)?;
    let took = stopping.elapsed();
    all_reported(stage, &agent, &ports, code)?;
    if took > Duration::from_secs(u64::try_from(manifest.grace())?) {
        bail!("the agent took {took:?} to end");
    }
    agent.restart(&mut stage.node, manifest)?;
    started(stage, &agent)?;
    let port = one(&stage.reset(1)?)?;
    named(&of_port(stage, &agent, port)?, stage)?;
    holds.push(format!(
        "{AT_ONCE} connections reset right before SIGTERM are all reported, each once, and the \
         agent ends with exit code 0 and its summary after {:.1} s; its next container reports on",
        took.as_secs_f64()
    ));

    // A DaemonSet's rolling update: the old pod ends before the new one starts.
    let held = stage.clients.hold(&stage.node, &stage.broker.address)?;
    let mut newer = manifest.clone();
    newer.container()["image"] = later.into();
    let stopping = Instant::now();
    let code = agent.stop(&stage.node)?;
    all_reported(stage, &agent, &[], code)?;
    agent.remove(&stage.node)?;
    let agent = stage.agent(&newer)?;
    started(stage, &agent)?;
    let gap = stopping.elapsed();
    let port = held.release()?;
    let event = of_port(stage, &agent, port)?;
    named(&event, stage)?;
    if event["connection"]["age_kind"] != "at_least" {
        bail!("the connection is older than the agent: {event}");
    }
    holds.push(format!(
        "an upgrade leaves {:.1} s without an agent; a connection from before it is reset after \
         it, and has the right verdict and names",
        gap.as_secs_f64()
    ));

    // The node goes down: kubelet ends the pods of users first.
    stage.clients.tell("send 10 100")?;
    stage.clients.await_answer(&stage.node, "@sent")?;
    let ports = stage.reset(AT_ONCE)?;
    stage.clients.producer.stop(&stage.node, 1)?;
    stage.broker.container.stop(&stage.node, 30)?;
    let code = agent.stop(&stage.node)?;
    all_reported(stage, &agent, &ports, code)?;
    agent.remove(&stage.node)?;
    holds.push(
        "the node is shut down, its pods first: all resets before the agent's SIGTERM are reported"
            .to_owned(),
    );
    stage.broker.restart(&mut stage.node)?;
    Ok(holds)
}

fn started(stage: &Stage, agent: &Agent) -> Result<Value> {
    match agent.first(&stage.node)? {
        Ok(start) => Ok(start),
        Err(refusal) => bail!(
            "the agent ends with exit code {}: {}",
            refusal.code,
            refusal.sentence
        ),
    }
}

fn one(ports: &[u64]) -> Result<u64> {
    ports.first().copied().context("the client names no port")
}

/// The event of a client's connection.
fn of_port(stage: &Stage, agent: &Agent, port: u64) -> Result<Value> {
    agent.await_event(&stage.node, "an event of the client's reset", |it| {
        it["type"] == "reset" && it["client"]["port"] == port
    })
}

/// Fails unless an event of a client's reset has the right cause, and names both containers.
fn named(event: &Value, stage: &Stage) -> Result<()> {
    if event["cause"] != "aborted" || event["sent_by"] != "client" {
        bail!("expected a reset by the client, `aborted`: {event}");
    }
    let (client, broker) = (&stage.clients.orders, &stage.broker.container);
    is_in(process(event, "client"), "shop", "orders-7d9f", client)?;
    is_in(process(event, "broker"), "kafka", "broker-0", broker)
}

/// The process at an end of the connection.
fn process<'a>(event: &'a Value, role: &str) -> &'a Value {
    if event["role"] == role {
        &event["process"]
    } else {
        &event["other_end"]["process"]
    }
}

fn is_in(process: &Value, namespace: &str, pod: &str, container: &Container) -> Result<()> {
    for (key, expected) in [
        ("pod_namespace", namespace),
        ("pod_name", pod),
        ("container_name", &container.name),
        ("container_id", &container.id),
    ] {
        if process[key] != expected {
            bail!("expected {key} {expected:?}, got {process}");
        }
    }
    Ok(())
}

/// Fails unless each of these connections has exactly one event, and the agent ended in order.
fn all_reported(stage: &Stage, agent: &Agent, ports: &[u64], code: i64) -> Result<()> {
    let events = agent.events(&stage.node);
    for port in ports {
        let count = events
            .iter()
            .filter(|it| it["type"] == "reset" && it["client"]["port"] == *port)
            .count();
        if count != 1 {
            bail!("{count} events of a connection that was reset before SIGTERM");
        }
    }
    let last = events.last().context("no events")?;
    if code != 0 || last["type"] != "summary" || last["end"] != true {
        bail!("the agent ended with exit code {code}; its last event is {last}");
    }
    Ok(())
}

/// What of the agent's work is there with a manifest. Returns what is missing, as the page says it.
pub(super) fn lost(stage: &mut Stage, manifest: &Manifest) -> Result<Vec<String>> {
    let mut lost = Vec::new();
    let agent = match stage.agent(manifest) {
        Ok(agent) => agent,
        Err(error) => return Ok(vec![format!("the runtime refuses it: {error:#}")]),
    };
    let start = match agent.first(&stage.node)? {
        Ok(start) => start,
        Err(refusal) => {
            agent.remove(&stage.node)?;
            return Ok(vec![format!(
                "does not start, exit code {}: `{}`",
                refusal.code, refusal.sentence
            )]);
        }
    };
    if start["packet_evidence"] != "cgroup_skb" {
        let instead = start["packet_evidence"].as_str().unwrap_or("?");
        lost.push(format!("packet evidence is `{instead}`"));
    }
    for it in start["degraded"].as_array().into_iter().flatten() {
        let feature = it["feature"].as_str().unwrap_or("?");
        if feature != "packet-evidence" {
            lost.push(format!("`{feature}`"));
        }
    }
    let port = one(&stage.reset(1)?)?;
    of_port(stage, &agent, port)?;
    let is_healthy = healthy(stage);
    agent.stop(&stage.node)?;
    let events = agent.events(&stage.node);
    // One for both ends, or one for each where it is not known that they are one connection.
    let of_both: Vec<_> = events
        .iter()
        .filter(|it| it["client"]["port"] == port)
        .collect();
    if !of_both.iter().any(|it| it["cause"] == "aborted") {
        lost.push("the verdict of a client's abort".to_owned());
    }
    let (client, broker) = (&stage.clients.orders, &stage.broker.container);
    let ends = [("client", client), ("broker", broker)];
    let both = ends.map(|(end, container)| {
        let processes = of_both.iter().map(|it| process(it, end));
        let mut seen = processes.filter(|it| it["pid"].is_u64() || it["cgroup"].is_string());
        let process = seen.next();
        (process.unwrap_or(&Value::Null), container)
    });
    let mut miss = |what: &str, is: &dyn Fn(&Value, &Container) -> bool| {
        if !both
            .iter()
            .all(|(process, container)| is(process, container))
        {
            lost.push(what.to_owned());
        }
    };
    miss("the processes", &|it, _| it["pid"].is_u64());
    miss("the containers' ids", &|it, container| {
        it["container_id"] == container.id.as_str()
    });
    miss("the pods' names", &|it, _| it["pod_name"].is_string());
    miss(
        "the containers' names in pods of several",
        &|it, container| it["container_name"] == container.name.as_str(),
    );
    // The client has ended before it could be read.
    if !both[1].0["executable"].is_string() {
        lost.push("the executables".to_owned());
    }
    if start["host"]["name"] != NAME {
        lost.push("the node's name".to_owned());
    }
    if !is_healthy {
        lost.push("health and metrics on the node's address".to_owned());
    }
    let last = events.last().cloned().unwrap_or_default();
    let addresses = &last["coverage"]["addresses"];
    let has = addresses
        .as_array()
        .is_some_and(|list| list.iter().any(|it| it == ADDRESS));
    if !has {
        lost.push("the node's addresses in `coverage`".to_owned());
    }
    agent.remove(&stage.node)?;
    Ok(lost)
}

/// Whether kubelet's probe finds the agent.
fn healthy(stage: &Stage) -> bool {
    let get = "exec 3<>/dev/tcp/127.0.0.1/9465; printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3; \
               read -r line <&3; case $line in *' 200 '*) exit 0;; esac; exit 1";
    stage.node.run(&["bash", "-c", get]).is_ok()
}

/// What of a sink's work is missing whose receiver is away while the agent's first pod runs, and
/// there when the next one does.
pub(super) fn lost_by_sinks(stage: &mut Stage, manifest: &Manifest) -> Result<Option<String>> {
    let mut manifest = manifest.clone();
    let files = manifest
        .config
        .get_mut("kreset")
        .context("no ConfigMap kreset")?;
    files
        .get_mut("kreset.toml")
        .context("no kreset.toml")?
        .push_str("\n[[sink]]\ntype = \"syslog\"\naddress = \"tcp://127.0.0.1:6601\"\nformat = \"json\"\n");
    let agent = stage.agent(&manifest)?;
    started(stage, &agent)?;
    let port = one(&stage.reset(1)?)?;
    let event = of_port(stage, &agent, port)?;
    let id = event["id"]
        .as_str()
        .context("an event without id")?
        .to_owned();
    agent.stop(&stage.node)?;
    let errors = agent.container.errors(&stage.node);
    agent.remove(&stage.node)?;
    if errors
        .iter()
        .any(|line| line.contains("cannot use the spool"))
    {
        return Ok(Some(
            "delivery by sinks that send over the network".to_owned(),
        ));
    }
    let received = stage.node.directory().join("received");
    let mut receiver = stage
        .node
        .command(&["/usr/bin/python3", "-c", RECEIVER])?
        .stdout(std::fs::File::create(&received)?)
        .spawn()?;
    let agent = stage.agent(&manifest)?;
    let start = started(stage, &agent)?;
    let start = start["id"].as_str().unwrap_or_default().to_owned();
    let text = || std::fs::read_to_string(&received).unwrap_or_default();
    // Events are delivered in order: what was spooled comes before it.
    let outcome = await_that("the receiver gets the next pod's first event", || {
        text().contains(&start)
    })
    .with_context(|| agent.container.errors(&stage.node).join("\n"));
    agent.stop(&stage.node)?;
    agent.remove(&stage.node)?;
    drop(receiver.kill());
    receiver.wait()?;
    outcome?;
    let lost = !text().contains(&id);
    Ok(lost.then(|| "undelivered events of the pod before".to_owned()))
}
