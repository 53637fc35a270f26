//! Both ends of a connection on the host of one tracer: on loopback, and in two network
//! namespaces.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
};

use kreset_lab::{
    Lab, PORT, Side, Stop,
    net::{
        self, Namespace,
        message::{self, Request},
    },
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    missed::{connect, exchange},
    traced::{Traced, in_namespace},
};

/// A broker that closes a connection in use with a request unread; returns the client's port.
fn abort(broker: &Namespace, client: &Namespace, address: SocketAddr) -> u16 {
    let listener = in_namespace(broker, || TcpListener::bind(address).expect("a listener"));
    let (mut client, mut broker) = in_namespace(client, || connect(&listener, address));
    exchange(&mut client, &mut broker);
    let request = message::request(Request::Metadata, 5);
    client.write_all(&request).expect("room for it");
    broker.peek(&mut [0]).expect("it came");
    let port = client.local_addr().expect("an address").port();
    drop(broker);
    let ended = client.read(&mut [0]);
    assert!(ended.is_err(), "{ended:?}");
    port
}

/// All events of the connection of a client's port, until the run ends.
fn events_of(mut traced: Traced, port: u16) -> Vec<Value> {
    let first = traced.next(|event| event["client"]["port"] == port);
    traced.signal(Signal::SIGINT);
    let rest = traced
        .lines
        .by_ref()
        .filter(|event| event["client"]["port"] == port);
    std::iter::once(first).chain(rest).collect()
}

fn is_one_event_of_both(events: &[Value]) {
    assert_eq!(events.len(), 1, "{events:#?}");
    let event = &events[0];
    let other = &event["other_end"];
    assert_eq!(event["verdict"], "broker_originated", "{event}");
    assert_eq!(event["cause"], "aborted", "{event}");
    assert!(event["confidence"].as_f64() > Some(0.9), "{event}");
    assert_eq!(event["sent_by"], "broker", "{event}");
    assert_eq!(event["role"], "client", "{event}");
    assert_eq!(event["direction"], "received", "{event}");
    assert_eq!(other["role"], "broker", "{event}");
    assert_eq!(other["direction"], "sent", "{event}");
    // Before 6.10 the kernel gives no reason.
    assert_eq!(
        other["kernel_reason"], event["reset"]["kernel_reason"],
        "{event}"
    );
    assert_eq!(other["process"]["pid"], std::process::id(), "{event}");
    assert_eq!(event["process"]["pid"], std::process::id(), "{event}");
}

#[test]
fn a_connection_on_loopback_ends_in_one_event() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let host = lab.network().host(Side::Broker);
    let traced = Traced::start(&["--netns", host.name()]);
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT);
    let port = abort(host, host, address);
    is_one_event_of_both(&events_of(traced, port));
}

#[test]
fn a_connection_between_two_namespaces_of_one_host_ends_in_one_event() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let [broker, client] = [Side::Broker, Side::Client].map(|side| lab.network().host(side));
    // Of all namespaces; other tests have labs with the same addresses.
    let traced = Traced::start(&[]);
    let port = abort(
        broker,
        client,
        SocketAddr::new(net::address(Side::Broker, false), PORT),
    );
    let events = events_of(traced, port);
    is_one_event_of_both(&events);
    let netns = |of: &Value| of["process"]["netns"].as_u64();
    let event = &events[0];
    assert_ne!(netns(event), netns(&event["other_end"]), "{event}");
}

/// Nothing listens: no socket of the broker's sent it, and yet both ends are here.
#[test]
fn a_refused_attempt_on_loopback_is_one_event() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let host = lab.network().host(Side::Broker);
    let mut traced = Traced::start(&["--netns", host.name()]);
    let has_reason = traced.start["degraded"]
        .as_array()
        .is_some_and(|it| it.iter().all(|it| it["feature"] != "socketless"));
    in_namespace(host, || {
        let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT));
        assert!(refused.is_err(), "connected to a port without a listener");
    });
    let event = traced.next(|event| event["type"] == "reset");
    traced.signal(Signal::SIGINT);
    let others = traced
        .lines
        .by_ref()
        .filter(|event| event["type"] == "reset");
    assert_eq!(others.count(), 0);
    assert_eq!(event["cause"], "refused", "{event}");
    assert_eq!(event["other_end"].is_object(), has_reason, "{event}");
}
