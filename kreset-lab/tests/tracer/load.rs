//! How busy a broker is, as the tracers on both hosts say it: a listener that accepts nothing any
//! more, and a connection of which it reads nothing.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Instant,
};

use kreset_lab::{
    Lab, PORT, Side, Stop,
    net::{self, Namespace},
};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::{
    missed::{connect, exchange},
    traced::{PATIENCE, Traced, in_namespace},
};

const BACKLOG: i32 = 1;
/// The queue is full with one more (kernel: `sk_acceptq_is_full`).
const FULL: usize = 2;

fn broker() -> SocketAddr {
    SocketAddr::new(net::address(Side::Broker, false), PORT)
}

fn listen(host: &Namespace) -> TcpListener {
    in_namespace(host, || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("an option");
        socket.bind(&broker().into()).expect("a free port");
        socket.listen(BACKLOG).expect("a listener");
        socket.into()
    })
}

/// The fields of the one socket of a host that the kernel lists with `part` (`/proc/net/tcp`).
fn listed(host: &Namespace, part: &str) -> Vec<String> {
    in_namespace(host, || {
        let list = fs::read_to_string("/proc/thread-self/net/tcp").expect("a list");
        let line = list.lines().find(|line| line.contains(part));
        let fields = line.expect("it is there").split_ascii_whitespace();
        fields.map(ToOwned::to_owned).collect()
    })
}

/// The other end has room for nothing more, so the kernel probes its window (timer 4 in
/// `get_tcp4_sock`).
fn probes_window(host: &Namespace, client: &TcpStream) -> bool {
    let port = client.local_addr().expect("an address").port();
    listed(host, &format!(":{port:04X} "))[5].starts_with("04:")
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

fn evidence<'a>(event: &'a Value, name: &str) -> Option<&'a Value> {
    let evidence = event["evidence"].as_array().expect("evidence");
    evidence.iter().find(|it| it["name"] == name)
}

#[test]
fn a_broker_that_neither_accepts_nor_reads_is_seen_from_both_hosts() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let [host, clients] = [Side::Broker, Side::Client].map(|side| lab.network().host(side));
    let listener = listen(host);
    // The listener is older than the tracer, and found by its file.
    let mut traced = [host, clients].map(|host| Traced::start(&["--netns", host.name()]));
    for traced in &traced {
        assert_eq!(traced.start["degraded"], Value::Array(Vec::new()));
    }
    let (mut client, mut broker_end) = in_namespace(clients, || connect(&listener, broker()));
    exchange(&mut client, &mut broker_end);
    // Until nothing fits into either host any more.
    client.set_nonblocking(true).expect("an option");
    let chunk = [0; 4 << 10];
    until("the window closes", || {
        while client.write(&chunk).is_ok() {}
        probes_window(clients, &client)
    });
    // As many as fit, and the queue is full.
    let _waiting: Vec<_> = in_namespace(clients, || {
        let connect = || TcpStream::connect(broker()).expect("room");
        std::iter::repeat_with(connect).take(FULL).collect()
    });
    until("the queue is full", || {
        host.accept_queue(PORT).expect("a list") == FULL
    });
    let port = client.local_addr().expect("an address").port();
    drop(broker_end);
    let is_end = |event: &Value| event["type"] == "reset" && event["client"]["port"] == port;
    let [of_broker, of_client] = traced.each_mut().map(|traced| traced.next(is_end));

    let load = &of_broker["load"];
    assert!(load["unread_bytes"].as_u64() > Some(0), "{of_broker}");
    assert_eq!(load["accept_queue"]["length"], FULL, "{of_broker}");
    assert_eq!(load["accept_queue"]["limit"], BACKLOG, "{of_broker}");
    let limit = load["open_files"]["limit"].as_u64().expect("a limit");
    let open = load["open_files"]["open"].as_u64().expect("a number");
    // The three standard streams, two sockets of it, and what the test has.
    assert!((5..limit).contains(&open), "{of_broker}");
    for resource in ["cpu", "memory", "io"] {
        let share = load["pressure"][resource].as_f64().expect("a share");
        assert!((0.0..=100.0).contains(&share), "{of_broker}");
    }
    let said = evidence(&of_broker, "load").expect("it says something");
    let value = said["value"].as_str().expect("text");
    assert!(value.starts_with("accept queue full (2 of 1"), "{value}");
    assert!(value.contains("unread by the broker"), "{value}");
    assert_eq!(said["weights"], Value::Array(Vec::new()), "{said}");
    let advice = of_broker["advice"].as_str().expect("advice");
    assert!(advice.contains("net.core.somaxconn"), "{advice}");

    let load = &of_client["load"];
    assert_eq!(load["peer_window_bytes"], 0, "{of_client}");
    assert_eq!(load["accept_queue"], Value::Null, "{of_client}");
    let said = evidence(&of_client, "load").expect("it says something");
    assert_eq!(said["value"], "the broker's window was closed", "{said}");
    client.set_nonblocking(false).expect("an option");
    let _reset = client.read(&mut [0]);
}
