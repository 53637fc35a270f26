//! A table of connections that is full, as before Linux 5.11, where sockets hold no memory.

use std::{
    iter,
    net::{SocketAddr, TcpListener, TcpStream},
};

use kreset::{
    cli::{self, Command},
    kernel::{
        apply::{Attached, KernelTypes},
        prepare,
    },
};
use kreset_lab::{Lab, Side, Stop, net};

use crate::traced::in_namespace;

#[test]
fn connections_that_find_no_room_are_counted() {
    const ENTRIES: u32 = 64;
    const CONNECTIONS: u32 = 300;
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
    let types = KernelTypes::load().expect("the kernel's types");
    let attached = Attached::new(&plan, &options.ports, &types).expect("it attaches");

    let broker = SocketAddr::new(net::address(Side::Broker, false), kreset_lab::PORT);
    let listener = in_namespace(lab.network().host(Side::Broker), || {
        TcpListener::bind(broker).expect("a listener")
    });
    let open: Vec<_> = in_namespace(client, || {
        iter::repeat_with(|| {
            let client = TcpStream::connect(broker).expect("a connection");
            (client, listener.accept().expect("the same"))
        })
        .take(CONNECTIONS as usize)
        .collect()
    });
    let untracked = attached.untracked().expect("a count");
    assert_eq!(untracked, u64::from(CONNECTIONS - ENTRIES));
    drop(open);
}
