//! How the broker's process ended, as the tracer on its host says it: real processes, each ended
//! in another way while its connections are in use.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use kreset_lab::{
    Family, Lab, PORT, Side, Stop,
    net::{
        self,
        broker_process::{BrokerProcess, OwnEnd},
        message::{self, Request},
    },
    util::control_group::{ControlGroup, Controller},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::traced::{PATIENCE, Traced, abort, in_namespace};

/// Requests that the broker answers, and one that it leaves unread: its end resets the connection.
const ANSWERED: u32 = 4;

fn lab() -> Lab {
    let own = Path::new(env!("CARGO_BIN_EXE_kreset-lab"));
    Lab::new(&Stop::default())
        .expect("a lab")
        .with_own_binary(own)
}

/// A connection in use, the last request of which the broker leaves unread.
fn in_use(lab: &Lab) -> TcpStream {
    let broker = SocketAddr::new(net::address(Side::Broker, false), PORT);
    in_namespace(lab.network().host(Side::Client), || {
        let mut client = TcpStream::connect(broker).expect("a connection");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        for number in 1..=ANSWERED {
            let request = message::request(Request::Metadata, number);
            client.write_all(&request).expect("a request");
            message::receive(&mut client).expect("an answer");
        }
        let unread = message::request(Request::Metadata, ANSWERED + 1);
        client.write_all(&unread).expect("a request");
        client
    })
}

/// What the tracer on the broker's host says of the end of the connection that was in use.
fn event_of(traced: &mut Traced, mut client: TcpStream) -> Value {
    let port = client.local_addr().expect("an address").port();
    let ended = client.read(&mut [0]);
    assert!(ended.is_err(), "it was reset: {ended:?}");
    traced.next(|event| event["type"] == "reset" && event["client"]["port"] == port)
}

fn traced(lab: &Lab) -> Traced {
    let traced = Traced::start(&["--netns", lab.network().host(Side::Broker).name()]);
    assert_eq!(traced.start["degraded"], Value::Array(Vec::new()));
    traced
}

/// Ends a broker, and returns its process id and what is said of it. The tracer is there before
/// the broker, or finds it.
fn ended(before: bool, end: impl FnOnce(&mut BrokerProcess)) -> (u64, Value) {
    let lab = lab();
    let early = before.then(|| traced(&lab));
    let mut broker = lab.start_broker(Family::Ipv4, ANSWERED).expect("a broker");
    let mut traced = early.unwrap_or_else(|| traced(&lab));
    let client = in_use(&lab);
    let pid = u64::from(broker.id());
    end(&mut broker);
    broker.wait(PATIENCE).expect("it ends");
    let event = event_of(&mut traced, client);
    assert_eq!(event["role"], "broker", "{event}");
    assert_eq!(event["verdict"], "broker_originated", "{event}");
    assert_eq!(event["cause"], "shutdown", "{event}");
    assert!(event["confidence"].as_f64() >= Some(0.99), "{event}");
    let said = &event["process_end"];
    assert_eq!(said["pid"], pid, "{event}");
    assert_eq!(said["name"], "kreset-lab", "{event}");
    // The record of the exit comes first (kernel: `do_exit`).
    let ended_ms = said["ended_ms"].as_f64().expect("it has ended");
    assert!((0.0..1_000.0).contains(&ended_ms), "{event}");
    let advice = event["advice"].as_str().expect("advice");
    let summary = said["summary"].as_str().expect("a summary");
    assert!(
        advice.to_lowercase().contains(&summary.to_lowercase()),
        "{event}"
    );
    (pid, event)
}

fn signalled(signal: Signal) -> impl FnOnce(&mut BrokerProcess) {
    move |broker| broker.signal(signal).expect("it lives")
}

fn ordered(end: OwnEnd) -> impl FnOnce(&mut BrokerProcess) {
    move |broker| broker.order(end).expect("it lives")
}

/// This process sends the signals.
fn is_this_process(sender: &Value, event: &Value) {
    assert_eq!(sender["pid"], std::process::id(), "{event}");
    assert_eq!(sender["uid"], nix::unistd::getuid().as_raw(), "{event}");
    assert_eq!(sender["by_kernel"], false, "{event}");
    let name = sender["name"].as_str().expect("a name");
    let own = std::fs::read_to_string("/proc/self/comm").expect("a name of its own");
    assert_eq!(name, own.trim(), "{event}");
}

#[test]
fn sigterm_is_a_request() {
    let (_, event) = ended(true, signalled(Signal::SIGTERM));
    let said = &event["process_end"];
    assert_eq!(said["what"], "stopped", "{event}");
    assert_eq!(said["signal"], "SIGTERM", "{event}");
    is_this_process(&said["asked"]["by"], &event);
}

#[test]
fn sigkill_is_none() {
    let (_, event) = ended(false, signalled(Signal::SIGKILL));
    let said = &event["process_end"];
    assert_eq!(said["what"], "killed", "{event}");
    assert_eq!(said["asked"], Value::Null, "{event}");
    is_this_process(&said["by"], &event);
}

#[test]
fn a_crash_is_its_own() {
    let (_, event) = ended(true, ordered(OwnEnd::Crash));
    let said = &event["process_end"];
    assert_eq!(said["what"], "crashed", "{event}");
    assert_eq!(said["signal"], "SIGSEGV", "{event}");
    assert_eq!(said["by"], Value::Null, "{event}");
}

#[test]
fn an_exit_has_its_code() {
    let (_, event) = ended(false, ordered(OwnEnd::Exit(7)));
    let said = &event["process_end"];
    assert_eq!(said["what"], "exited", "{event}");
    assert_eq!(said["exit_code"], 7, "{event}");
    assert_eq!(said["signal"], Value::Null, "{event}");
}

/// The limit is that of a control group, which the kernel's log or the group's own counts say.
#[test]
fn the_out_of_memory_killer_is_named_with_the_limit() {
    const LIMIT: u64 = 64 << 20;
    let group = ControlGroup::new(Controller::Memory, "ended").expect("a control group");
    group.limit_memory(LIMIT).expect("a limit");
    let path = group.path();
    let (_, event) = ended(true, |broker| {
        group.add(broker.id()).expect("a process of it");
        broker.order(OwnEnd::UseMemory).expect("it lives");
    });
    let said = &event["process_end"];
    assert_eq!(said["what"], "out_of_memory", "{event}");
    assert_eq!(said["memory"]["of_cgroup"], true, "{event}");
    assert_eq!(said["memory"]["limit_bytes"], LIMIT, "{event}");
    let of = said["memory"]["cgroup"].as_str().expect("a group");
    assert!(of.ends_with(&path), "{event}");
    let summary = said["summary"].as_str().expect("a summary");
    assert!(summary.ends_with("is 64 MiB"), "{event}");
}

/// A broker that stands still is not blamed for what its clients give up, but named.
#[test]
fn a_suspended_broker_is_named() {
    const SUSPENDED: Duration = Duration::from_millis(700);
    let lab = lab();
    let mut traced = traced(&lab);
    let broker = lab.start_broker(Family::Ipv4, ANSWERED).expect("a broker");
    let client = in_use(&lab);
    let port = client.local_addr().expect("an address").port();
    broker.signal(Signal::SIGSTOP).expect("it lives");
    let since = Instant::now();
    // For as long as it takes: the clock is what is waited for.
    Stop::default()
        .until_holds("the time to pass", PATIENCE, || {
            since.elapsed() >= SUSPENDED
        })
        .expect("it passes");
    // The client gives up.
    abort(client);
    let event = traced.next(|event| event["client"]["port"] == port);
    assert_eq!(event["verdict"], "client_originated", "{event}");
    let said = &event["process_end"];
    assert_eq!(said["what"], "suspended", "{event}");
    assert_eq!(said["signal"], "SIGSTOP", "{event}");
    let ms = said["suspended_ms"].as_f64().expect("a time");
    assert!(ms >= 700.0, "{event}");
    is_this_process(&said["by"], &event);
    let advice = event["advice"].as_str().expect("advice");
    assert!(advice.contains("SIGSTOP for "), "{event}");
    broker.signal(Signal::SIGCONT).expect("it lives");
}

/// Who asks for a connection after the end is refused, and told why.
#[test]
fn a_refusal_says_what_became_of_the_broker() {
    let lab = lab();
    let mut traced = traced(&lab);
    let mut broker = lab.start_broker(Family::Ipv4, ANSWERED).expect("a broker");
    broker.kill().expect("it lives");
    crate::traced::refused(&lab, 1);
    let event = traced.next(|event| event["cause"] == "refused");
    assert_eq!(event["process_end"]["what"], "killed", "{event}");
    let advice = event["advice"].as_str().expect("advice");
    assert!(advice.contains("SIGKILL by "), "{event}");
    // Another one has come: nothing is refused, and nothing of the old one is said.
    let mut again = lab.start_broker(Family::Ipv4, ANSWERED).expect("a broker");
    let client = in_use(&lab);
    again.order(OwnEnd::Exit(0)).expect("it lives");
    let event = event_of(&mut traced, client);
    assert_eq!(event["process_end"]["pid"], again.id(), "{event}");
    assert_eq!(event["process_end"]["what"], "exited", "{event}");
}
