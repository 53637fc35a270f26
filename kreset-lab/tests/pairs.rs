//! What two agents prove together: real resets, real NAT, and agents that were not watching. Root
//! and the tracer (`KRESET_TRACE`) are needed.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use kreset_lab::{
    Family, Lab, Side, Stop,
    device::Ttl,
    driver::{self, Said, Tracer},
    net::{self, Namespace, message::Request},
};
use serde_json::Value;

const PORT: u16 = 9092;
/// The address and port that the client dials, instead of the broker's.
const DIALLED: (&str, u16) = ("10.77.9.9", 9_192);
/// The devices' idle timer.
const TIMER: Duration = Duration::from_secs(2);

fn program() -> PathBuf {
    env::var_os("KRESET_TRACE")
        .map(PathBuf::from)
        .expect("KRESET_TRACE names the tracer; cargo xtask test sets it")
}

fn attach(lab: &Lab, side: Side, options: &driver::Options) -> Tracer {
    lab.trace(side, &program(), options)
        .expect("the tracer attaches")
}

/// What `correlate` makes of lines.
fn correlate(lines: &[String]) -> Vec<Value> {
    let mut child = Command::new(program())
        .args(["correlate", "--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin
        .write_all(lines.join("\n").as_bytes())
        .expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .expect("text")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn lines(said: &Said) -> Vec<String> {
    said.events.iter().map(|event| event.line.clone()).collect()
}

fn one(lines: &[String]) -> Value {
    let mut findings = correlate(lines);
    assert_eq!(findings.len(), 1, "{findings:#?}\n{}", lines.join("\n"));
    findings.remove(0)
}

fn run(namespace: &Namespace, program: &str, arguments: &[&str], input: &str) {
    namespace
        .enter(|| {
            let mut child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::piped())
                .spawn()
                .expect("it starts");
            let mut stdin = child.stdin.take().expect("it is piped");
            stdin.write_all(input.as_bytes()).expect("it reads");
            drop(stdin);
            assert!(child.wait().expect("it ends").success(), "{program}");
            Ok(())
        })
        .expect("the namespace is there");
}

/// Through DNAT and masquerading at once.
fn install_nat(lab: &Lab) {
    let broker = net::address(Side::Broker, false);
    let (address, port) = DIALLED;
    run(
        lab.network().router(),
        "nft",
        &["-f", "-"],
        &format!(
            "table ip pairs {{\n\
               chain before {{ type nat hook prerouting priority dstnat;\n\
                 ip daddr {address} tcp dport {port} dnat to {broker}:{PORT}\n\
               }}\n\
               chain after {{ type nat hook postrouting priority srcnat;\n\
                 oifname broker masquerade\n\
               }}\n\
             }}\n"
        ),
    );
}

/// A connection to `address`, from the client's host, and the broker's end of it.
fn connect(lab: &Lab, address: SocketAddr) -> (TcpStream, TcpStream) {
    let listener = in_host(lab, Side::Broker, || {
        std::net::TcpListener::bind(SocketAddr::new(net::address(Side::Broker, false), PORT))
            .expect("the port is free")
    });
    let client = in_host(lab, Side::Client, || {
        TcpStream::connect_timeout(&address, Duration::from_secs(20)).expect("it connects")
    });
    let (broker, _) = listener.accept().expect("it accepts");
    for end in [&client, &broker] {
        end.set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a socket");
    }
    (client, broker)
}

fn in_host<T: Send>(lab: &Lab, side: Side, work: impl FnOnce() -> T + Send) -> T {
    lab.network()
        .host(side)
        .enter(|| Ok(work()))
        .expect("the namespace is there")
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: usize) {
    from.write_all(&vec![7; bytes]).expect("it is open");
    to.read_exact(&mut vec![0; bytes]).expect("it arrives");
}

/// Both agents around a connection that the broker aborts, through `address`.
fn aborted(lab: &Lab, address: SocketAddr) -> [Said; 2] {
    // The client's agent has to know the port that is dialled.
    let options = driver::Options::default().ports(PORT..DIALLED.1 + 1);
    let tracers = [Side::Client, Side::Broker].map(|side| attach(lab, side, &options));
    let (mut client, mut broker) = connect(lab, address);
    pass(&mut client, &mut broker, 200);
    pass(&mut broker, &mut client, 70_000);
    pass(&mut client, &mut broker, 3_000);
    socket2::SockRef::from(&broker)
        .set_linger(Some(Duration::ZERO))
        .expect("a socket");
    drop(broker);
    let error = client.read(&mut [0]).expect_err("it is reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    tracers.map(|tracer| tracer.finish().expect("it ends"))
}

fn flow(said: &Said) -> Value {
    let line = said.about_connections().next().expect("an event");
    let event: Value = serde_json::from_str(&line.line).expect("JSON");
    event["connection"]["flow_id"].clone()
}

#[test]
fn a_flow_has_one_name_through_dnat_and_masquerading() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    install_nat(&lab);
    let (address, port) = DIALLED;
    let dialled = SocketAddr::new(address.parse().expect("an address"), port);
    let said = aborted(&lab, dialled);
    let [client, broker] = &said;
    assert!(flow(client).is_string(), "{client:?}");
    assert_eq!(flow(client), flow(broker));
    let finding = one(&[lines(client), lines(broker)].concat());
    assert_eq!(finding["proof"], "sender_seen", "{finding:#}");
    assert_eq!(finding["verdict"], "broker_originated");
    assert_eq!(finding["sent_by"], "broker");
    let seen = |host: &str, end: &str| finding[host][end]["address"].clone();
    assert_ne!(seen("client_host", "client"), seen("broker_host", "client"));
    assert_ne!(seen("client_host", "broker"), seen("broker_host", "broker"));
}

/// A device forgot the silent connection and answers in the broker's name, with its TTL: from one
/// host this cannot be known.
fn forged(lab: &Lab, tracers: impl FnOnce() -> [Tracer; 2]) -> [Said; 2] {
    lab.middlebox()
        .reset_on_send(TIMER, Ttl::Copied)
        .expect("a device");
    let tracers = tracers();
    let listener = lab.listen(Family::Ipv4).expect("it listens");
    let mut conversation = lab.converse(&listener, Family::Ipv4).expect("in use");
    lab.silence(TIMER + Duration::from_millis(500))
        .expect("it was silent");
    conversation
        .client
        .request(Request::Metadata)
        .expect("sent");
    conversation.client.wait_for_reset().expect("it is reset");
    tracers.map(|tracer| tracer.finish().expect("it ends"))
}

fn edit(line: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut event: Value = serde_json::from_str(line).expect("JSON");
    change(&mut event);
    event.to_string()
}

fn kind(line: &str) -> Value {
    let event: Value = serde_json::from_str(line).expect("JSON");
    event["type"].clone()
}

/// Moves a time by whole minutes.
fn moved(line: &str, minutes: i64) -> String {
    edit(line, |event| {
        let time: jiff::Timestamp = event["time"]
            .as_str()
            .and_then(|time| time.parse().ok())
            .expect("a time");
        let time = time + jiff::SignedDuration::from_mins(minutes);
        event["time"] = format!("{time:.9}").into();
    })
}

#[test]
fn a_copied_ttl_is_proven_unless_the_brokers_agent_was_not_watching() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let options = driver::Options::default();
    let [client, broker] = forged(&lab, || {
        [Side::Client, Side::Broker].map(|side| attach(&lab, side, &options))
    });
    let (client, broker) = (lines(&client), lines(&broker));
    let proven = one(&[client.clone(), broker.clone()].concat());
    assert_eq!(proven["proof"], "nobody_sent", "{proven:#}");
    assert_eq!(proven["verdict"], "middlebox_idle_reset");
    assert_eq!(proven["cause"], "reset_on_send");
    assert_eq!(proven["sent_by"], "device");
    // Who sent it is certain; that it was an idle timer is not, after seconds of silence.
    assert!(proven["confidence"].as_f64() >= Some(0.6), "{proven:#}");

    type Change = fn(&str) -> String;
    let of_start: Change = |line| match kind(line).as_str() {
        Some("start") => edit(line, |it| {
            it["degraded"] =
                serde_json::json!([{ "feature": "socketless", "reason": "", "remedy": "" }]);
        }),
        _ => line.to_owned(),
    };
    let lost: Change = |line| match kind(line).as_str() {
        Some("summary") => edit(line, |it| it["coverage"]["kernel_lost"] = 1.into()),
        _ => line.to_owned(),
    };
    let port: Change = |line| match kind(line).as_str() {
        Some("summary") => edit(line, |it| {
            it["coverage"]["ports"] = serde_json::json!(["9093"]);
        }),
        _ => line.to_owned(),
    };
    let cases: [(&str, Change); 5] = [
        ("degraded", of_start),
        ("lost", lost),
        ("port", port),
        ("not_attached_yet", |line| moved(line, 10)),
        ("ended", |line| moved(line, -10)),
    ];
    for (missing, change) in cases {
        let changed: Vec<_> = broker.iter().map(|line| change(line)).collect();
        let finding = one(&[client.clone(), changed].concat());
        assert_eq!(finding["proof"], "one_host", "{missing}: {finding:#}");
        assert_eq!(finding["missing"], serde_json::json!([missing]));
        assert!(finding["confidence"].as_f64() < Some(0.9), "{finding:#}");
    }
    let finding = one(&client);
    assert_eq!(finding["missing"], serde_json::json!(["no_agent"]));
}

#[test]
fn an_agent_that_started_too_late_or_ended_too_early_proves_nothing() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let options = driver::Options::default();
    // It is there, and has ended before the client was reset.
    let early = attach(&lab, Side::Broker, &options)
        .finish()
        .expect("it ends");
    let [client, late] = forged(&lab, || {
        [Side::Client, Side::Broker].map(|side| attach(&lab, side, &options))
    });
    let reset = |line: &String| kind(line) == "reset";
    let finding = one(&[lines(&client), lines(&early)].concat());
    assert_eq!(
        finding["missing"],
        serde_json::json!(["ended"]),
        "{finding:#}"
    );
    // One that starts after it.
    let later = attach(&lab, Side::Broker, &options)
        .finish()
        .expect("it ends");
    let finding = one(&[lines(&client), lines(&later)].concat());
    assert_eq!(
        finding["missing"],
        serde_json::json!(["not_attached_yet"]),
        "{finding:#}"
    );
    // Between the two of them there was one, and they do not spoil its word.
    assert!(!lines(&late).iter().any(reset));
    let all = [lines(&client), lines(&early), lines(&late), lines(&later)].concat();
    assert_eq!(one(&all)["proof"], "nobody_sent");
}

#[test]
fn text_is_one_line_that_names_its_proof() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let broker = SocketAddr::new(net::address(Side::Broker, false), PORT);
    let said = aborted(&lab, broker);
    let directory = tempfile::tempdir().expect("a directory");
    let files = ["client.jsonl", "broker.jsonl"].map(|name| directory.path().join(name));
    for (file, said) in files.iter().zip(&said) {
        std::fs::write(file, lines(said).join("\n")).expect("it is written");
    }
    let text = text_of(&files);
    let line = text
        .lines()
        .find(|line| line.contains("sender_seen"))
        .expect("a finding");
    for part in [
        "The broker aborted the connection, proven",
        "received a RST at",
        "sent a RST at",
    ] {
        assert!(line.contains(part), "{text}");
    }
}

fn text_of(files: &[impl AsRef<Path>]) -> String {
    let mut command = Command::new(program());
    command.arg("correlate");
    for file in files {
        command.arg(file.as_ref());
    }
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}
