//! Connections for whose changes the kernel ran no program, as it does where tasks preempt one
//! another in tracepoints (7.0 and newer). Here the tracer's memory of them is taken away, which
//! leaves it where it would be.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use aya::maps::{Map, MapData, SkStorage};
use kreset_common::record::{Connection, Packets};
use kreset_lab::{
    Lab, Side, Stop,
    net::message::{self, Request},
    util::process::Observed,
};
use nix::sys::signal::Signal;

use crate::traced::{PATIENCE, Traced, abort, broker_address, in_namespace, listen};

/// What the kernel side keeps of a connection: both, what it has handled of them, and whose
/// count it is.
const ENTRY: usize = size_of::<Connection>() + size_of::<Packets>() + 16;

/// Takes what a tracer remembers of a connection away.
fn forget(tracer: u32, stream: &TcpStream) {
    let mut forgotten = 0;
    for id in Observed::new(tracer).map_ids() {
        let map = Map::from_map_data(MapData::from_id(id).expect("a map")).expect("a known type");
        if let Map::SkStorage(_) = map {
            let mut entries: SkStorage<MapData, [u8; ENTRY]> =
                map.try_into().expect("entries of this size");
            entries.remove(stream).expect("it was remembered");
            forgotten += 1;
        }
    }
    assert_eq!(forgotten, 1, "one map remembers connections");
}

/// One connection of a client to a broker.
pub(crate) fn connect(listener: &TcpListener, address: SocketAddr) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(address).expect("a connection");
    let (broker, _) = listener.accept().expect("the same");
    for stream in [&client, &broker] {
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
    }
    (client, broker)
}

pub(crate) fn exchange(client: &mut TcpStream, broker: &mut TcpStream) {
    for number in 1..5 {
        let request = message::request(Request::Metadata, number);
        client.write_all(&request).expect("a request");
        message::serve(broker).expect("an answer");
        message::receive(client).expect("the answer");
    }
}

/// How many changes the tracer says that the kernel skipped, once it has ended.
fn told_as_skipped(mut traced: Traced) -> u64 {
    traced.signal(Signal::SIGINT);
    let summary = traced.next(|event| event["type"] == "summary");
    summary["coverage"]["kernel_skipped"]
        .as_u64()
        .expect("a count")
}

#[test]
fn packets_bring_back_a_connection_that_nobody_saw_begin() {
    // Odd, and of this test alone: packet evidence cannot be limited to one namespace.
    const OWN: u16 = 29_917;
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let mut traced = Traced::start(&["--port", &OWN.to_string()]);
    assert_eq!(
        traced.start["packet_evidence"], "cgroup_skb",
        "{}",
        traced.start
    );
    let tracer = traced.child.id();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, OWN));
    let port = in_namespace(lab.network().host(Side::Client), || {
        let listener = TcpListener::bind(address).expect("a listener");
        let (mut client, mut broker) = connect(&listener, address);
        forget(tracer, &client);
        exchange(&mut client, &mut broker);
        abort(broker);
        client.read(&mut [0]).expect_err("a reset");
        client.local_addr().expect("an address").port()
    });
    let event = traced.next(|event| {
        event["type"] == "reset" && event["role"] == "client" && event["client"]["port"] == port
    });
    assert_eq!(event["cause"], "aborted", "{event}");
    assert!(event["reset"]["ttl"].is_u64(), "its packets count: {event}");
    assert_eq!(told_as_skipped(traced), 1);
}

#[test]
fn the_end_of_a_connection_that_nobody_saw_is_told() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let host = lab.network().host(Side::Client);
    let traced = Traced::start(&["--netns", host.name(), "--packet-evidence", "off"]);
    let (address, listener) = (broker_address(), listen(&lab));
    let (mut client, broker) = in_namespace(host, || connect(&listener, address));
    forget(traced.child.id(), &client);
    // The broker closes in order, then the client does.
    drop(broker);
    assert_eq!(client.read(&mut [0]).expect("an end"), 0);
    drop(client);
    assert_eq!(told_as_skipped(traced), 1);
}

/// A RST ended its connection while no tracer ran, and its process closes the file only later: that
/// close was reported, as the end of a connection in use.
#[test]
fn a_socket_that_ended_before_the_tracer_began_has_no_end_any_more() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let host = lab.network().host(Side::Client);
    let (address, listener) = (broker_address(), listen(&lab));
    let (client, broker) = in_namespace(host, || connect(&listener, address));
    let port = client.local_addr().expect("an address").port();
    abort(broker);
    // Not by reading, which takes the error off the socket.
    let until = Instant::now() + PATIENCE;
    while client.peer_addr().is_ok() {
        assert!(Instant::now() < until, "no RST came");
        thread::sleep(Duration::from_millis(1));
    }
    let mut traced = Traced::start(&["--netns", host.name()]);
    assert_eq!(traced.start["seeded"], 0, "{}", traced.start);
    drop(client);
    traced.signal(Signal::SIGINT);
    let said: Vec<_> = traced.lines.by_ref().collect();
    assert!(said.iter().any(|event| event["type"] == "summary"));
    let of_it = said.iter().find(|event| event["client"]["port"] == port);
    assert_eq!(of_it, None);
}
