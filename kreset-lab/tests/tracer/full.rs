//! More connections than are tracked: those that a limit turns away, and those that find no room
//! in the table that there is before Linux 5.11, where sockets hold no memory.

use std::{
    iter,
    net::{TcpListener, TcpStream},
    time::Instant,
};

use kreset::{
    cli::{self, Command},
    kernel::{
        apply::{Attached, KernelTypes},
        prepare,
    },
};
use kreset_common::tables;
use kreset_lab::{Lab, Side, Stop};
use nix::sys::{
    signal::Signal,
    socket::{setsockopt, sockopt::Linger},
};
use serde_json::Value;

use crate::traced::{PATIENCE, Traced, in_namespace, listen};

/// Connections of the client's host to the broker's, both ends.
fn connect(lab: &Lab, listener: &TcpListener, count: usize) -> Vec<(TcpStream, TcpStream)> {
    let broker = listener.local_addr().expect("an address");
    in_namespace(lab.network().host(Side::Client), || {
        iter::repeat_with(|| {
            let client = TcpStream::connect(broker).expect("a connection");
            (client, listener.accept().expect("the same").0)
        })
        .take(count)
        .collect()
    })
}

/// Before there was a limit, each connection took memory that was charged to the tracer: 40,000 of
/// them had it killed in a control group of 20 MB.
#[test]
fn connections_beyond_the_limit_are_counted_and_make_room_when_they_end() {
    const LIMIT: u32 = 64;
    const CONNECTIONS: u32 = 300;
    for side in [Side::Client, Side::Broker] {
        let lab = Lab::new(&Stop::default()).expect("a lab");
        let host = lab.network().host(side);
        let limit = LIMIT.to_string();
        let arguments = [
            "kreset-trace",
            "--netns",
            host.name(),
            "--max-connections",
            &limit,
        ];
        let Ok(Command::Run(options)) = cli::parse(arguments) else {
            panic!("these are options of a run");
        };
        let request = options.kernel_request().expect("a request");
        let plan = prepare::plan(&request).expect("a plan");
        let types = KernelTypes::load().expect("the kernel's types");
        let attached = Attached::new(&plan, &options.ports, &types).expect("it attaches");
        let untracked = || attached.untracked().expect("a count");

        let listener = listen(&lab);
        // A listener takes room as well.
        let listens = u64::from(side == Side::Broker);
        let open = connect(&lab, &listener, CONNECTIONS as usize);
        assert_eq!(untracked(), u64::from(CONNECTIONS - LIMIT) + listens);
        // Aborted, so that no end of them stays in the kernel.
        for (client, broker) in &open {
            let linger = nix::libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            setsockopt(client, Linger, &linger).expect("a socket");
            setsockopt(broker, Linger, &linger).expect("a socket");
        }
        drop(open);

        let before = untracked();
        let until = Instant::now() + PATIENCE;
        loop {
            // The kernel frees sockets after a grace period.
            let open = connect(&lab, &listener, LIMIT as usize / 2);
            if untracked() == before {
                drop(open);
                break;
            }
            assert!(Instant::now() < until, "the room does not come back");
            drop(open);
        }
    }
}

#[test]
fn what_is_not_tracked_is_reported_as_a_loss() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let client = lab.network().host(Side::Client);
    let mut traced = Traced::start(&["--netns", client.name(), "--max-connections", "10"]);
    let listener = listen(&lab);
    let open = connect(&lab, &listener, 30);
    let mut lost = 0;
    let mut count = |loss: &Value| {
        assert_eq!(loss["source"], "kernel_untracked", "{loss}");
        lost += loss["lost"].as_u64().expect("a count");
    };
    let first = traced.next(|event| event["type"] == "loss");
    count(&first);
    // Those that the first event does not have may wait for a minute, or for the end.
    traced.signal(Signal::SIGTERM);
    for event in traced.lines.by_ref().filter(|it| it["type"] == "loss") {
        count(&event);
    }
    assert_eq!(lost, 20);
    drop(open);
    drop(traced);
}

#[test]
fn connections_that_find_no_room_are_counted() {
    const ENTRIES: u32 = 64;
    const TOO_MANY: u32 = 200;
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let client = lab.network().host(Side::Client);
    let arguments = ["kreset-trace", "--netns", client.name()];
    let Ok(Command::Run(options)) = cli::parse(arguments) else {
        panic!("these are options of a run");
    };
    let request = options.kernel_request().expect("a request");
    let mut plan = prepare::plan(&request).expect("a plan");
    plan.settings.hash_storage = 1;
    plan.table = ENTRIES;
    let processors = aya::util::nr_cpus().expect("sysfs");
    let processors = u32::try_from(processors).expect("a few");
    let room = ENTRIES + tables::KEPT_BY_CPU * processors;
    let types = KernelTypes::load().expect("the kernel's types");
    let attached = Attached::new(&plan, &options.ports, &types).expect("it attaches");

    let listener = listen(&lab);
    let open = connect(&lab, &listener, (room + TOO_MANY) as usize);
    let untracked = attached.untracked().expect("a count");
    assert_eq!(untracked, u64::from(TOO_MANY));
    drop(open);
}
