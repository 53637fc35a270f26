//! A silent connection among very many that are busy: their packets are let pass, its are not.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use kreset_lab::{
    Lab, PORT, Side, Stop,
    device::Ttl,
    net::{
        self,
        holder::{Holder, Task},
        message::{self, Request},
    },
};
use nix::sys::signal::Signal;

use crate::{
    missed::{connect, exchange},
    traced::{PATIENCE, Traced, broker_address, in_namespace, listen},
};

/// Busy connections of each process, and the processes.
const EACH: u32 = 5_000;
const PROCESSES: u16 = 2;
/// What the device remembers: longer than a round through all connections takes on a slow
/// machine; and a silence that is longer.
const TIMER: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(12);
/// After so many exchanges a connection is settled.
const SETTLED: u64 = 35;

#[test]
fn one_silent_connection_among_ten_thousand_busy_ones_is_the_only_event() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    lab.middlebox()
        .reset_on_send(TIMER, Ttl::Own)
        .expect("a device");
    let [client_host, broker_host] =
        [Side::Client, Side::Broker].map(|side| lab.network().host(side));
    let mut traced = Traced::start(&["--netns", client_host.name(), "--port", "9092-9094"]);
    let own = Path::new(env!("CARGO_BIN_EXE_kreset-lab"));
    let mut busy: Vec<Holder> = (1..=PROCESSES)
        .map(|number| {
            let task = Task {
                broker: SocketAddr::new(net::address(Side::Broker, false), PORT + number),
                count: EACH,
                clients: Some(client_host.path()),
                busy: true,
            };
            broker_host
                .enter(|| Holder::start(own, &task))
                .expect("busy connections")
        })
        .collect();
    let (address, listener) = (broker_address(), listen(&lab));
    let (mut client, mut broker) = in_namespace(client_host, || connect(&listener, address));
    let port = client.local_addr().expect("bound").port();
    let began = Instant::now();
    let rounds = |busy: &mut [Holder]| {
        let rounds = busy.iter_mut().map(|it| it.rounds().expect("they go on"));
        rounds.min().expect("there are some")
    };
    while rounds(&mut busy) < SETTLED {
        assert!(began.elapsed() < PATIENCE, "{} rounds", rounds(&mut busy));
        // Settled as they are, and alive for the device.
        exchange(&mut client, &mut broker);
        thread::sleep(Duration::from_millis(100));
    }
    let before = rounds(&mut busy);
    lab.silence(SILENCE).expect("no signal");
    let meanwhile = rounds(&mut busy) - before;
    assert!(meanwhile > 0, "nothing was busy meanwhile");
    client
        .write_all(&message::request(Request::Metadata, 9))
        .expect("the kernel takes it");
    let error = client.read(&mut [0]).expect_err("the device forgot it");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    let event = traced.next(|event| event["type"] == "reset");
    assert_eq!(event["client"]["port"], port, "{event}");
    assert_eq!(event["verdict"], "middlebox_idle_reset", "{event}");
    let idle = event["connection"]["idle_ms"].as_f64().expect("measured");
    // What the socket counts in ticks may be one short.
    let least = SILENCE.saturating_sub(Duration::from_millis(50));
    assert!(idle >= least.as_secs_f64() * 1e3, "{event}");
    // What still goes on is no event.
    traced.signal(Signal::SIGINT);
    let mut further = Vec::new();
    let summary = loop {
        let line = traced.lines.next().expect("a summary");
        if line["type"] == "summary" {
            break line;
        }
        further.push(line["summary"].clone());
    };
    drop(busy);
    assert!(
        further.is_empty(),
        "{} more: {:?}",
        further.len(),
        further.first()
    );
    assert_eq!(summary["lost"], 0, "{summary}");
    assert_eq!(summary["coverage"]["kernel_untracked"], 0, "{summary}");
}
