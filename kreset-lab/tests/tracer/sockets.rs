//! Clients that use another kind of socket than a plain TCP one, or other system calls on it.

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use io_uring::{IoUring, opcode, squeue, types::Fd};
use kreset_lab::{
    Lab, Side, Stop,
    net::message::{self, Request},
};
use serde_json::Value;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    missed::exchange,
    traced::{Traced, abort, broker_address, in_namespace},
};

fn socket(protocol: Protocol) -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, Some(protocol))
        .expect("this kernel has sockets of the kind (CONFIG_MPTCP)")
}

fn stream(socket: Socket) -> TcpStream {
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    TcpStream::from(OwnedFd::from(socket))
}

/// A listener on the broker's host.
fn listener(lab: &Lab, protocol: Protocol) -> Socket {
    in_namespace(lab.network().host(Side::Broker), || {
        let listener = socket(protocol);
        listener.bind(&broker_address().into()).expect("a bind");
        listener.listen(8).expect("a listener");
        listener
    })
}

/// What the tracer of the client's host says of the reset of `port`'s connection.
fn event_of(traced: &mut Traced, port: u16) -> Value {
    let event = traced.next(|event| event["type"] == "reset" && event["client"]["port"] == port);
    let own = i64::from(std::process::id());
    assert_eq!(event["process"]["pid"], own, "{event}");
    assert_eq!(event["role"], "client", "{event}");
    event
}

/// As of a client with a plain socket.
fn assert_aborted(event: &Value) {
    assert_eq!(event["verdict"], "broker_originated", "{event}");
    assert_eq!(event["cause"], "aborted", "{event}");
    assert!(event["confidence"].as_f64() > Some(0.7), "{event}");
    assert_eq!(event["connection"]["age_kind"], "exact", "{event}");
    // Its first request was read.
    assert_eq!(event["client"]["id"], "kreset-lab", "{event}");
}

fn traced(lab: &Lab) -> Traced {
    Traced::start(&["--netns", lab.network().host(Side::Client).name()])
}

/// How many connections of this namespace the other end has confirmed to be Multipath TCP.
fn confirmed() -> u32 {
    let text = fs::read_to_string("/proc/thread-self/net/netstat").expect("counters");
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("MPTcpExt: "));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let mut fields = names.split(' ').zip(values.split(' '));
    let found = fields.find(|(name, _)| *name == "MPCapableSYNACKRX");
    found.expect("a counter").1.parse().expect("a number")
}

/// A client that asks for Multipath TCP, of a broker that does or does not speak it.
fn multipath(is_multipath: bool) -> Value {
    let broker = if is_multipath {
        Protocol::MPTCP
    } else {
        Protocol::TCP
    };
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let mut traced = traced(&lab);
    let listener = listener(&lab, broker);
    let client = in_namespace(lab.network().host(Side::Client), || {
        let client = socket(Protocol::MPTCP);
        client
            .connect(&broker_address().into())
            .expect("a connection");
        client
    });
    let mut client = stream(client);
    let mut broker = stream(listener.accept().expect("the same").0);
    exchange(&mut client, &mut broker);
    assert_eq!(
        in_namespace(lab.network().host(Side::Client), confirmed),
        u32::from(is_multipath)
    );
    let port = client.local_addr().expect("an address").port();
    client
        .write_all(&message::request(Request::Metadata, 9))
        .expect("a request");
    abort(broker);
    event_of(&mut traced, port)
}

#[test]
fn a_multipath_client_of_a_broker_without_it_is_named() {
    assert_aborted(&multipath(false));
}

#[test]
fn a_multipath_connection_is_named() {
    assert_aborted(&multipath(true));
}

/// The calls of a client, which the kernel may make in threads of its own.
struct Ring {
    ring: IoUring,
    flags: squeue::Flags,
}

impl Ring {
    /// Does one thing to its end.
    fn run(&mut self, entry: squeue::Entry) -> usize {
        let entry = entry.flags(self.flags);
        // SAFETY: the callers keep what the entry points to until it is completed here.
        unsafe { self.ring.submission().push(&entry) }.expect("room for it");
        self.ring.submit_and_wait(1).expect("it is submitted");
        let done = self.ring.completion().next().expect("its completion");
        usize::try_from(done.result()).expect("it succeeds")
    }
}

/// A client that connects, writes and reads through `io_uring` alone.
fn by_ring(ring: IoUring, flags: squeue::Flags) -> Value {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let mut traced = traced(&lab);
    let listener = listener(&lab, Protocol::TCP);
    let client = in_namespace(lab.network().host(Side::Client), || socket(Protocol::TCP));
    let fd = Fd(client.as_raw_fd());
    let mut ring = Ring { ring, flags };
    let address = SockAddr::from(broker_address());
    ring.run(opcode::Connect::new(fd, address.as_ptr().cast(), address.len()).build());
    let mut broker = stream(listener.accept().expect("the same").0);
    let mut answer = [0; 4_096];
    for number in 1..5 {
        let request = message::request(Request::Metadata, number);
        let length = u32::try_from(request.len()).expect("a short one");
        let sent = ring.run(opcode::Send::new(fd, request.as_ptr(), length).build());
        assert_eq!(sent, request.len());
        message::serve(&mut broker).expect("an answer");
        let received = ring.run(opcode::Recv::new(fd, answer.as_mut_ptr(), 4_096).build());
        assert!(received > 0, "an answer");
    }
    let request = message::request(Request::Metadata, 9);
    let length = u32::try_from(request.len()).expect("a short one");
    ring.run(opcode::Send::new(fd, request.as_ptr(), length).build());
    abort(broker);
    let port = client.local_addr().expect("an address").as_socket();
    event_of(&mut traced, port.expect("of IPv4").port())
}

#[test]
fn an_io_uring_client_is_named() {
    for flags in [squeue::Flags::empty(), squeue::Flags::ASYNC] {
        let ring = IoUring::new(8).expect("this kernel allows io_uring");
        assert_aborted(&by_ring(ring, flags));
    }
}

/// The kernel's thread that polls the ring makes the calls.
#[test]
fn an_io_uring_client_whose_calls_a_kernel_thread_makes_is_named() {
    let ring = IoUring::builder().setup_sqpoll(100).build(8);
    let ring = ring.expect("this kernel allows io_uring");
    assert_aborted(&by_ring(ring, squeue::Flags::empty()));
}
