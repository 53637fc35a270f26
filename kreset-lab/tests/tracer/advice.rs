//! Advice with a command, followed by pasting what stands on the terminal.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use kreset_lab::{
    Lab, Side, Stop,
    device::Ttl,
    net::message::{self, Request},
};
use socket2::SockRef;

use crate::{
    missed::{connect, exchange},
    terminal::Screen,
    traced::{broker_address, in_namespace, listen},
};

/// What the device remembers, and a silence that is longer.
const TIMER: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_millis(4_500);

/// A connection in use whose broker has keepalives on, as all of Kafka's do.
fn in_use(lab: &Lab, listener: &TcpListener, address: SocketAddr) -> (TcpStream, TcpStream) {
    let client = lab.network().host(Side::Client);
    let (mut client, mut broker) = in_namespace(client, || connect(listener, address));
    SockRef::from(&broker)
        .set_keepalive(true)
        .expect("keepalives");
    exchange(&mut client, &mut broker);
    (client, broker)
}

/// Whether a request is answered after the silence.
fn survives(lab: &Lab, (mut client, mut broker): (TcpStream, TcpStream)) -> bool {
    lab.silence(SILENCE).expect("no signal");
    let request = message::request(Request::Metadata, 9);
    client.write_all(&request).is_ok()
        && message::serve(&mut broker).is_ok()
        && message::receive(&mut client).is_ok()
}

/// The width of a terminal over SSH: the command has to fit in there in one piece.
#[test]
fn the_line_for_the_brokers_host_keeps_silent_connections_alive() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    lab.middlebox()
        .reset_on_send(TIMER, Ttl::Own)
        .expect("a device");
    let [client, host] = [Side::Client, Side::Broker].map(|side| lab.network().host(side));
    let (address, listener) = (broker_address(), listen(&lab));
    let mut screen = Screen::start(80, &format!("--netns {}", client.name()));
    screen.wait_for("watching");
    assert!(
        !survives(&lab, in_use(&lab, &listener, address)),
        "no device is there"
    );
    screen.wait_for("sudo sysctl -w ");
    let lines = screen.end();
    let command = lines
        .iter()
        .find(|line| line.trim_start().starts_with("sudo "))
        .expect("a line of its own");

    let pasted = in_namespace(host, || {
        // Root needs no sudo, and may have none.
        let line = format!("command -v sudo > /dev/null || sudo() {{ \"$@\"; }}\n{command}");
        Command::new("sh").args(["-ec", &line]).output()
    });
    let pasted = pasted.expect("a shell");
    let said = String::from_utf8_lossy(&pasted.stderr);
    assert!(pasted.status.success(), "{command}: {said}");
    assert!(
        survives(&lab, in_use(&lab, &listener, address)),
        "{command}: the device forgot it all the same"
    );
}
