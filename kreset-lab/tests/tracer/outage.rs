//! Three brokers stopped under forty clients, as an operator sees it on a terminal.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use kreset_lab::{
    Lab, PORT, Side, Stop,
    net::{
        endpoint::Family,
        message::{self, Request},
    },
};

use crate::{terminal::Screen, traced::in_namespace};

const CLIENTS: usize = 40;
const BROKERS: [Ipv4Addr; 3] = [
    Ipv4Addr::new(10, 77, 2, 2),
    Ipv4Addr::new(10, 77, 2, 3),
    Ipv4Addr::new(10, 77, 2, 4),
];
/// Attempts of a client to come back to each broker, and the pause between them.
const ATTEMPTS: u32 = 20;
const BACKOFF: Duration = Duration::from_millis(100);
/// Lines that may be on the terminal in the end.
const LINES: usize = 45;

/// Blocks of lines: what is indented belongs to the line before.
fn blocks(lines: &[String]) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in lines {
        match blocks.last_mut().filter(|_| line.starts_with(' ')) {
            Some(block) => *block = format!("{block} {}", line.trim()),
            None => blocks.push(line.clone()),
        }
    }
    blocks
}

/// A client of all brokers: when they are there it is in use, and then it comes back to each
/// again and again.
fn client(are_connected: &Barrier, have_stopped: &AtomicBool) {
    let brokers = BROKERS.map(|address| SocketAddr::new(address.into(), PORT));
    let mut streams = brokers.map(|address| {
        let mut stream = TcpStream::connect(address).expect("a broker");
        for (request, number) in [(Request::ApiVersions, 1), (Request::Metadata, 2)] {
            let request = message::request(request, number);
            stream.write_all(&request).expect("a request");
            message::receive(&mut stream).expect("an answer");
        }
        stream
    });
    are_connected.wait();
    for (stream, broker) in streams.iter_mut().zip(brokers) {
        // In use until it ends.
        let mut number = 3;
        loop {
            let request = message::request(Request::Metadata, number);
            let answered = stream.write_all(&request).is_ok() && message::receive(stream).is_ok();
            if !answered {
                break;
            }
            number += 1;
            thread::sleep(Duration::from_millis(20));
        }
        let mut refused = 0;
        while refused < ATTEMPTS {
            thread::sleep(BACKOFF);
            // A broker that ends closes one socket after the other.
            refused += u32::from(TcpStream::connect(broker).is_err());
        }
    }
    assert!(have_stopped.load(Relaxed), "they ended by themselves");
}

#[test]
fn three_stopped_brokers_fit_a_screen() {
    let own = Path::new(env!("CARGO_BIN_EXE_kreset-lab"));
    let lab = Lab::new(&Stop::default())
        .expect("a lab")
        .with_own_binary(own);
    for address in &BROKERS[1..] {
        let added = lab.network().add_broker_address(*address);
        added.expect("another address");
    }
    let start = |address: &Ipv4Addr| {
        lab.start_broker_at(Family::Ipv4, u32::MAX, Some(IpAddr::V4(*address)))
            .expect("a broker")
    };
    let mut brokers: Vec<_> = BROKERS.iter().map(start).collect();
    let host = lab.network().host(Side::Client);
    let mut screen = Screen::start(80, &format!("--netns {}", host.name()));
    screen.wait_for("watching");
    let are_connected = Barrier::new(CLIENTS + 1);
    let have_stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| in_namespace(host, || client(&are_connected, &have_stopped)));
        }
        are_connected.wait();
        have_stopped.store(true, Relaxed);
        for broker in &mut brokers {
            broker.kill().expect("it ends");
        }
    });
    let lines = screen.end();
    assert!(lines.len() <= LINES, "{}: {lines:#?}", lines.len());
    let blocks = blocks(&lines);
    for address in BROKERS {
        let about = |deed: &str| {
            let named = format!("-> broker {address}:{PORT}");
            let of_both = |block: &&String| block.contains(deed) && block.contains(&named);
            blocks.iter().filter(of_both).count()
        };
        let ended = "BROKER shut down or restarted";
        assert_eq!(about(ended), 1, "{ended} of {address}: {lines:#?}");
        // Refusals are of the incident, which counts them when it is over.
        let refusals = CLIENTS * ATTEMPTS as usize;
        for said in ["INCIDENT begins", "INCIDENT so far"] {
            let is_told = blocks.iter().any(|block| {
                block.contains(&format!("{said}: {ended}, broker {address}:{PORT}"))
                    && (said == "INCIDENT begins"
                        || block.contains(&format!("and {refusals} refusals")))
            });
            assert!(is_told, "{said} of {address}: {lines:#?}");
        }
    }
    // Each whole count is there, and nothing else.
    let counted = |text: &str| blocks.iter().any(|block| block.contains(text));
    let (reset, refused) = (CLIENTS * BROKERS.len(), ATTEMPTS as usize);
    assert!(
        counted(&format!("{reset} broker_originated/shutdown")),
        "{lines:#?}"
    );
    let refused = CLIENTS * BROKERS.len() * refused;
    assert!(
        counted(&format!("{refused} handshake_phase/refused")),
        "{lines:#?}"
    );
}
