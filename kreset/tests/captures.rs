//! Captures of the lab's scenarios, as they are and as captures come: what `read` says is
//! what a tracer on that host said.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod replay;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use kreset::{
    capture::viewpoint::Ends,
    delivery::{Delivery, Observer, Sink, SinkError, Status},
    event::{Event, Finding, Source, filter::SinkFilter},
    run::{options::Options, read},
};

/// What the tracers on these hosts know and a capture does not show: that the RST came
/// with the end of a process.
const ONLY_A_KERNEL_KNOWS: [&str; 1] = ["broker_killed_busy.broker"];

#[derive(Default)]
struct Kept(Mutex<Vec<Event>>);

struct Keeper(Arc<Kept>);

impl Observer for Keeper {
    fn start(&mut self, _sinks: Vec<(String, Arc<Status>)>) -> Result<(), SinkError> {
        Ok(())
    }

    fn observe(&self, event: &Event) {
        self.0.0.lock().unwrap().push(event.clone());
    }
}

fn options(broker_max_idle: Duration) -> Options {
    Options::of_files("9092".parse().unwrap(), broker_max_idle)
}

/// With the default of brokers.
fn usual() -> Options {
    options(Duration::from_mins(10))
}

fn read(files: &[PathBuf], options: &Options, seen_from: Option<Ends>) -> Vec<Event> {
    let kept = Arc::new(Kept::default());
    let mut delivery = Delivery::default();
    let sink = Sink::Observer(Box::new(Keeper(Arc::clone(&kept))));
    delivery.start("kept", SinkFilter::default(), sink).unwrap();
    drop(read::judge(options, files, seen_from, delivery).unwrap());
    std::mem::take(&mut *kept.0.lock().unwrap())
}

fn findings(events: &[Event]) -> Vec<Finding> {
    events.iter().filter_map(Event::finding).cloned().collect()
}

fn captured(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/captured")
        .join(format!("{name}.pcap"))
}

fn names() -> Vec<String> {
    let directory = captured("x");
    let mut names: Vec<String> = fs::read_dir(directory.parent().unwrap())
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            path.file_stem().unwrap().to_string_lossy().into_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_capture_gives_the_verdicts_of_the_tracer_on_its_host() {
    let names = names();
    assert!(names.len() > 40, "{}", names.len());
    for name in &names {
        let max_idle = if name.starts_with("broker_idle_close") {
            Duration::from_secs(3)
        } else {
            Duration::from_mins(10)
        };
        let events = read(&[captured(name)], &options(max_idle), None);
        let read = findings(&events);
        assert!(read.iter().all(|it| it.source == Source::Capture), "{name}");
        for (facts, judgement) in replay::replay(name) {
            let same = |it: &&Finding| {
                (it.verdict, it.cause) == (judgement.verdict, judgement.cause)
                    && (it.confidence - judgement.confidence).abs() <= 0.1
            };
            if ONLY_A_KERNEL_KNOWS.contains(&name.as_str()) && facts.by_exit {
                continue;
            }
            assert!(
                read.iter().any(|it| same(&it)),
                "{name}: {:?} {:?} {}, read {:?}",
                judgement.verdict,
                judgement.cause,
                judgement.confidence,
                read.iter()
                    .map(|it| (it.verdict, it.cause, it.confidence))
                    .collect::<Vec<_>>()
            );
        }
    }
}

/// One packet of a capture.
#[derive(Clone)]
struct Packet {
    at_ns: u64,
    bytes: Vec<u8>,
    length: u32,
}

const SECOND: u64 = 1_000_000_000;

fn packets(name: &str) -> Vec<Packet> {
    let file = fs::read(captured(name)).unwrap();
    let mut rest = &file[24..];
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let number = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let kept = number(8) as usize;
        packets.push(Packet {
            at_ns: u64::from(number(0)) * SECOND + u64::from(number(4)),
            bytes: rest[16..16 + kept].to_vec(),
            length: number(12),
        });
        rest = &rest[16 + kept..];
    }
    packets
}

/// A file of packets that begin with `head`.
fn pcap(packets: &[Packet], link: u32, head: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_3c4d_u32.to_le_bytes());
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(65_535_u32.to_le_bytes());
    file.extend(link.to_le_bytes());
    for packet in packets {
        let whole = [head, &packet.bytes].concat();
        let length = packet.length + u32::try_from(head.len()).unwrap();
        for number in [
            u32::try_from(packet.at_ns / SECOND).unwrap(),
            u32::try_from(packet.at_ns % SECOND).unwrap(),
            u32::try_from(whole.len()).unwrap(),
            length,
        ] {
            file.extend(number.to_le_bytes());
        }
        file.extend(whole);
    }
    file
}

const RAW: u32 = 101;

/// The events of a capture with these bytes.
fn events_of(bytes: &[u8], seen_from: Option<Ends>) -> Vec<Event> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pcap");
    fs::write(&path, bytes).unwrap();
    read(&[path], &usual(), seen_from)
}

/// What matters of the findings of a file.
fn said(bytes: &[u8]) -> Vec<(String, Option<f64>)> {
    findings(&events_of(bytes, None))
        .iter()
        .map(|it| {
            let cause = it.cause.map_or("-", |cause| cause.as_str());
            (format!("{}/{cause}", it.verdict), it.connection.idle_ms)
        })
        .collect()
}

fn said_of(packets: &[Packet]) -> Vec<(String, Option<f64>)> {
    said(&pcap(packets, RAW, &[]))
}

const ON_SEND: &str = "idle_reset_on_send.ipv4.client";

fn on_send() -> Vec<(String, Option<f64>)> {
    let said = said_of(&packets(ON_SEND));
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].0, "middlebox_idle_reset/reset_on_send");
    assert!(said[0].1 > Some(3_000.0), "{said:?}");
    said
}

#[test]
fn the_link_layer_does_not_matter() {
    let expected = on_send();
    let packets = packets(ON_SEND);
    let addresses = [2_u8; 12];
    let ethernet = [&addresses[..], &[0x08, 0x00]].concat();
    let vlan = [&addresses[..], &[0x81, 0x00, 0, 7, 0x08, 0x00]].concat();
    let nested = [
        &addresses[..],
        &[0x88, 0xa8, 0, 9, 0x81, 0x00, 0, 7, 0x08, 0x00],
    ]
    .concat();
    let cooked = [&[0, 0, 0, 1, 0, 6][..], &[2; 6], &[0, 0, 0x08, 0x00]].concat();
    let cooked_2 = [
        &[0x08, 0x00, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6][..],
        &[2; 6],
        &[0, 0],
    ]
    .concat();
    for (link, head) in [
        (1, ethernet),
        (1, vlan),
        (1, nested),
        (113, cooked),
        (276, cooked_2),
        (0, vec![2, 0, 0, 0]),
        (108, vec![0, 0, 0, 2]),
        (12, vec![]),
        (228, vec![]),
    ] {
        assert_eq!(said(&pcap(&packets, link, &head)), expected, "link {link}");
    }
}

#[test]
fn compressed_files_are_read() {
    let expected = on_send();
    let plain = pcap(&packets(ON_SEND), RAW, &[]);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&plain).unwrap();
    assert_eq!(said(&gzip.finish().unwrap()), expected);
    let zstd = ruzstd::encoding::compress_to_vec(
        plain.as_slice(),
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    assert_eq!(said(&zstd), expected);
}

#[test]
fn packets_captured_twice_count_once() {
    let expected = on_send();
    let twice: Vec<Packet> = packets(ON_SEND)
        .into_iter()
        .flat_map(|packet| {
            let again = Packet {
                at_ns: packet.at_ns + 3_000,
                ..packet.clone()
            };
            [packet, again]
        })
        .collect();
    assert_eq!(said_of(&twice), expected);
}

#[test]
fn headers_are_enough() {
    let expected = on_send();
    let mut cut = packets(ON_SEND);
    for packet in &mut cut {
        packet.bytes.truncate(54);
    }
    assert_eq!(said_of(&cut), expected);
}

#[test]
fn a_cut_file_is_read_up_to_there() {
    let expected = on_send();
    let mut file = pcap(&packets(ON_SEND), RAW, &[]);
    file.extend([0; 9]);
    assert_eq!(said(&file), expected);
    let whole = file.len();
    // Without the RST there is no event.
    for length in 0..whole {
        let _any = said(&file[..length.max(24)]);
    }
}

#[test]
fn a_clock_that_is_set_back_ends_no_silence() {
    let expected = on_send();
    let mut stepped = packets(ON_SEND);
    // In the first exchange.
    for packet in stepped.iter_mut().skip(6) {
        packet.at_ns -= 3_600 * SECOND;
    }
    let said = said_of(&stepped);
    assert_eq!(said[0].0, expected[0].0);
    let (Some(idle), Some(then)) = (said[0].1, expected[0].1) else {
        panic!("{said:?}");
    };
    assert!((idle - then).abs() <= 20.0, "{idle} {then}");
}

#[test]
fn packets_out_of_order_and_of_others_do_not_matter() {
    let expected = on_send();
    let mut mixed = packets(ON_SEND);
    let other = packets("client_abort.client");
    for (at, packet) in other.into_iter().enumerate() {
        let mut bytes = packet.bytes;
        // To another port.
        for port in [20, 22] {
            if bytes[port..port + 2] == 9092_u16.to_be_bytes() {
                bytes[port..port + 2].copy_from_slice(&80_u16.to_be_bytes());
            }
        }
        let at_ns = mixed[0].at_ns;
        mixed.insert(
            at.min(mixed.len()),
            Packet {
                at_ns,
                bytes,
                length: packet.length,
            },
        );
    }
    assert_eq!(said_of(&mixed), expected);
}

/// The peer's own packets carry timestamps here, those of an observer of the path need not.
#[test]
fn a_replayed_packet_without_timestamps_does_not_move_the_peer() {
    const RST: u8 = 4;
    let (flags, source) = (33, 12..16);
    let mut packets = packets(ON_SEND);
    let expected = on_send();
    let reset = packets.iter().rposition(|it| it.bytes[flags] & RST != 0);
    let reset = packets[reset.unwrap()].bytes.clone();
    let from_peer = |it: &&Packet| {
        it.bytes[source.clone()] == reset[source.clone()] && it.bytes[flags] & RST == 0
    };
    let mut replayed = packets.iter().rfind(from_peer).unwrap().clone();
    assert_ne!(replayed.bytes[8], reset[8], "the device is not as far away");
    replayed.bytes.truncate(40);
    replayed.bytes[8] = reset[8];
    (replayed.bytes[3], replayed.bytes[32], replayed.length) = (40, 5 << 4, 40);
    replayed.at_ns += 1_000;
    packets.push(replayed);
    packets.sort_by_key(|it| it.at_ns);
    let said = said_of(&packets);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].0, expected[0].0);
}

#[test]
fn a_capture_that_began_late_names_no_other_culprit() {
    let expected = on_send();
    let all = packets(ON_SEND);
    for missed in 1..all.len() {
        let said = said_of(&all[missed..]);
        for (verdict, _) in &said {
            assert!(
                *verdict == expected[0].0 || verdict == "indeterminate/-",
                "without the first {missed}: {verdict}"
            );
        }
    }
}

#[test]
fn what_the_capture_lost_is_a_loss_and_not_a_retransmission() {
    let mut holes = packets(ON_SEND);
    // A request of the client's, which the broker acknowledged.
    let data = holes.iter().position(|packet| packet.length > 60).unwrap();
    holes.remove(data);
    let events = events_of(&pcap(&holes, RAW, &[]), None);
    let lost = events.iter().find_map(|event| match event {
        Event::Loss(loss) => Some((loss.source.clone(), loss.lost)),
        _ => None,
    });
    assert!(matches!(lost, Some((source, 1..)) if source == "capture"));
    assert_eq!(findings(&events)[0].connection.retransmits, Some(0));
}

#[test]
fn a_capture_at_the_broker_does_not_show_its_accept_queue() {
    let all = packets("client_abort.broker");
    // SYN; SYN,ACK; the client's ACK; its first request. Nothing of the broker's since.
    let request = all.iter().skip(2).position(|it| it.length > 60).unwrap() + 2;
    let mut refused = vec![all[0].clone(), all[1].clone(), all[request].clone()];
    // A bare RST at the number that the request acknowledges, with a header without options.
    let mut reset = all[1].clone();
    reset.at_ns = all[request].at_ns + 80_000;
    reset.bytes.truncate(40);
    reset.length = 40;
    reset.bytes[2..4].copy_from_slice(&40_u16.to_be_bytes());
    reset.bytes[24..28].copy_from_slice(&all[request].bytes[28..32]);
    reset.bytes[28..32].fill(0);
    reset.bytes[32] = 5 << 4;
    reset.bytes[33] = 0x04;
    refused.push(reset);
    let events = events_of(&pcap(&refused, RAW, &[]), Some(Ends::Broker));
    let findings = findings(&events);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].verdict.as_str(), "indeterminate");
    let named: Vec<_> = findings[0]
        .evidence
        .iter()
        .map(|it| it.value.as_str())
        .collect();
    assert!(
        named.contains(&"no socket had answered since the handshake"),
        "{named:?}"
    );
}

#[test]
fn both_ends_are_two_hosts() {
    let directory = tempfile::tempdir().unwrap();
    let files = ["client", "broker"].map(|side| {
        let path = directory.path().join(format!("{side}.pcap"));
        fs::copy(captured(&format!("idle_reset_on_timer.ipv4.{side}")), &path).unwrap();
        path
    });
    let events = read(&files, &usual(), None);
    let hosts: Vec<_> = findings(&events)
        .iter()
        .map(|it| format!("{} {}", it.host.name, it.role))
        .collect();
    assert_eq!(hosts, ["client client", "broker broker"]);
    let [client, broker] = [0, 1].map(|at| findings(&events)[at].community_id);
    assert_eq!(client, broker);
}

#[test]
fn between_the_ends_each_receiver_is_judged() {
    let name = "idle_reset_on_timer.ipv4.client";
    let events = read(&[captured(name)], &usual(), Some(Ends::Neither));
    let said: Vec<_> = findings(&events)
        .iter()
        .map(|it| (it.role.as_str(), it.direction.as_str(), it.verdict.as_str()))
        .collect();
    assert!(
        said.contains(&("client", "received", "middlebox_idle_reset")),
        "{said:?}"
    );
    assert!(
        said.iter()
            .all(|(_, direction, _)| *direction == "received")
    );
}

#[test]
fn what_the_client_wrote_is_shown_with_its_event() {
    let options = usual();
    let plain = findings(&read(&[captured(ON_SEND)], &options, None));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("client.log");
    let broker = plain[0].broker;
    let line = |time: &str, broker: &str| {
        format!("{time} INFO [Producer] Bootstrap broker {broker} (id: 1) disconnected")
    };
    let time = serde_json::to_value(plain[0].time).unwrap();
    let time = time.as_str().unwrap();
    let of_this = line(time, &format!("{}:{}", broker.address, broker.port));
    let of_another = line(time, "192.0.2.1:9092");
    fs::write(&path, format!("{of_another}\n{of_this}\n")).unwrap();
    let options = Options {
        client_logs: vec![path],
        ..options
    };
    let read = findings(&read(&[captured(ON_SEND)], &options, None));
    let shown = read[0].evidence.iter().find(|it| it.name == "client_log");
    assert_eq!(shown.unwrap().value, of_this);
    let changed = (read[0].confidence - plain[0].confidence).abs();
    assert!(changed < f64::EPSILON, "{changed}");
}
