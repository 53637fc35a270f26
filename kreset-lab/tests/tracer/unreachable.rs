//! A connection in use that a device on its way begins to refuse with ICMP.

use std::{io::Write as _, time::Duration};

use kreset_lab::{Lab, Side, Stop};
use socket2::SockRef;

use crate::{
    missed::{connect, exchange},
    traced::{Traced, broker_address, in_namespace, listen},
};

/// The kernel takes the message for a passing trouble, retransmits, and gives up with the
/// message's error, ECONNREFUSED, which a refused `connect` has as well.
#[test]
fn one_that_a_device_refuses_in_use_is_told_when_it_is_given_up() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let host = lab.network().host(Side::Client);
    let mut traced = Traced::start(&["--netns", host.name()]);
    let (address, listener) = (broker_address(), listen(&lab));
    let (mut client, mut broker) = in_namespace(host, || connect(&listener, address));
    exchange(&mut client, &mut broker);
    SockRef::from(&client)
        .set_tcp_user_timeout(Some(Duration::from_secs(1)))
        .expect("a limit");
    lab.middlebox().say_unreachable().expect("a rule");
    client.write_all(b"more").expect("room for it");
    let event = traced.next(|event| event["type"] == "timeout");
    assert_eq!(event["connection"]["state"], "ESTABLISHED", "{event}");
    let evidence = event["evidence"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|it| it["name"] == "timeout")
        .expect("what speaks for it");
    let value = evidence["value"].as_str().expect("a text");
    assert!(value.ends_with("port unreachable"), "{event}");
    assert_ne!(event["verdict"], "middlebox_idle_drop", "{event}");
}
