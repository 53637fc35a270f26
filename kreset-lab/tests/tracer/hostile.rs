//! What any local user can do to a tracer: send packets of any shape, give things names of any bytes,
//! and kill it.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
};

use kreset_lab::{
    Conversation, Family, Lab, Side, Stop,
    net::{self, forge::Segment, message::Request},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    control_group::ControlGroup,
    forge::{ACK, Ends, FIN, RST, SYN, URG},
    traced::{PATIENCE, Traced, in_namespace, refused, tracer},
};

const PORT: u16 = kreset_lab::PORT;
/// TTL of forged packets, which no other packet has.
const FORGED_TTL: u8 = 7;

fn lab() -> Lab {
    Lab::new(&Stop::default()).expect("a lab")
}

/// Sequence and acknowledgement number of the broker's next segment.
fn numbers(lab: &Lab, port: u16) -> (u32, u32) {
    let mut last = None;
    // What was on the wire may not have been looked at yet.
    wait_until("the broker's answers are seen", || {
        let said = lab.wire().of_connection(port);
        let mut answers = said
            .iter()
            .filter(|seen| seen.carries_data_from(Side::Broker));
        last = answers.next_back().map(|seen| seen.segment);
        // `converse` exchanges two requests and their answers.
        said.iter()
            .filter(|seen| seen.carries_data_from(Side::Broker))
            .count()
            >= 2
    });
    let last = last.expect("an answer");
    (last.next_sequence(), last.acknowledgement)
}

/// Segments that a host of the client's peer may send and that end nothing: none of them is
/// both well-formed and acceptable.
fn shapes(sequence: u32, acknowledgement: u32) -> Vec<Segment> {
    let flags = [
        0,
        RST,
        RST | ACK,
        FIN | ACK,
        SYN,
        SYN | ACK,
        ACK,
        URG | ACK,
        0xff,
    ];
    let options: [&[u8]; 6] = [
        &[],
        // Timestamps of another clock.
        &[1, 1, 8, 10, 255, 255, 255, 255, 0, 0, 0, 1],
        // Of no length, and longer than the header.
        &[8, 0, 0, 0],
        &[8, 255, 0, 0],
        // A selective acknowledgement of everything.
        &[5, 10, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0],
        &[0xfd; 40],
    ];
    // Far out of the window; none is the one number at which a RST counts.
    let sequences = [
        sequence.wrapping_sub(1 << 30),
        sequence.wrapping_add(1 << 30),
    ];
    let offsets = [None, Some(0), Some(4), Some(15)];
    let mut all = Vec::new();
    for flags in flags {
        for options in options {
            for sequence in sequences {
                for offset in offsets {
                    for payload in [0, 1, 9, 600] {
                        all.push(Segment {
                            sequence,
                            acknowledgement,
                            flags,
                            offset,
                            options: options.to_vec(),
                            payload: vec![0x16; payload],
                            corrupt: false,
                        });
                    }
                }
            }
        }
    }
    all
}

/// RSTs inside the window, but not at the one number: the kernel asks the peer instead (RFC 5961).
fn blind_resets(sequence: u32, acknowledgement: u32) -> Vec<Segment> {
    (1..400)
        .map(|ahead| Segment {
            sequence: sequence.wrapping_add(ahead),
            acknowledgement,
            flags: if ahead % 2 == 0 { RST } else { RST | ACK },
            payload: b"go away".repeat((ahead % 3) as usize),
            ..Segment::default()
        })
        .collect()
}

/// Sends the client everything, in the name of the broker and from its host.
fn besiege(lab: &Lab, family: Family, port: u16, segments: &[Segment]) {
    let ends = Ends {
        from: SocketAddr::new(family.address(Side::Broker), PORT),
        to: SocketAddr::new(family.address(Side::Client), port),
        ttl: FORGED_TTL,
    };
    let packets: Vec<_> = segments
        .iter()
        .zip(1..)
        .flat_map(|(segment, number)| ends.packets(segment, number))
        .collect();
    let host = lab.network().host(Side::Broker);
    let sent = in_namespace(host, || ends.send(&packets)).expect("a raw socket");
    assert!(
        sent * 2 > packets.len(),
        "{sent} of {} are out",
        packets.len()
    );
}

fn is_of(port: u16) -> impl Fn(&Value) -> bool {
    move |event| event["client"]["port"] == port
}

fn besieged(family: Family) {
    let lab = lab();
    let client = lab.network().host(Side::Client).name().to_owned();
    let mut traced = Traced::start(&["--netns", &client]);
    let listener = lab.listen(family).expect("a listener");
    let mut conversation = lab.converse(&listener, family).expect("a connection");
    let port = conversation.port().expect("a port");
    let (sequence, acknowledgement) = numbers(&lab, port);
    besiege(&lab, family, port, &shapes(sequence, acknowledgement));
    besiege(&lab, family, port, &blind_resets(sequence, acknowledgement));
    conversation
        .exchange(Request::Metadata)
        .expect("it still works");

    let Conversation { client, broker } = conversation;
    broker.abort().expect("an abort");
    client.wait_for_reset().expect("a reset");
    let event = traced.next(|event| event["type"] != "loss");
    assert!(is_of(port)(&event), "{event}");
    assert_eq!(event["type"], "reset", "{event}");
    assert_eq!(event["verdict"], "broker_originated", "{event}");
    assert_eq!(event["cause"], "aborted", "{event}");
    // Of the accepted RST, not of those before it.
    assert_eq!(event["reset"]["flags"], "RA", "{event}");
    assert_eq!(event["reset"]["ttl"], 63, "{event}");
    assert_eq!(event["reset"]["handshake_ttl"], 63, "{event}");
}

#[test]
fn packets_of_any_shape_change_no_verdict_over_ipv4() {
    besieged(Family::Ipv4);
}

#[test]
fn packets_of_any_shape_change_no_verdict_over_ipv6() {
    besieged(Family::Ipv6);
}

/// Data for a socket that its program closed makes the kernel reset it although no RST came
/// (`tcp_rcv_state_process`). One that came earlier and was not accepted does not make it one.
#[test]
fn a_refused_rst_is_not_taken_for_one_that_came() {
    let lab = lab();
    let host = lab.network().host(Side::Client);
    // For longer than TIME_WAIT: the socket itself waits in FIN_WAIT2, rather
    // than what is left of it (`tcp_rcv_state_process`).
    host.sysctl(&[("ipv4/tcp_fin_timeout", "120")])
        .expect("a sysctl");
    let mut traced = Traced::start(&["--netns", host.name()]);
    let listener = lab.listen(Family::Ipv4).expect("a listener");
    let conversation = lab.converse(&listener, Family::Ipv4).expect("a connection");
    let port = conversation.port().expect("a port");
    let (sequence, acknowledgement) = numbers(&lab, port);
    besiege(
        &lab,
        Family::Ipv4,
        port,
        &blind_resets(sequence, acknowledgement),
    );

    let Conversation { client, mut broker } = conversation;
    drop(client);
    broker.wait_for_end().expect("the client's FIN");
    broker.send(b"too late").expect("data");
    broker.wait_for_reset().expect("a reset");
    // The client's host sent that RST, and received none.
    let event = traced.next(is_of(port));
    assert_eq!(event["direction"], "sent", "{event}");
    traced.signal(Signal::SIGTERM);
    let last = traced.next(|event| is_of(port)(event) || event["type"] == "summary");
    assert_eq!(last["type"], "summary", "{last}");
}

/// Control characters, one that ends a colour, bytes that are no text, and quotes.
const EVIL: &str = "\u{1b}[31m\t\r\"\\\u{7f}x";

#[test]
fn names_of_any_bytes_come_out_as_json_and_as_plain_text() {
    let lab = lab();
    let client = lab.network().host(Side::Client).name().to_owned();
    let group = ControlGroup::new("kreset\u{1b}]0;evil\u{7}");
    let mut traced = Traced::start(&["--netns", &client]);
    let directory = tempfile::tempdir().expect("a directory");
    let text = directory.path().join("names.txt");
    let mut people = Command::new(tracer());
    people
        .args([
            "--format",
            "text",
            "-v",
            "--all",
            "--count",
            "1",
            "--duration",
            "1m",
        ])
        .args(["--netns", &client, "--output"])
        .arg(&text);
    let mut people = people.spawn().expect("the tracer starts");
    wait_until("it is attached", || {
        fs::metadata(&text).is_ok_and(|it| it.size() > 0)
    });

    // The name is that of who calls connect(): the shell itself.
    let script = format!(
        "echo $$ > \"$GROUP/cgroup.procs\"; printf '%s' \"$NAME\" > /proc/self/comm; \
         exec 3<>/dev/tcp/{}/{PORT}",
        net::address(Side::Broker, false)
    );
    let refused = in_namespace(lab.network().host(Side::Client), || {
        Command::new("bash")
            .args(["-c", &script])
            .env("GROUP", group.path())
            .env("NAME", EVIL)
            .stderr(Stdio::null())
            .status()
    });
    assert!(
        !refused.expect("a shell").success(),
        "connected to a port without a listener"
    );

    let event = traced.next(|event| event["type"] == "reset");
    assert_eq!(event["cause"], "refused", "{event}");
    assert_eq!(event["process"]["name"], EVIL, "{event}");
    let cgroup = event["process"]["cgroup"].as_str().expect("a path");
    assert!(cgroup.contains("kreset\u{1b}]0;evil\u{7}"), "{event}");

    assert!(people.wait().expect("it ends").success());
    let said = fs::read_to_string(&text).expect("text");
    assert!(said.contains("refused"), "{said:?}");
    let plain = said.chars().all(|it| it == '\n' || !it.is_control());
    assert!(plain, "{said:?}");
}

/// Killed at any moment, it leaves whole lines, and the next one goes on behind them.
#[test]
fn killed_again_and_again_its_file_holds_whole_lines() {
    const KILLS: usize = 8;
    let lab = lab();
    let client = lab.network().host(Side::Client).name().to_owned();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("kill.json");
    let start = || {
        Command::new(tracer())
            .args([
                "--format",
                "json",
                "--all",
                "--duration",
                "2m",
                "--netns",
                &client,
            ])
            .arg("--output")
            .arg(&file)
            .spawn()
            .expect("the tracer starts")
    };
    let size = || fs::metadata(&file).map_or(0, |it| it.size());
    for round in 0..KILLS {
        let before = size();
        let mut child = start();
        // Each time somewhere else in what it writes.
        let enough = before + 700 * (1 + round as u64 * 9);
        wait_until("it writes", || {
            refused(&lab, 20);
            size() >= enough
        });
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }
    let mut last = start();
    let before = size();
    wait_until("the last one is attached", || size() > before);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(last.id()).expect("a pid")),
        Signal::SIGTERM,
    )
    .expect("it runs");
    assert!(last.wait().expect("it ends").success());

    let said = fs::read_to_string(&file).expect("text");
    assert!(said.ends_with('\n'));
    let (mut starts, mut resets, mut torn) = (0, 0, 0);
    for line in said.lines() {
        match serde_json::from_str::<Value>(line) {
            Ok(event) if event["type"] == "start" => starts += 1,
            Ok(event) if event["type"] == "reset" => resets += 1,
            Ok(_) => {}
            // The kernel may stop a write at the end of a page. The next start ends that line.
            Err(_) => torn += 1,
        }
    }
    assert_eq!(starts, KILLS + 1);
    assert!(resets > KILLS, "{resets} resets");
    assert!(torn <= KILLS, "{torn} lines are torn");
    assert_eq!(
        said.lines()
            .last()
            .map(|line| line.contains("\"end\":true")),
        Some(true)
    );
}

fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    let waited = Stop::default().until_holds(what, PATIENCE, holds);
    waited.expect("in time");
}
