//! Pods as kubelet makes them: the agent's, and those with a broker and its clients.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{
    manifest::{Identity, Manifest},
    node::{Cgroups, Node},
};
use crate::{dist, exec, wait::await_that};

/// The image of all pods but the agent's: a shell. What else they run is this machine's `/usr`.
const LAB: &str = "localhost/lab:1";
const CLUSTER: &str = "kresetlabkresetlabkres";

/// A pod that runs.
pub(super) struct Pod {
    pub(super) who: Identity,
    sandbox: String,
    request: String,
}

/// A container of a pod.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) id: String,
    /// Its log on the node.
    log: String,
}

impl Pod {
    fn run(node: &mut Node, who: Identity, sandbox: &Value) -> Result<Self> {
        node.run(&["mkdir", "-p", &who.log_directory(), "/var/log/containers"])?;
        let request = node.file(sandbox)?;
        let sandbox = node.crictl(&["runp", &request])?;
        Ok(Self {
            who,
            sandbox,
            request,
        })
    }

    /// Creates and starts a container, and links its log as kubelet does.
    pub(super) fn start(&self, node: &mut Node, request: &Value) -> Result<Container> {
        let file = node.file(request)?;
        let id = node.crictl(&["create", &self.sandbox, &file, &self.request])?;
        node.crictl(&["start", &id])?;
        let name = request["metadata"]["name"].as_str().unwrap_or_default();
        let log = request["log_path"].as_str().unwrap_or_default();
        let log = format!("{}/{log}", self.who.log_directory());
        let Identity {
            namespace,
            name: pod,
            ..
        } = &self.who;
        let link = format!("/var/log/containers/{pod}_{namespace}_{name}-{id}.log");
        node.run(&["ln", "-s", &log, &link])?;
        Ok(Container {
            name: name.to_owned(),
            id,
            log,
        })
    }

    /// Its address in the pods' network.
    pub(super) fn address(&self, node: &Node) -> Result<String> {
        let status = node.crictl(&["inspectp", &self.sandbox])?;
        let status: Value = serde_json::from_str(&status).context("crictl inspectp")?;
        let address = status["status"]["network"]["ip"].as_str();
        Ok(address.context("a pod without an address")?.to_owned())
    }

    pub(super) fn remove(self, node: &Node) -> Result<()> {
        node.crictl(&["rmp", "--force", &self.sandbox])?;
        let links = format!("/var/log/containers/{}_*", self.who.name);
        node.run(&["sh", "-c", &format!("rm -f {links}")])?;
        node.run(&["rm", "-r", &self.who.log_directory()])?;
        Ok(())
    }
}

impl Container {
    /// Its exit code, if it has ended.
    pub(super) fn ended(&self, node: &Node) -> Result<Option<i64>> {
        let status = node.crictl(&["inspect", &self.id])?;
        let status: Value = serde_json::from_str(&status).context("crictl inspect")?;
        let status = &status["status"];
        if status["state"] != "CONTAINER_EXITED" {
            return Ok(None);
        }
        Ok(status["exitCode"].as_i64())
    }

    /// What it wrote to standard output.
    pub(super) fn output(&self, node: &Node) -> Vec<String> {
        self.said(node, "stdout")
    }

    /// What it wrote to standard error.
    pub(super) fn errors(&self, node: &Node) -> Vec<String> {
        self.said(node, "stderr")
    }

    fn said(&self, node: &Node, stream: &str) -> Vec<String> {
        let lines = node.log(&self.log).into_iter();
        lines
            .filter_map(|(of, line)| (of == stream).then_some(line))
            .collect()
    }

    /// SIGTERM, and SIGKILL after `seconds`, as when kubelet ends a pod.
    pub(super) fn stop(&self, node: &Node, seconds: i64) -> Result<()> {
        let seconds = seconds.to_string();
        node.crictl(&["stop", "--timeout", &seconds, &self.id])?;
        Ok(())
    }
}

/// The image with a shell, and names for what is mounted into its containers.
pub(super) fn image(work: &Path) -> Result<PathBuf> {
    let root = work.join("lab-image");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for directory in [
        "bin", "etc", "kafka", "proc", "sys", "dev", "tmp", "usr", "work",
    ] {
        fs::create_dir_all(root.join("layer").join(directory))?;
    }
    let busybox = exec::find("busybox").context("busybox is not installed")?;
    fs::copy(&busybox, root.join("layer/bin/busybox"))?;
    for (link, target) in [
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
        ("bin/sh", "busybox"),
        ("bin/sleep", "busybox"),
        ("bin/cat", "busybox"),
    ] {
        std::os::unix::fs::symlink(target, root.join("layer").join(link))?;
    }
    let tar = |directory: &Path, file: &Path, names: &[&str]| {
        exec::run(
            Command::new("tar")
                .arg("--directory")
                .arg(directory)
                .args(["--owner=0", "--group=0", "--create", "--file"])
                .arg(file)
                .args(names),
        )
    };
    let layer = root.join("layer.tar");
    tar(&root.join("layer"), &layer, &["."])?;
    let sum = exec::output(Command::new("sha256sum").arg(&layer))?;
    let sum = sum.split_whitespace().next().unwrap_or_default();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Entrypoint": ["/bin/sleep", "2147483647"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{sum}")] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": [LAB], "Layers": ["layer.tar"] }]);
    fs::write(root.join("config.json"), config.to_string())?;
    fs::write(root.join("manifest.json"), manifest.to_string())?;
    let archive = work.join("lab-image.tar");
    tar(
        &root,
        &archive,
        &["manifest.json", "config.json", "layer.tar"],
    )?;
    Ok(archive)
}

/// A container of the lab's image, with this machine's `/usr` and a directory of its own.
fn lab(name: &str, attempt: u32, command: &[&str], work: &Path) -> Value {
    let mount = |inside: &str, outside: &Path, readonly: bool| json!({ "container_path": inside, "host_path": outside, "readonly": readonly });
    let mut mounts = vec![
        mount("/usr", Path::new("/usr"), true),
        mount("/work", work, false),
    ];
    if let Ok(target) = exec::target_directory() {
        mounts.push(mount("/kafka", &target.join("kafka"), true));
    }
    // Debian's Java has its configuration there.
    for entry in fs::read_dir("/etc").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("java-") {
            mounts.push(mount(
                &entry.path().display().to_string(),
                &entry.path(),
                true,
            ));
        }
    }
    json!({
        "metadata": { "name": name, "attempt": attempt },
        "image": { "image": LAB },
        "command": command,
        "working_dir": "/work",
        "mounts": mounts,
        "log_path": format!("{name}/{attempt}.log"),
    })
}

/// The pod of the broker: a real Kafka.
pub(super) struct Broker {
    pub(super) pod: Pod,
    pub(super) container: Container,
    pub(super) address: String,
    work: PathBuf,
    attempt: u32,
}

impl Broker {
    pub(super) fn start(node: &mut Node) -> Result<Self> {
        let who = Identity {
            namespace: "kafka",
            name: "broker-0".to_owned(),
            uid: uid(1),
        };
        let sandbox = who.sandbox(&node.group(), false, false);
        let pod = Pod::run(node, who, &sandbox)?;
        let address = pod.address(node)?;
        let work = node.directory().join("broker");
        fs::create_dir_all(work.join("data"))?;
        fs::write(
            work.join("data/meta.properties"),
            format!(
                "version=1\nnode.id=1\ncluster.id={CLUSTER}\n\
                 directory.id=kresetlabkresetlabkreg\n"
            ),
        )?;
        let kafka = exec::target_directory()?.join("kafka");
        fs::copy(
            kafka.join("bootstrap.checkpoint"),
            work.join("data/bootstrap.checkpoint"),
        )
        .context("no empty broker's checkpoint: `cargo xtask setup --kafka`")?;
        fs::write(
            work.join("server.properties"),
            format!(
                "process.roles=broker,controller\nnode.id=1\n\
                 controller.quorum.voters=1@127.0.0.1:19001\n\
                 listeners=PLAINTEXT://{address}:9092,CONTROLLER://127.0.0.1:19001\n\
                 advertised.listeners=PLAINTEXT://{address}:9092\n\
                 controller.listener.names=CONTROLLER\n\
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
                 offsets.topic.replication.factor=1\nlog.dirs=/work/data\n"
            ),
        )?;
        let container = Self::run(node, &pod, &work, 0)?;
        Ok(Self {
            pod,
            container,
            address,
            work,
            attempt: 0,
        })
    }

    fn run(node: &mut Node, pod: &Pod, work: &Path, attempt: u32) -> Result<Container> {
        let java = java()?;
        let command = [
            java.as_str(),
            "-Xmx256m",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            "/kafka/libs/*",
            "kafka.Kafka",
            "/work/server.properties",
        ];
        let container = pod.start(node, &lab("kafka", attempt, &command, work))?;
        await_that("the broker serves", || {
            let said = [container.output(node), container.errors(node)].concat();
            said.iter()
                .any(|line| line.contains("Kafka Server started"))
        })
        .with_context(|| {
            [container.output(node), container.errors(node)]
                .concat()
                .join("\n")
        })?;
        Ok(container)
    }

    /// The container again, in the same pod, as after its end.
    pub(super) fn restart(&mut self, node: &mut Node) -> Result<()> {
        self.attempt += 1;
        self.container = Self::run(node, &self.pod, &self.work, self.attempt)?;
        Ok(())
    }
}

fn java() -> Result<String> {
    let program = exec::find("java").context("java is not installed")?;
    let program = fs::canonicalize(program)?;
    Ok(program.display().to_string())
}

/// The pod of the clients: Kafka's own producer, and a container for clients that reset.
pub(super) struct Clients {
    pub(super) producer: Container,
    pub(super) orders: Container,
    /// The producer's standard input.
    commands: Option<File>,
}

/// Connects, asks for the broker's versions of the API, and resets, as a program does that
/// closes with `SO_LINGER` at 0. Arguments: broker, number of connections, and a file that it waits
/// for before it resets them. Prints its ports.
const RESET: &str = "\
import os, socket, struct, sys, time
connections = []
for _ in range(int(sys.argv[2])):
    s = socket.create_connection((sys.argv[1], 9092), timeout=30)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.sendall(struct.pack('>ihhih6s', 16, 18, 0, 1, 6, b'orders'))
    size, = struct.unpack('>i', s.recv(4, socket.MSG_WAITALL))
    s.recv(size, socket.MSG_WAITALL)
    connections.append(s)
open('/work/held', 'w').close()
while len(sys.argv) > 3 and not os.path.exists(sys.argv[3]):
    time.sleep(0.01)
for s in connections:
    print(s.getsockname()[1])
    s.close()
";

impl Clients {
    pub(super) fn start(node: &mut Node, broker: &str) -> Result<Self> {
        let who = Identity {
            namespace: "shop",
            name: "orders-7d9f".to_owned(),
            uid: uid(2),
        };
        let sandbox = who.sandbox(&node.group(), false, false);
        let pod = Pod::run(node, who, &sandbox)?;
        let work = node.directory().join("clients");
        fs::create_dir_all(&work)?;
        fs::write(work.join("reset.py"), RESET)?;
        let fifo = work.join("commands");
        exec::run(Command::new("mkfifo").arg(&fifo))?;
        let java = java()?;
        let script = format!(
            "exec {java} -Xmx128m -XX:TieredStopAtLevel=1 -cp '/kafka/libs/*' Client producer \
             orders bootstrap.servers={broker}:9092 client.id=orders-api reconnect.backoff.ms=50 \
             reconnect.backoff.max.ms=50 < /work/commands"
        );
        let producer = pod.start(
            node,
            &lab("producer", 0, &["/bin/sh", "-c", &script], &work),
        )?;
        let orders = pod.start(
            node,
            &lab("orders", 0, &["/bin/sleep", "2147483647"], &work),
        )?;
        // Opens once the container reads.
        let commands = File::options().write(true).open(&fifo)?;
        let mut clients = Self {
            producer,
            orders,
            commands: Some(commands),
        };
        clients.tell("hello")?;
        clients.await_answer(node, "@hello")?;
        Ok(clients)
    }

    /// Gives the producer a command.
    pub(super) fn tell(&mut self, command: &str) -> Result<()> {
        let commands = self.commands.as_mut().context("the producer has ended")?;
        writeln!(commands, "{command}").context("the producer takes no command")
    }

    pub(super) fn await_answer(&self, node: &Node, answer: &str) -> Result<()> {
        await_that(&format!("the producer says {answer}"), || {
            let output = self.producer.output(node);
            output.last().is_some_and(|line| line.starts_with(answer))
        })
        .with_context(|| self.producer.output(node).join("\n"))
    }

    /// A client in the container `orders` that resets `count` connections. Returns their ports.
    pub(super) fn reset(&self, node: &Node, broker: &str, count: u32) -> Result<Vec<u64>> {
        let count = count.to_string();
        let said = node.crictl(&[&self.client(broker)[..], &[&count]].concat())?;
        ports(&said)
    }

    /// The same with one connection, which is there before [`Held::release`].
    pub(super) fn hold(&self, node: &Node, broker: &str) -> Result<Held> {
        let work = node.directory().join("clients");
        for file in ["held", "release"] {
            // It may not be there.
            drop(fs::remove_file(work.join(file)));
        }
        let words = [&self.client(broker)[..], &["1", "/work/release"]].concat();
        let child = node
            .crictl_command(&words)?
            .stdout(Stdio::piped())
            .spawn()
            .context("crictl does not start")?;
        await_that("the client is connected", || work.join("held").exists())?;
        Ok(Held { work, child })
    }

    fn client<'a>(&'a self, broker: &'a str) -> [&'a str; 6] {
        [
            "exec",
            "--sync",
            &self.orders.id,
            "/usr/bin/python3",
            "/work/reset.py",
            broker,
        ]
    }
}

fn ports(said: &str) -> Result<Vec<u64>> {
    said.split_whitespace()
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()
        .with_context(|| format!("the client says {said:?}"))
}

/// A client that holds its connection.
pub(super) struct Held {
    work: PathBuf,
    child: Child,
}

impl Held {
    /// Has it reset the connection. Returns its port.
    pub(super) fn release(self) -> Result<u64> {
        fs::write(self.work.join("release"), [])?;
        let output = self.child.wait_with_output()?;
        let ports = ports(&String::from_utf8_lossy(&output.stdout))?;
        ports.first().copied().context("the client names no port")
    }
}

/// The agent's pod, as a `DaemonSet` has it on the node.
pub(super) struct Agent {
    pod: Pod,
    pub(super) container: Container,
    attempt: u32,
    grace: i64,
}

impl Agent {
    /// Starts it as a manifest says. `number`: of the pod, which has another name and uid each time.
    pub(super) fn start(node: &mut Node, manifest: &Manifest, number: u32) -> Result<Self> {
        let who = Identity {
            namespace: "kreset",
            name: format!("kreset-{number}"),
            uid: uid(100 + number),
        };
        for directory in manifest.made() {
            node.run(&["mkdir", "-p", directory])?;
        }
        let pod = Pod::run(node, who.clone(), &manifest.sandbox(&who, &node.group()))?;
        let container = Self::run(node, manifest, &pod, 0)?;
        Ok(Self {
            pod,
            container,
            attempt: 0,
            grace: manifest.grace(),
        })
    }

    fn run(node: &mut Node, manifest: &Manifest, pod: &Pod, attempt: u32) -> Result<Container> {
        let volumes = node.directory().join(format!("volumes-{}", pod.who.name));
        let limits = node.cgroups() == Cgroups::Machine;
        let request = manifest.request(attempt, &volumes, limits)?;
        pod.start(node, &request)
    }

    /// The container again, in the same pod.
    pub(super) fn restart(&mut self, node: &mut Node, manifest: &Manifest) -> Result<()> {
        self.attempt += 1;
        self.container = Self::run(node, manifest, &self.pod, self.attempt)?;
        Ok(())
    }

    /// Its events.
    pub(super) fn events(&self, node: &Node) -> Vec<Value> {
        let lines = self.container.output(node).into_iter();
        lines
            .filter_map(|line| serde_json::from_str(&line).ok())
            .collect()
    }

    /// Waits for its first event; an error of the program if it ends before.
    pub(super) fn first(&self, node: &Node) -> Result<std::result::Result<Value, Refusal>> {
        let (mut start, mut refusal) = (None, None);
        await_that("the agent's first event", || {
            start = self.events(node).into_iter().next();
            if start.is_none()
                && let Ok(Some(code)) = self.container.ended(node)
            {
                let errors = self.container.errors(node);
                refusal = Some(Refusal {
                    code,
                    sentence: errors.last().cloned().unwrap_or_default(),
                });
            }
            start.is_some() || refusal.is_some()
        })
        .with_context(|| self.container.errors(node).join("\n"))?;
        match (start, refusal) {
            (Some(start), _) => Ok(Ok(start)),
            (None, Some(refusal)) => Ok(Err(refusal)),
            (None, None) => bail!("no event and no end"),
        }
    }

    /// Waits for an event, and returns it.
    pub(super) fn await_event(
        &self,
        node: &Node,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut found = None;
        await_that(what, || {
            found = self.events(node).into_iter().find(&is);
            found.is_some()
        })
        .with_context(|| {
            let events = self.events(node).into_iter();
            let events: Vec<_> = events.map(|it| it["summary"].to_string()).collect();
            [self.container.errors(node), events].concat().join("\n")
        })?;
        found.context("no event")
    }

    /// Ends its container as kubelet does. Returns its exit code.
    pub(super) fn stop(&self, node: &Node) -> Result<i64> {
        self.container.stop(node, self.grace)?;
        self.container
            .ended(node)?
            .context("the agent runs after its end")
    }

    pub(super) fn remove(self, node: &Node) -> Result<()> {
        self.pod.remove(node)
    }
}

/// How the agent refused to start.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) sentence: String,
}

/// A pod's uid.
fn uid(number: u32) -> String {
    format!("8f3c2b1a-0000-4000-8000-{number:012}")
}

/// The manifest, in the repository.
pub(super) fn manifest() -> Result<Manifest> {
    Manifest::read(&dist::documents(
        &exec::root()?.join("packaging/kreset-daemonset.yaml"),
    )?)
}
